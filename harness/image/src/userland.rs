//! mmdebstrap's command line: from mirror to root image, kernel package and modules, in one run.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};

use sanlab_plan::Arch;

use crate::manifest::{KernelSource, Manifest};

/// Time of every file in the root image, and today for programs that honour it: 2024-01-01.
const EPOCH: &str = "1704067200";

const DEBIAN_KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// How a build is kept apart from the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// Root with mounts and processes of its own: both go when the build ends, however it ends.
    Namespaces,
    /// Root in a container that may not mount.
    Container,
    /// Not root: mmdebstrap maps users itself.
    MappedUser,
}

impl Isolation {
    /// What this process can have.
    pub(crate) fn of_this_process() -> Self {
        if !rustix::process::geteuid().is_root() {
            return Self::MappedUser;
        }
        let probe = Command::new(NAMESPACES[0])
            .args(&NAMESPACES[1..])
            .arg("true")
            .stderr(Stdio::null())
            .status();
        if probe.is_ok_and(|status| status.success()) {
            Self::Namespaces
        } else {
            Self::Container
        }
    }

    fn prefix(self) -> Vec<&'static str> {
        // A killed harness takes its build along.
        let mut prefix = vec!["setpriv", "--pdeathsig", "KILL", "--"];
        if self == Self::Namespaces {
            prefix.extend(NAMESPACES);
        }
        prefix
    }
}

const NAMESPACES: [&str; 7] = [
    "unshare",
    "--mount",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
    "--",
];

/// The whole command line. Results are left in `out`, which exists.
pub(crate) fn argv(
    manifest: &Manifest,
    arch: Arch,
    mirror: Option<&str>,
    isolation: Isolation,
    out: &Path,
) -> Vec<OsString> {
    let section = &manifest.arches[&arch];
    let mut argv: Vec<OsString> = isolation.prefix().into_iter().map(OsString::from).collect();
    let mut add = |words: &[&str]| argv.extend(words.iter().map(OsString::from));
    add(&[
        "mmdebstrap",
        if isolation == Isolation::MappedUser {
            "--mode=unshare"
        } else {
            "--mode=root"
        },
    ]);
    if isolation == Isolation::Container {
        add(&["--skip=chroot/mount"]);
    }
    // An amd64 kernel runs i386 programs: nothing is emulated, nothing has to be tested.
    add(&[
        "--variant=essential",
        "--skip=check/qemu,cleanup",
        "--format=null",
    ]);
    add(&[
        &format!("--architectures={}", arch.debian()),
        &format!("--include={}", section.packages.join(",")),
    ]);
    for pattern in &manifest.exclude {
        add(&[&format!("--dpkgopt=path-exclude={pattern}")]);
    }
    add(&[
        "--dpkgopt=force-unsafe-io",
        "--aptopt=Acquire::Retries \"2\"",
        "--aptopt=Acquire::http::Timeout \"30\"",
    ]);
    // The usrmerge package would bring all of Perl.
    add(&["--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr"]);
    add(&[concat!(
        "--setup-hook=mkdir -p \"$1/etc/apt/preferences.d\" && ",
        "printf 'Package: usrmerge\\nPin: release *\\nPin-Priority: -1\\n' > \"$1/etc/apt/preferences.d/sanlab\""
    )]);
    add(&["--customize-hook=mkdir -p \"$1/sanlab/overlay\" \"$1/sanlab/kernel/lib/modules\""]);
    add(&[&format!(
        "--customize-hook=sync-in {} /sanlab/overlay",
        quote(manifest.overlay.to_string_lossy().as_ref())
    )]);
    if let KernelSource::Files {
        modules: Some(modules),
        ..
    } = &section.kernel
    {
        let release = modules.file_name().unwrap_or_default().to_string_lossy();
        let inside = quote(&format!("/sanlab/kernel/lib/modules/{release}"));
        add(&[&format!("--customize-hook=mkdir \"$1\"{inside}")]);
        add(&[&format!(
            "--customize-hook=sync-in {} {inside}",
            quote(&modules.to_string_lossy())
        )]);
    }
    add(&["--customize-hook=sh -c \"$SANLAB_HOOK\" hook \"$1\""]);
    add(&[&format!(
        "--customize-hook=sync-out /.sanlab-out {}",
        quote(&out.to_string_lossy())
    )]);
    if let Some(mirror) = mirror {
        let components = manifest.components.join(" ");
        let source = format!(
            "deb [signed-by={DEBIAN_KEYS}] {mirror} {} {components}",
            manifest.suite
        );
        add(&[&manifest.suite, "-", &source]);
    } else {
        // mmdebstrap knows the archive's usual mirror. It adds the updates of a stable suite, which move: out with them.
        add(&[concat!(
            "--setup-hook=find \"$1/etc/apt/sources.list\" \"$1/etc/apt/sources.list.d\" -type f ",
            "-exec sed -i '/-updates\\|-security/d' '{}' +"
        )]);
        add(&[&format!("--components={}", manifest.components.join(","))]);
        add(&[&manifest.suite, "-"]);
    }
    argv
}

/// What the command line refers to: the hook's text, and today as programs of the build are to see it.
pub(crate) fn environment(manifest: &Manifest, arch: Arch) -> [(&'static str, String); 3] {
    [
        (
            "SANLAB_HOOK",
            hook(manifest, &manifest.arches[&arch].kernel),
        ),
        ("SOURCE_DATE_EPOCH", EPOCH.to_owned()),
        ("LC_ALL", "C.UTF-8".to_owned()),
    ]
}

fn hook(manifest: &Manifest, kernel: &KernelSource) -> String {
    let (package, has_modules) = match kernel {
        KernelSource::Package(name) => (name.as_str(), true),
        KernelSource::Files { modules, .. } => ("", modules.is_some()),
    };
    let settings = [
        ("kernel_package", package),
        ("kernel_modules", if has_modules { "1" } else { "" }),
        ("modules", &manifest.modules.join(" ")),
        ("boot_modules", &manifest.boot_modules.join(" ")),
        ("epoch", EPOCH),
    ];
    let mut text = String::new();
    for (name, value) in settings {
        text.extend([name, "=", &quote(value), "\n"]);
    }
    text + include_str!("hook.sh")
}

/// As one word for a shell and for mmdebstrap's own hooks, which split as a shell does.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(arch: Arch, isolation: Isolation, mirror: Option<&str>) -> String {
        let manifest = Manifest::example();
        let out = Path::new("/tmp/o'ut");
        let argv = argv(&manifest, arch, mirror, isolation, out);
        let words: Vec<_> = argv
            .iter()
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        let [(_, hook), ..] = environment(&manifest, arch);
        let settings = hook.strip_suffix(include_str!("hook.sh")).unwrap();
        format!("{}\n\n{settings}", words.join("\n"))
    }

    #[test]
    fn command_line_as_root() {
        insta::assert_snapshot!(lines(Arch::X86, Isolation::Namespaces, None));
    }

    #[test]
    fn command_line_without_root_and_with_an_own_kernel() {
        insta::assert_snapshot!(lines(
            Arch::X86_64,
            Isolation::MappedUser,
            Some("http://mirror.example/debian")
        ));
    }
}
