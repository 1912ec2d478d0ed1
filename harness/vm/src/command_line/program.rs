//! Which QEMU runs guests, and which QEMU that is.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;

use crate::command_line::argv::program_name;
use crate::command_line::spec::{Accelerator, Arch};
use crate::error::VmError;
use crate::process::run_process::run;
use crate::process::status::Status;

const VERSION_DEADLINE: Duration = Duration::from_secs(10);

/// A QEMU's version, as far as work-arounds depend on it. What is not told is older than everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct QemuVersion {
    major: u32,
    minor: u32,
}

impl QemuVersion {
    /// That version.
    pub const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }

    /// From what [`qemu_version`] says.
    pub fn parse(text: &str) -> Self {
        let mut numbers = text
            .split(|c: char| !c.is_ascii_digit())
            .map(|number| number.parse().unwrap_or_default());
        let mut next = || numbers.next().unwrap_or_default();
        Self {
            major: next(),
            minor: next(),
        }
    }
}

/// The host's QEMU program for guests of an architecture: `$SANLAB_QEMU`, or the usual one of the `PATH`.
pub fn qemu_binary(arch: Arch, accelerator: Accelerator) -> PathBuf {
    qemu_of(None, arch, accelerator)
}

/// The QEMU program of a folder under its usual name (`qemu-system-x86_64`, `qemu-system-i386`); without a folder, the
/// host's.
///
/// The program for 64 bits runs guests of 32 bits too. KVM does not care, and newer QEMUs have no KVM for hosts of 32 bits; the
/// translator makes more code of addresses of 64 bits, so that it is taken there only in the absence of the other.
pub fn qemu_of(folder: Option<&Path>, arch: Arch, accelerator: Accelerator) -> PathBuf {
    let set = std::env::var_os("SANLAB_QEMU").filter(|_| folder.is_none());
    if let Some(set) = set {
        return set.into();
    }
    let place = |arch| {
        let name = program_name(arch);
        folder.map_or_else(|| name.into(), |folder| folder.join(name))
    };
    match accelerator {
        Accelerator::Tcg => Some(place(arch)).filter(|program| installed(program).is_some()),
        Accelerator::Kvm => None,
    }
    .unwrap_or_else(|| place(Arch::X86_64))
}

/// Where a program is: a path, or a name for the `PATH`.
pub fn installed(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return program.is_file().then(|| program.to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// What tells the host's QEMU from another of its version, at no cost: its file's place, size and time of change.
pub fn qemu_stamp(program: &Path) -> Result<String, VmError> {
    let failed = |source| VmError::NoQemu {
        program: program.to_owned(),
        source,
    };
    let file = installed(program).ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
    let file = fs_err::canonicalize(file).map_err(failed)?;
    let found = fs_err::metadata(&file).map_err(failed)?;
    let (bytes, seconds, nanoseconds) = (found.len(), found.mtime(), found.mtime_nsec());
    let file = file.display();
    Ok(format!(
        "{file}, {bytes} bytes of {seconds}.{nanoseconds:09}"
    ))
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
    fn a_version_is_compared_by_its_numbers() {
        let of = QemuVersion::parse;
        assert_eq!(of("7.2.22 (Debian 1:7.2+dfsg-7)"), QemuVersion::new(7, 2));
        assert_eq!(of("10.0.13"), QemuVersion::new(10, 0));
        assert!(of("8.0.0") < of("8.2.2") && of("8.2.2") < of("10.0.13"));
        assert!(of("of my own") < of("2.0"));
    }

    /// The program for 32 bits is for the translator, where there is one.
    #[test]
    fn a_folder_has_programs_by_their_usual_names() {
        let folder = tempfile::tempdir().expect("a folder");
        let found = || {
            let all = [
                (Arch::X86, Accelerator::Tcg),
                (Arch::X86, Accelerator::Kvm),
                (Arch::X86_64, Accelerator::Tcg),
                (Arch::X86_64, Accelerator::Kvm),
            ];
            all.map(|(arch, accelerator)| {
                let program = qemu_of(Some(folder.path()), arch, accelerator);
                assert!(program.starts_with(folder.path()));
                program.file_name().expect("a name").to_owned()
            })
        };
        let (x86, x86_64) = ("qemu-system-i386", "qemu-system-x86_64");
        assert_eq!(found(), [x86_64; 4]);
        fs_err::write(folder.path().join(x86), "").expect("a program");
        assert_eq!(found(), [x86, x86_64, x86_64, x86_64]);
    }

    #[test]
    fn a_stamp_tells_one_file_from_another() {
        let folder = tempfile::tempdir().expect("a folder");
        let program = folder.path().join("qemu");
        fs_err::write(&program, "8.2.0").expect("a program");
        let link = folder.path().join("link");
        symlink(&program, &link).expect("a link");
        let stamp = |program: &Path| qemu_stamp(program).expect("it is there");
        let before = stamp(&program);
        assert_eq!(stamp(&link), before);
        fs_err::write(&program, "8.2.1-rc1").expect("another");
        assert_ne!(stamp(&program), before);
        let error = qemu_stamp(Path::new("no-such-qemu")).expect_err("there is none");
        insta::assert_snapshot!(error, @"run no-such-qemu: entity not found (is QEMU installed?)");
        assert!(stamp(Path::new("sh")).starts_with('/'));
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
