//! The choice of the accelerator, with programs that stand for QEMU.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::project;

const SCENARIO: &str = "scenarios/nbd-striped-ocfs2/mount.toml";

/// Greets, runs its guest, and takes its time.
const GREETS: &str = r#"echo '{"QMP": {}}'; echo '{"event": "RESUME"}'; sleep 1"#;

/// A folder with a QEMU that does that, and notes that it was started.
struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new(script: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let bench = Self { folder };
        let text = format!(
            "#!/bin/sh\necho >>{}\n{script}\n",
            bench.path("starts").display()
        );
        fs_err::write(bench.path("qemu"), text).expect("a script");
        let mode = std::fs::Permissions::from_mode(0o755);
        fs_err::set_permissions(bench.path("qemu"), mode).expect("its mode");
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn starts(&self) -> usize {
        fs_err::read_to_string(self.path("starts")).map_or(0, |text| text.lines().count())
    }

    fn sanlab(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sanlab"));
        command
            .args(arguments)
            .arg(SCENARIO)
            .current_dir(project())
            .env("SANLAB_QEMU", self.path("qemu"))
            .env("SANLAB_CACHE", self.path("cache"))
            .env("SANLAB_RUNS", self.path("runs"))
            .env("SANLAB_RUNTIME", self.path("runtime"))
            .env_remove("SANLAB_REQUIRE_KVM")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

fn opens(device: &str) -> bool {
    let mut options = fs_err::OpenOptions::new();
    options
        .read(true)
        .write(true)
        .open(Path::new(device))
        .is_ok()
}

fn texts(output: Output) -> (Option<i32>, String, String) {
    let text = |bytes| String::from_utf8(bytes).expect("it says text");
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn processes_that_probe_at_once_share_what_they_find() {
    let bench = Bench::new(&format!("{GREETS}; exit 85"));
    let children = [(); 3].map(|()| bench.sanlab(&["plan"]).spawn().unwrap());
    let plans = children.map(|child| texts(child.wait_with_output().unwrap()));
    for (code, said, complained) in &plans {
        assert_eq!(*code, Some(0), "{complained}");
        assert_eq!(said, &plans[0].1);
    }
    // One for each architecture; none where there is nothing to try.
    let (probes, accelerator) = if opens("/dev/kvm") {
        (2, "kvm")
    } else {
        (0, "tcg")
    };
    assert_eq!(bench.starts(), probes);
    for arch in ["x86", "x86_64"] {
        let line = format!("\n  {arch} guests on {accelerator} (");
        assert!(plans[0].1.contains(&line), "{}", plans[0].1);
    }
}

#[test]
fn where_kvm_is_required_and_does_not_work_nothing_is_run() {
    let bench = Bench::new(&format!("{GREETS}; exit 0"));
    let required = bench
        .sanlab(&["run"])
        .env("SANLAB_REQUIRE_KVM", "1")
        .output();
    let asked_for = bench.sanlab(&["run", "--accel", "kvm"]).output();
    for output in [required, asked_for] {
        let (code, said, complained) = texts(output.unwrap());
        assert_eq!(code, Some(3), "{complained}");
        assert_eq!(said, "");
        assert!(
            complained.contains("failed to use KVM for x86 guests: "),
            "{complained}"
        );
        let way_out = "without `--accel kvm` and SANLAB_REQUIRE_KVM they run on TCG";
        assert!(complained.contains(way_out), "{complained}");
    }
    assert!(!bench.path("runs").exists(), "there is nothing to keep");
}
