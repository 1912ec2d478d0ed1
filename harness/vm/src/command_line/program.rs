//! Which QEMU runs guests, and which QEMU that is.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;

use crate::command_line::argv::program_name;
use crate::command_line::spec::Arch;
use crate::error::VmError;
use crate::process::run_process::run;
use crate::process::status::Status;

const VERSION_DEADLINE: Duration = Duration::from_secs(10);

/// The host's QEMU program for guests of an architecture: `$SANLAB_QEMU`, or the usual one of the `PATH`.
pub fn qemu_binary(arch: Arch) -> PathBuf {
    std::env::var_os("SANLAB_QEMU").map_or_else(|| program_name(arch).into(), PathBuf::from)
}

/// The QEMU program of a folder under its usual name (`qemu-system-x86_64`, `qemu-system-i386`); without a folder, the
/// host's.
pub fn qemu_of(folder: Option<&Path>, arch: Arch) -> PathBuf {
    folder.map_or_else(
        || qemu_binary(arch),
        |folder| folder.join(program_name(arch)),
    )
}

/// What a QEMU program says of its version, such as "7.2.22 (Debian 1:7.2+dfsg-7)". Asked once a process and program: the
/// answer takes a twentieth of a second.
pub async fn qemu_version(program: &Path) -> Result<String, VmError> {
    static KNOWN: PerProgram<String> = PerProgram::new();
    let known = KNOWN.of(program);
    let ask = || async {
        let mut command = Command::new(program);
        command.arg("--version");
        let said = run(command, VERSION_DEADLINE).await?;
        if !said.status.is_some_and(Status::is_success) {
            let doing = format!("ask {} for its version", program.display());
            let how = match said.status {
                Some(status) => format!("it {status}"),
                None => format!("no answer within {} s", VERSION_DEADLINE.as_secs()),
            };
            let complaint = Some(said.complaint()).filter(|text| !text.is_empty());
            let words: Vec<_> = [how].into_iter().chain(complaint).collect();
            return Err(VmError::host(
                doing,
                std::io::Error::other(words.join(": ")),
            ));
        }
        let line = said.stdout.lines().next().unwrap_or_default();
        Ok(line
            .split_once("version ")
            .map_or(line, |(_, version)| version)
            .to_owned())
    };
    known.get_or_try_init(ask).await.cloned()
}

/// The first number of such a version.
pub fn qemu_major(version: &str) -> Option<u32> {
    version.split('.').next()?.parse().ok()
}

/// The hex SHA-256 of a QEMU program, which tells it from another build of the same version. `program` is a path, not a
/// name for the `PATH`. Computed once a process and program, in a tenth of a second.
pub async fn qemu_digest(program: &Path) -> Result<String, VmError> {
    static KNOWN: PerProgram<String> = PerProgram::new();
    let known = KNOWN.of(program);
    let path = program.to_owned();
    let compute = || async {
        let failed = |source| VmError::NoQemu {
            program: program.to_owned(),
            source,
        };
        let digest = spawn_blocking(move || {
            let mut file = std::io::BufReader::with_capacity(1 << 16, fs_err::File::open(path)?);
            let mut digest = Sha256::new();
            let mut bytes = vec![0; 1 << 16];
            loop {
                match file.read(&mut bytes)? {
                    0 => break,
                    length => digest.update(&bytes[..length]),
                }
            }
            Ok(hex::encode(digest.finalize()))
        });
        digest
            .await
            .map_err(|error| failed(error.into()))?
            .map_err(failed)
    };
    known.get_or_try_init(compute).await.cloned()
}

/// What is found out once a process about every program.
pub(crate) struct PerProgram<T>(Mutex<BTreeMap<PathBuf, Arc<OnceCell<T>>>>);

impl<T> PerProgram<T> {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    pub(crate) fn of(&self, program: &Path) -> Arc<OnceCell<T>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(program.to_owned()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_folder_has_programs_by_their_usual_names() {
        let folder = Some(Path::new("/opt/qemu/bin"));
        let found = [Arch::X86, Arch::X86_64].map(|arch| qemu_of(folder, arch));
        let names = found.map(|path| path.display().to_string());
        assert_eq!(
            names,
            [
                "/opt/qemu/bin/qemu-system-i386",
                "/opt/qemu/bin/qemu-system-x86_64"
            ]
        );
    }

    /// Programs of the host's stand for QEMUs: they say what they are, too.
    #[tokio::test]
    async fn two_programs_have_two_versions_each_asked_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let [bash, echo] = ["bash", "echo"].map(|name| {
            let link = folder.path().join(name);
            symlink(format!("/bin/{name}"), &link).expect("a link");
            link
        });
        for _ in 0..2 {
            let versions = (qemu_version(&bash).await, qemu_version(&echo).await);
            let (bash_is, echo_is) = (versions.0.expect("runs"), versions.1.expect("runs"));
            assert!(
                bash_is.starts_with(|c: char| c.is_ascii_digit()),
                "{bash_is}"
            );
            assert!(echo_is.contains("coreutils"), "{echo_is}");
            // The second time they are not there to be asked.
            let _ = fs_err::remove_file(&bash);
            let _ = fs_err::remove_file(&echo);
        }
    }

    #[test]
    fn the_major_number_is_the_first() {
        assert_eq!(qemu_major("7.2.22 (Debian 1:7.2+dfsg-7)"), Some(7));
        assert_eq!(qemu_major("10.0.13"), Some(10));
        assert_eq!(qemu_major("of my own"), None);
    }

    #[tokio::test]
    async fn a_program_that_does_not_tell_is_an_error() {
        let error = qemu_version(Path::new("/bin/false")).await;
        let error = error.expect_err("it fails");
        insta::assert_snapshot!(error, @"ask /bin/false for its version: it exited with 1");
    }

    #[tokio::test]
    async fn builds_of_one_version_differ_by_their_digests() {
        let folder = tempfile::tempdir().expect("a folder");
        let program = |name: &str, bytes: &str| {
            let path = folder.path().join(name);
            fs_err::write(&path, bytes).expect("a program");
            path
        };
        let paths = [
            program("one", "8.2.0"),
            program("same", "8.2.0"),
            program("other", "8.2.0 "),
        ];
        let mut digests = Vec::new();
        for path in &paths {
            digests.push(qemu_digest(path).await.expect("reads"));
        }
        assert_eq!(digests[0], digests[1]);
        assert_ne!(digests[0], digests[2]);
        assert_eq!(digests[0].len(), 64);
    }

    #[tokio::test]
    async fn a_missing_program_is_named() {
        let error = qemu_digest(Path::new("/nowhere/qemu")).await;
        let error = error.expect_err("no such file");
        assert!(error.to_string().contains("/nowhere/qemu"), "{error}");
    }
}
