//! The programs that guests really have: for each architecture, alone on this host, and with the other's results.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use guest_trials::{Suite, Tier};
use sanlab_image::{Image, Manifest, Store, ensure, missing_host_tools};
use sanlab_plan::Arch;

const PROGRAMS: [&str; 5] = [
    "fence_gnbd",
    "gnbd_export",
    "gnbd_import",
    "gnbd_serv",
    "sanlab-witness",
];

fn main() -> ExitCode {
    // Whoever can start guests has images, and what builds them.
    let mut suite = Suite::new(|| match &missing_host_tools()[..] {
        [] => Ok(()),
        [tool, ..] => Err(format!("this host lacks {}", tool.program)),
    });
    suite.guests("run_and_understand_each_other", Tier::Test, || {
        run_and_understand_each_other();
        Ok(())
    });
    suite.run()
}

fn run_and_understand_each_other() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let guests = [(Arch::X86, 1), (Arch::X86_64, 2)].map(|(arch, class)| {
        let root = unpack(&image(arch), &folder.path().join(arch.as_str()));
        for name in PROGRAMS {
            let bytes = fs_err::read(root.join("usr/sbin").join(name)).unwrap();
            assert_eq!((&bytes[..4], bytes[4]), (&b"\x7fELF"[..], class), "{name}");
            let loader = b"/ld-linux";
            let is_static = !bytes.windows(loader.len()).any(|bytes| bytes == loader);
            assert!(is_static, "{name} needs libraries of the guest");
        }
        for name in &PROGRAMS[..4] {
            let said = run(&root, name, &["-V"]);
            assert!(said.starts_with(&format!("{name} ")), "{said}");
        }
        let hook = fs_err::metadata(root.join("usr/share/gnbd/corosync")).unwrap();
        assert_eq!(hook.permissions().mode() & 0o777, 0o755);
        root
    });
    let journal = folder.path().join("journal");
    let file = journal.to_str().unwrap();
    let options = |command| {
        let identity = ["--writer", "client0", "--block", "4096", "--seed", "7"];
        [&[command, "--file", file], &identity[..]].concat()
    };
    for (writer, reader) in [(0, 1), (1, 0)] {
        let count = ["--count", "20"];
        let said = run(
            &guests[writer],
            PROGRAMS[4],
            &[&options("write"), &count[..]].concat(),
        );
        assert!(said.ends_with("\nend 20\n"), "{said}");
        let said = run(&guests[reader], PROGRAMS[4], &options("check"));
        assert_eq!(said, "checked 20\n");
        fs_err::remove_file(&journal).unwrap();
    }
}

fn image(arch: Arch) -> Image {
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../images");
    let manifest = Manifest::load(&images.join("debian-bookworm.toml")).unwrap();
    let store = Store::open_default().unwrap();
    ensure(&store, &manifest, arch, false, &|_| ())
        .unwrap_or_else(|error| panic!("failed to {error}"))
}

/// The guest's root folder, on the host.
fn unpack(image: &Image, folder: &Path) -> PathBuf {
    let mut extract = std::ffi::OsString::from("--extract=");
    extract.push(folder);
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new("fsck.erofs")
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .arg(extract)
        .arg(&image.root)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    folder.to_owned()
}

fn run(root: &Path, name: &str, words: &[&str]) -> String {
    let program = root.join("usr/sbin").join(name);
    let output = Command::new(program).args(words).output().unwrap();
    assert!(output.status.success(), "{name} {words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}
