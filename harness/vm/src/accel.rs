//! What executes guests here: KVM if it really does, TCG otherwise.

use std::fmt;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::argv::program_name;
use crate::command::{Status, tail};
use crate::error::VmError;
use crate::probe_guest;
use crate::process::spawn_alone;
use crate::spec::{Accelerator, Arch};

/// A probe that works takes a tenth of a second.
const PROBE_DEADLINE: Duration = Duration::from_millis(900);
const VERSION_DEADLINE: Duration = Duration::from_secs(10);

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AcceleratorWish {
    /// KVM if it works, else TCG.
    #[default]
    Auto,
    /// KVM, and an error if it does not work.
    Kvm,
    /// TCG, unprobed: it always works.
    Tcg,
}

/// What is taken, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceleratorChoice {
    /// What executes the guests.
    pub accelerator: Accelerator,
    /// A sentence for the record.
    pub reason: String,
}

impl fmt::Display for AcceleratorChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.accelerator, self.reason)
    }
}

/// Decides on the accelerator for guests of an architecture. KVM is judged by booting a guest of a few instructions
/// with it, once a process and architecture.
pub async fn choose_accelerator(
    wish: AcceleratorWish,
    arch: Arch,
) -> Result<AcceleratorChoice, VmError> {
    if wish == AcceleratorWish::Tcg {
        return Ok(AcceleratorChoice {
            accelerator: Accelerator::Tcg,
            reason: "asked for".into(),
        });
    }
    match (kvm_works(arch).await?.clone(), wish) {
        (Ok(reason), _) => Ok(AcceleratorChoice {
            accelerator: Accelerator::Kvm,
            reason,
        }),
        (Err(reason), AcceleratorWish::Kvm) => Err(VmError::NoKvm { arch, reason }),
        (Err(reason), _) => Ok(AcceleratorChoice {
            accelerator: Accelerator::Tcg,
            reason: format!("KVM does not work: {reason}"),
        }),
    }
}

/// The QEMU program for guests of an architecture: `$SANLAB_QEMU`, or the usual one of the `PATH`.
pub fn qemu_binary(arch: Arch) -> PathBuf {
    std::env::var_os("SANLAB_QEMU").map_or_else(|| program_name(arch).into(), PathBuf::from)
}

/// What QEMU says of its version, such as "7.2.22 (Debian 1:7.2+dfsg-7)".
pub async fn qemu_version(arch: Arch) -> Result<String, VmError> {
    let mut command = Command::new(qemu_binary(arch));
    command.arg("--version");
    let said = run(command, VERSION_DEADLINE).await?;
    let line = said.stdout.lines().next().unwrap_or_default();
    Ok(line
        .split_once("version ")
        .map_or(line, |(_, version)| version)
        .to_owned())
}

/// Whether KVM runs guests of that architecture, and how we know.
async fn kvm_works(arch: Arch) -> Result<&'static Result<String, String>, VmError> {
    static X86: OnceCell<Result<String, String>> = OnceCell::const_new();
    static X86_64: OnceCell<Result<String, String>> = OnceCell::const_new();
    let known = match arch {
        Arch::X86 => &X86,
        Arch::X86_64 => &X86_64,
    };
    let qemu = qemu_binary(arch);
    known
        .get_or_try_init(|| probe(&qemu, arch, Accelerator::Kvm))
        .await
}

