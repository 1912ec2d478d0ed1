//! What executes guests here: KVM if it really does, TCG otherwise.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::command_line::kvm_verdict::{self, Verdict};
use crate::command_line::probe_guest::{self, ProbeGuest};
use crate::command_line::program::{PerProgram, qemu_of};
use crate::command_line::spec::{Accelerator, Arch};
use crate::error::VmError;
use crate::process::run_process::run_watched;
use crate::process::status::Status;

/// Whether [`AcceleratorWish::Auto`] means [`AcceleratorWish::Kvm`].
const REQUIRE_KVM: &str = "SANLAB_REQUIRE_KVM";

/// The guest waits until QEMU is told to start it, and QEMU says when it does.
const QMP: &[u8] = b"{\"execute\":\"qmp_capabilities\"}\n{\"execute\":\"cont\"}\n";

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AcceleratorWish {
    /// KVM if it works, else TCG. With `SANLAB_REQUIRE_KVM=1` the same as [`Kvm`](Self::Kvm).
    #[default]
    Auto,
    /// KVM, and an error if it does not work.
    Kvm,
    /// TCG, unprobed: it always works.
    Tcg,
}

impl AcceleratorWish {
    /// Whether guests run on KVM or not at all.
    pub fn requires_kvm(self) -> bool {
        self.requires_kvm_where(std::env::var_os(REQUIRE_KVM).is_some_and(|value| value == "1"))
    }

    fn requires_kvm_where(self, required: bool) -> bool {
        self == Self::Kvm || (self == Self::Auto && required)
    }
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

/// Decides on the accelerator for guests of several architectures, and of the kernels that the probe guests stand for: the same
/// for all of them. `qemu` is a folder with QEMU's programs, instead of the host's.
///
/// KVM is judged by booting a guest of a few instructions with it, once in a boot of the host: processes share what they found
/// in the folder `answers`.
pub async fn choose_accelerators(
    wish: AcceleratorWish,
    qemu: Option<&Path>,
    guests: &BTreeMap<Arch, ProbeGuest>,
    answers: Option<&Path>,
) -> Result<BTreeMap<Arch, AcceleratorChoice>, VmError> {
    let mut works = BTreeMap::new();
    if wish != AcceleratorWish::Tcg {
        for (&arch, &guest) in guests {
            let program = qemu_of(qemu, arch, Accelerator::Kvm);
            works.insert(arch, kvm_works(guest, &program, answers).await?);
        }
    }
    decide(wish.requires_kvm(), guests.keys().copied(), &works)
}

/// From what was found to what is taken. Without a finding TCG was asked for.
fn decide(
    kvm_is_required: bool,
    archs: impl Iterator<Item = Arch>,
    works: &BTreeMap<Arch, Result<String, String>>,
) -> Result<BTreeMap<Arch, AcceleratorChoice>, VmError> {
    let mut failures = works
        .iter()
        .filter_map(|(arch, works)| Some((*arch, works.as_ref().err()?)));
    let failed = failures.next();
    if let Some((arch, reason)) = failed.filter(|_| kvm_is_required) {
        let reason = reason.clone();
        return Err(VmError::NoKvm { arch, reason });
    }
    let choice = |arch: Arch| {
        let (accelerator, reason) = match (works.get(&arch), failed) {
            (None, _) => (Accelerator::Tcg, "asked for".to_owned()),
            (Some(Err(reason)), _) => (Accelerator::Tcg, format!("KVM does not work: {reason}")),
            (Some(Ok(_)), Some((other, reason))) => (
                Accelerator::Tcg,
                format!(
                    "KVM works, but not for {other} guests, and all guests have one accelerator: {reason}"
                ),
            ),
            (Some(Ok(reason)), None) => (Accelerator::Kvm, reason.clone()),
        };
        let choice = AcceleratorChoice {
            accelerator,
            reason,
        };
        (arch, choice)
    };
    Ok(archs.map(choice).collect())
}

/// Whether KVM runs such guests, and how we know. Asked once a process: in it nothing changes its mind.
async fn kvm_works(
    guest: ProbeGuest,
    program: &Path,
    answers: Option<&Path>,
) -> Result<Result<String, String>, VmError> {
    static X86: PerProgram<Verdict> = PerProgram::new();
    static X86_PAE: PerProgram<Verdict> = PerProgram::new();
    static X86_64: PerProgram<Verdict> = PerProgram::new();
    let known = match guest {
        ProbeGuest::X86 => X86.of(program),
        ProbeGuest::X86Pae => X86_PAE.of(program),
        ProbeGuest::X86_64 => X86_64.of(program),
    };
    let verdict = known
        .get_or_try_init(|| kvm_verdict::find(guest, program, answers))
        .await?;
    Ok(verdict.works.clone())
}

/// How far a probe came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// QEMU has been started, and has shown no life.
    Nothing,
    /// QEMU has greeted.
    Qemu,
    /// The guest runs.
    Guest,
}

/// What was seen of a probe.
#[derive(Debug)]
pub(crate) struct Seen {
    /// That the guest has reported, or why it has not.
    pub(crate) outcome: Result<String, String>,
    pub(crate) stage: Stage,
    /// QEMU has found something on this host that it did not expect, and has aborted.
    pub(crate) aborted: bool,
}

