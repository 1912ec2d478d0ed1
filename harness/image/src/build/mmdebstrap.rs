//! What every run of mmdebstrap has in common: how it is kept apart from the host, where packages come from, how it ends.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::build::child;
use crate::build::diagnose::explain;
use crate::build::progress::Phase;
use crate::error::{ImageError, Product};
use crate::manifest::Manifest;

/// Time of every file that a build makes, and today for programs that honour it: 2024-01-01.
pub(crate) const EPOCH: &str = "1704067200";

/// A build takes half a minute; a slow mirror may take longer.
const DEADLINE: Duration = Duration::from_secs(1200);

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

/// A command line that grows.
#[derive(Debug)]
pub(crate) struct Argv(Vec<OsString>);

impl Argv {
    /// The program with what every build tells it. Everything is left to hooks: no result of its own.
    pub(crate) fn new(isolation: Isolation, variant: &str, architectures: &str) -> Self {
        let mut argv = Self(isolation.prefix().into_iter().map(OsString::from).collect());
        argv.add([
            "mmdebstrap",
            if isolation == Isolation::MappedUser {
                "--mode=unshare"
            } else {
                "--mode=root"
            },
        ]);
        if isolation == Isolation::Container {
            argv.add(["--skip=chroot/mount"]);
        }
        // An amd64 kernel runs i386 programs: nothing is emulated, nothing has to be tested.
        argv.add([
            &format!("--variant={variant}"),
            "--skip=check/qemu,cleanup",
            "--format=null",
            &format!("--architectures={architectures}"),
            "--dpkgopt=force-unsafe-io",
            "--aptopt=Acquire::Retries \"2\"",
            "--aptopt=Acquire::http::Timeout \"30\"",
            "--aptopt=Acquire::Languages \"none\"",
        ]);
        argv
    }

    pub(crate) fn add<W: AsRef<str>>(&mut self, words: impl IntoIterator<Item = W>) {
        self.0
            .extend(words.into_iter().map(|word| OsString::from(word.as_ref())));
    }

    /// The last arguments: the suite, and where it is fetched from.
    pub(crate) fn end(mut self, manifest: &Manifest, mirror: Option<&str>) -> Vec<OsString> {
        if let Some(mirror) = mirror {
            let components = manifest.components.join(" ");
            let source = format!(
                "deb [signed-by={DEBIAN_KEYS}] {mirror} {} {components}",
                manifest.suite
            );
            self.add([&manifest.suite, "-", &source]);
        } else {
            // mmdebstrap knows the archive's usual mirror. It adds the updates of a stable suite, which move: out with
            // them.
            self.add([concat!(
                "--setup-hook=find \"$1/etc/apt/sources.list\" \"$1/etc/apt/sources.list.d\" -type f ",
                "-exec sed -i '/-updates\\|-security/d' '{}' +"
            )]);
            self.add([&format!("--components={}", manifest.components.join(","))]);
            self.add([&manifest.suite, "-"]);
        }
        self.0
    }
}

/// Runs such a command line to its end. `folder` is on the store's file system and takes what the build needs meanwhile;
/// `marks` say which lines of its output begin which phase.
pub(crate) fn run(
    argv: &[OsString],
    environment: impl IntoIterator<Item = (&'static str, String)>,
    isolation: Isolation,
    folder: &Path,
    (manifest, product): (&Manifest, Product),
    marks: &[(&str, Phase)],
    on_phase: impl Fn(Phase),
) -> Result<(), ImageError> {
    let mut command = Command::new(&argv[0]);
    command
        .args(&argv[1..])
        .envs(environment)
        .env("SOURCE_DATE_EPOCH", EPOCH)
        .env("LC_ALL", "C.UTF-8");
    if isolation != Isolation::MappedUser {
        // A mapped user could not reach a folder of a private home, so mmdebstrap's own choice stands there.
        command.env("TMPDIR", folder);
    }
    let ended = child::run(command, DEADLINE, |line| {
        tracing::debug!(%product, "{line}");
        if let Some((_, phase)) = marks.iter().find(|(mark, _)| line.starts_with(mark)) {
            on_phase(*phase);
        }
    })?;
    match ended.status {
        Some(status) if status.success() => Ok(()),
        _ => Err(explain(
            &ended,
            "mmdebstrap",
            manifest,
            product,
            manifest
                .mirror()
                .as_deref()
                .unwrap_or("the archive's usual mirror"),
            DEADLINE,
        )),
    }
}