/// Boots the probe guest. The outer error is the lab's: QEMU cannot be run at all.
async fn probe(
    qemu: &Path,
    arch: Arch,
    accelerator: Accelerator,
) -> Result<Result<String, String>, VmError> {
    if accelerator == Accelerator::Kvm && !Path::new("/dev/kvm").exists() {
        return Ok(Err("/dev/kvm does not exist".into()));
    }
    // Without a name, so that it goes with this process, however that ends.
    let mut firmware =
        tempfile::tempfile().map_err(|error| VmError::host("make a temporary file", error))?;
    firmware
        .write_all(&probe_guest::firmware(arch))
        .map_err(|error| VmError::host("write the probe guest", error))?;
    let mut command = Command::new(qemu);
    command.args([
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-machine",
        "pc",
        "-m",
        "16M",
        "-no-reboot",
    ]);
    command.args(["-accel", &accelerator.to_string()]);
    command.args([
        "-cpu",
        if accelerator == Accelerator::Kvm {
            "host"
        } else {
            "max"
        },
    ]);
    let (process, number) = (std::process::id(), firmware.as_raw_fd());
    command.args(["-bios", &format!("/proc/{process}/fd/{number}")]);
    command.args([
        "-device",
        &format!("isa-debug-exit,iobase={},iosize=1", probe_guest::PORT),
    ]);
    let said = run(command, PROBE_DEADLINE).await?;
    let complaint = tail(&said.stderr).replace('\n', "; ");
    Ok(match said.status {
        Some(Status::Exited(probe_guest::REPORTED)) => Ok(format!("a probe guest of {arch} ran")),
        Some(status) if complaint.is_empty() => {
            Err(format!("QEMU {status} before the probe guest reported"))
        }
        Some(status) => Err(format!(
            "QEMU {status} before the probe guest reported: {complaint}"
        )),
        None => Err(format!(
            "the probe guest did not report within {} s",
            PROBE_DEADLINE.as_secs_f64()
        )),
    })
}

/// What a short-lived program said.
struct Said {
    /// `None`: it was killed at the deadline.
    status: Option<Status>,
    stdout: String,
    stderr: String,
}

async fn run(mut command: Command, deadline: Duration) -> Result<Said, VmError> {
    let program = PathBuf::from(command.get_program());
    let host = |error| VmError::host(format!("run {}", program.display()), error);
    // Files and not pipes: nothing has to be drained while it runs.
    let (stdout, stderr) = (
        tempfile::tempfile().map_err(host)?,
        tempfile::tempfile().map_err(host)?,
    );
    command
        .stdin(Stdio::null())
        .stdout(stdout.try_clone().map_err(host)?)
        .stderr(stderr.try_clone().map_err(host)?);
    let process = spawn_alone(command).map_err(|source| VmError::NoQemu {
        program: program.clone(),
        source,
    })?;
    let status = if let Ok(status) = timeout(deadline, process.exited()).await {
        Some(status.map_err(host)?)
    } else {
        process.signal(Signal::KILL);
        process.exited().await.map_err(host)?;
        None
    };
    let text = |mut file: std::fs::File| {
        let mut bytes = Vec::new();
        file.rewind()?;
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    Ok(Said {
        status,
        stdout: text(stdout).map_err(host)?,
        stderr: text(stderr).map_err(host)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Needs the host's QEMU, no KVM and a tenth of a second: whatever the accelerator, a working one is recognised.
    #[tokio::test]
    async fn the_probe_guest_reports_under_tcg() {
        for arch in [Arch::X86, Arch::X86_64] {
            let verdict = probe(Path::new(program_name(arch)), arch, Accelerator::Tcg)
                .await
                .expect("QEMU runs");
            assert_eq!(verdict, Ok(format!("a probe guest of {arch} ran")));
        }
    }

    #[tokio::test]
    async fn a_guest_that_cannot_go_on_is_no_success() {
        // The 32-bit program has no long mode to go to.
        let verdict = probe(
            Path::new(program_name(Arch::X86)),
            Arch::X86_64,
            Accelerator::Tcg,
        )
        .await
        .expect("QEMU runs");
        assert_eq!(
            verdict,
            Err("QEMU exited with 0 before the probe guest reported".into())
        );
    }

    #[tokio::test]
    async fn a_missing_qemu_is_named() {
        let error = probe(Path::new("/nowhere/qemu"), Arch::X86, Accelerator::Tcg)
            .await
            .expect_err("no such file");
        insta::assert_snapshot!(error, @"run /nowhere/qemu: No such file or directory (os error 2) (is QEMU installed?)");
    }
}