/// Boots the probe guest, with more arguments for QEMU; each stage may take as long as `patience`. The outer error is the lab's:
/// QEMU cannot be run at all.
pub(crate) async fn probe(
    qemu: &Path,
    guest: impl Into<ProbeGuest>,
    accelerator: Accelerator,
    more: &[OsString],
    patience: Duration,
) -> Result<Result<String, String>, VmError> {
    let seen = attempt(qemu, guest.into(), accelerator, more, patience).await?;
    Ok(seen.outcome)
}

/// The same with how far it came.
pub(crate) async fn attempt(
    qemu: &Path,
    guest: ProbeGuest,
    accelerator: Accelerator,
    more: &[OsString],
    patience: Duration,
) -> Result<Seen, VmError> {
    // Without a name, so that it goes with this process, however that ends.
    let mut firmware =
        tempfile::tempfile().map_err(|error| VmError::host("make a temporary file", error))?;
    firmware
        .write_all(&probe_guest::firmware(guest))
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
        "-S",
        "-qmp",
        "stdio",
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
    let mut stage = Stage::Nothing;
    let said = run_watched(command, QMP, patience, |line| {
        let now = stage_of(line).unwrap_or(stage);
        let got_on = now > stage;
        stage = stage.max(now);
        got_on
    });
    let said = said.await?;
    let complaint = said.complaint();
    let outcome = match said.status {
        Some(Status::Exited(probe_guest::REPORTED)) => Ok(format!("a probe guest of {guest} ran")),
        Some(status) if complaint.is_empty() => {
            Err(format!("QEMU {status} before the probe guest reported"))
        }
        Some(status) => Err(format!(
            "QEMU {status} before the probe guest reported: {complaint}"
        )),
        None => {
            let seconds = patience.as_secs_f64();
            Err(match stage {
                Stage::Nothing => format!("QEMU did not start within {seconds} s"),
                Stage::Qemu => format!("QEMU started, but no guest in it within {seconds} s"),
                Stage::Guest => format!("the probe guest ran for {seconds} s without a report"),
            })
        }
    };
    let aborted = said.status == Some(Status::Signalled(Signal::ABORT.as_raw()));
    Ok(Seen {
        outcome,
        stage,
        aborted,
    })
}

/// What a line of QMP says of that.
fn stage_of(line: &str) -> Option<Stage> {
    let message: serde_json::Value = serde_json::from_str(line).ok()?;
    if message.get("QMP").is_some() {
        return Some(Stage::Qemu);
    }
    (message.get("event")? == "RESUME").then_some(Stage::Guest)
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
        for (guest, arch) in [
            (ProbeGuest::X86, Arch::X86),
            (ProbeGuest::X86Pae, Arch::X86),
            (ProbeGuest::X86_64, Arch::X86_64),
        ] {
            let program = Path::new(program_name(arch));
            let seen = attempt(program, guest, Accelerator::Tcg, &[], SOON);
            let seen = seen.await.expect("QEMU runs");
            assert_eq!(seen.outcome, Ok(format!("a probe guest of {guest} ran")));
            assert_eq!(seen.stage, Stage::Guest);
        }
    }

    #[tokio::test]
    async fn a_guest_that_cannot_go_on_is_no_success() {
        // A processor without long mode.
        let without = ["-cpu".into(), "qemu32".into()];
        let verdict = probe(
            Path::new(program_name(Arch::X86_64)),
            Arch::X86_64,
            Accelerator::Tcg,
            &without,
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

    fn decided(
        required: bool,
        x86: Result<&str, &str>,
        x86_64: Result<&str, &str>,
    ) -> Result<String, VmError> {
        let own = |works: Result<&str, &str>| works.map(str::to_owned).map_err(str::to_owned);
        let works = BTreeMap::from([(Arch::X86, own(x86)), (Arch::X86_64, own(x86_64))]);
        let chosen = decide(required, Arch::ALL.into_iter(), &works)?;
        let lines = chosen
            .iter()
            .map(|(arch, choice)| format!("{arch}: {choice}"));
        Ok(lines.collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn all_guests_have_one_accelerator() {
        let ran = Ok("a probe guest ran");
        let works = decided(false, ran, ran).expect("it works");
        insta::assert_snapshot!(works, @r"
        x86: kvm (a probe guest ran)
        x86_64: kvm (a probe guest ran)
        ");
        let half = decided(false, Err("it died"), ran).expect("TCG works");
        insta::assert_snapshot!(half, @r"
        x86: tcg (KVM does not work: it died)
        x86_64: tcg (KVM works, but not for x86 guests, and all guests have one accelerator: it died)
        ");
    }

    #[test]
    fn where_kvm_is_required_nothing_falls_back() {
        let error = decided(true, Ok("a probe guest ran"), Err("it died"));
        let error = error.expect_err("one of them fails");
        insta::assert_snapshot!(error, @"use KVM for x86_64 guests: it died; without `--accel kvm` and SANLAB_REQUIRE_KVM they run on TCG, several times slower");
        let (auto, kvm, tcg) = (
            AcceleratorWish::Auto,
            AcceleratorWish::Kvm,
            AcceleratorWish::Tcg,
        );
        assert!(auto.requires_kvm_where(true) && !auto.requires_kvm_where(false));
        assert!(kvm.requires_kvm_where(false));
        // Asked for by its name.
        assert!(!tcg.requires_kvm_where(true));
        let chosen = decide(true, [Arch::X86].into_iter(), &BTreeMap::new());
        let chosen = chosen.expect("TCG needs nothing");
        assert_eq!(chosen[&Arch::X86].to_string(), "tcg (asked for)");
    }
}
