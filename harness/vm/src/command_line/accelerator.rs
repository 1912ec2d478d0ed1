//! What executes guests here: KVM if it really does, TCG otherwise.

use std::ffi::OsString;
use std::fmt;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::command_line::probe_guest;
use crate::command_line::program::PerProgram;
use crate::command_line::spec::{Accelerator, Arch};
use crate::error::VmError;
use crate::process::run_process::run;
use crate::process::status::Status;

/// A probe that works takes a tenth of a second.
const PROBE_DEADLINE: Duration = Duration::from_millis(900);

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

/// Decides on the accelerator for guests of an architecture that a QEMU program runs. KVM is judged by booting a guest of
/// a few instructions with it, once a process, architecture and program.
pub async fn choose_accelerator(
    wish: AcceleratorWish,
    arch: Arch,
    program: &Path,
) -> Result<AcceleratorChoice, VmError> {
    if wish == AcceleratorWish::Tcg {
        return Ok(AcceleratorChoice {
            accelerator: Accelerator::Tcg,
            reason: "asked for".into(),
        });
    }
    match (kvm_works(arch, program).await?, wish) {
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

/// Whether KVM runs guests of that architecture, and how we know.
async fn kvm_works(arch: Arch, program: &Path) -> Result<Result<String, String>, VmError> {
    static X86: PerProgram<Result<String, String>> = PerProgram::new();
    static X86_64: PerProgram<Result<String, String>> = PerProgram::new();
    let known = match arch {
        Arch::X86 => X86.of(program),
        Arch::X86_64 => X86_64.of(program),
    };
    let probe = || async {
        if !Path::new("/dev/kvm").exists() {
            return Ok(Err("/dev/kvm does not exist".into()));
        }
        probe(program, arch, Accelerator::Kvm, &[], PROBE_DEADLINE).await
    };
    known.get_or_try_init(probe).await.cloned()
}

/// Boots the probe guest, with more arguments for QEMU. The outer error is the lab's: QEMU cannot be run at all.
pub(crate) async fn probe(
    qemu: &Path,
    arch: Arch,
    accelerator: Accelerator,
    more: &[OsString],
    deadline: Duration,
) -> Result<Result<String, String>, VmError> {
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
    command.args(more);
    let said = run(command, deadline).await?;
    let complaint = said.complaint();
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
            deadline.as_secs_f64()
        )),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command_line::argv::program_name;

    /// Long enough for a loaded host, on which other tests run.
    const SOON: Duration = Duration::from_secs(20);

    /// Needs the host's QEMU, no KVM and a tenth of a second: whatever the accelerator, a working one is recognised.
    #[tokio::test]
    async fn the_probe_guest_reports_under_tcg() {
        for arch in [Arch::X86, Arch::X86_64] {
            let program = Path::new(program_name(arch));
            let verdict = probe(program, arch, Accelerator::Tcg, &[], SOON);
            let verdict = verdict.await.expect("QEMU runs");
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
            &[],
            SOON,
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
        let program = Path::new("/nowhere/qemu");
        let error = probe(program, Arch::X86, Accelerator::Tcg, &[], SOON).await;
        let error = error.expect_err("no such file");
        insta::assert_snapshot!(error, @"run /nowhere/qemu: No such file or directory (os error 2) (is QEMU installed?)");
    }
}
