//! Whether KVM runs guests of a kind: found out once in a boot of the host, and shared by all processes of a user.
//!
//! The probe takes a tenth of a second where KVM works. Where its guest spins it takes some twenty, and test runners start a
//! process for each test.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sanlab_lock::{FileLock, LockError};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::task::spawn_blocking;

use crate::command_line::accelerator::{Seen, Stage, attempt};
use crate::command_line::kvm_device;
use crate::command_line::probe_guest::ProbeGuest;
use crate::command_line::program::qemu_stamp;
use crate::command_line::spec::Accelerator;
use crate::error::VmError;

/// How long each stage of a probe may take, for each of its attempts. A QEMU that is alone on a usual host takes a twentieth of
/// a second to start and its guest no time at all; under an emulator it took more than one.
const PATIENCE: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(15)];

/// How long another process is awaited that probes: what its attempts take at most, and a little more.
const OTHERS_PROBE: Duration = Duration::from_secs(60);

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// What a probe has found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Verdict {
    /// How we know that KVM works, or why it does not.
    pub(crate) works: Result<String, String>,
    /// Whether the host will say the same until its next boot. It need not where QEMU ended or waited before its guest ran: another
    /// hypervisor may have had the processor, or the host was busy.
    settled: bool,
}

/// What is kept of one.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    /// Everything that it depends on.
    circumstances: String,
    verdict: Verdict,
}

/// A verdict's place among those of other programs and guests.
struct Place {
    file: PathBuf,
    circumstances: String,
}

/// Whether KVM runs such guests in that program. Verdicts are shared in the folder `answers`, made if need be; without one, or
/// where it cannot be written to, this process finds out for itself.
pub(crate) async fn find(
    guest: ProbeGuest,
    program: &Path,
    answers: Option<&Path>,
) -> Result<Verdict, VmError> {
    let permissions = match kvm_device::open(Path::new(kvm_device::DEVICE)) {
        Ok(permissions) => permissions,
        Err(reason) => {
            return Ok(Verdict {
                works: Err(reason),
                settled: false,
            });
        }
    };
    let program_is = qemu_stamp(program)?;
    let place = answers.map(|folder| {
        let name = hex::encode(&Sha256::digest(&program_is)[..8]);
        let boot = fs_err::read_to_string(BOOT_ID).unwrap_or_default();
        Place {
            file: folder.join(format!("{guest:?}-{name}.json").to_lowercase()),
            circumstances: format!(
                "{}\n{guest}\n{program_is}\n{permissions}\n{}",
                boot.trim_end(),
                kvm_device::modules()
            ),
        }
    });
    share(place, async || probe(guest, program, PATIENCE).await).await
}

/// The verdict that is kept, or a new one, which is kept if it is settled. Of several that ask at once one probes.
async fn share(
    place: Option<Place>,
    probe: impl AsyncFnOnce() -> Result<Verdict, VmError>,
) -> Result<Verdict, VmError> {
    let Some(place) = place else {
        return probe().await;
    };
    if let Some(verdict) = place.read() {
        return Ok(verdict);
    }
    let lock = place.lock().await;
    let _lock = match lock {
        Ok(lock) => lock,
        Err(error) => {
            tracing::warn!(%error, file = %place.file.display(), "the probe of KVM is not shared");
            return probe().await;
        }
    };
    // Whoever had the lock before has kept it.
    if let Some(verdict) = place.read() {
        return Ok(verdict);
    }
    let verdict = probe().await?;
    if verdict.settled
        && let Err(error) = place.write(&verdict)
    {
        tracing::warn!(%error, file = %place.file.display(), "the probe of KVM is not shared");
    }
    Ok(verdict)
}

impl Place {
    /// `None`: there is none, it is damaged, or it was found under other circumstances.
    fn read(&self) -> Option<Verdict> {
        let bytes = fs_err::read(&self.file).ok()?;
        let kept: Kept = serde_json::from_slice(&bytes).ok()?;
        (kept.circumstances == self.circumstances).then_some(kept.verdict)
    }

    fn write(&self, verdict: &Verdict) -> std::io::Result<()> {
        let folder = self.file.parent().unwrap_or(Path::new("/"));
        let kept = Kept {
            circumstances: self.circumstances.clone(),
            verdict: verdict.clone(),
        };
        let half = tempfile::NamedTempFile::new_in(folder)?;
        serde_json::to_writer_pretty(&half, &kept)?;
        half.persist(&self.file)?;
        Ok(())
    }

    async fn lock(&self) -> Result<FileLock, LockError> {
        let file = self.file.with_extension("lock");
        let take = move || {
            if let Some(folder) = file.parent() {
                fs_err::create_dir_all(folder)?;
            }
            FileLock::take(&file, OTHERS_PROBE, |_| ())
        };
        let taken = spawn_blocking(take).await;
        taken.map_err(std::io::Error::from)?
    }
}

/// Boots the probe guest; once more if that fails.
async fn probe(
    guest: ProbeGuest,
    program: &Path,
    patience: [Duration; 2],
) -> Result<Verdict, VmError> {
    let [first, second] = patience;
    let kvm = Accelerator::Kvm;
    let before = attempt(program, guest, kvm, &[], first).await?;
    if let Ok(works) = before.outcome {
        return Ok(Verdict {
            works: Ok(works),
            settled: true,
        });
    }
    let after = attempt(program, guest, kvm, &[], second).await?;
    Ok(both(before, after))
}

/// What two attempts say of which the first failed.
fn both(first: Seen, second: Seen) -> Verdict {
    let failed = first.outcome.unwrap_or_else(|reason| reason);
    let settled = second.outcome.is_ok() || second.stage == Stage::Guest || second.aborted;
    let works = match second.outcome {
        Ok(works) => Ok(format!(
            "{works} at the second attempt; at the first {failed}"
        )),
        Err(reason) if reason == failed => Err(format!("{reason}; the same at a second attempt")),
        Err(reason) => Err(format!("{failed}; at a second attempt {reason}")),
    };
    Verdict { works, settled }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// So long a stub waits that is not waited for.
    const FOREVER: &str = "exec sleep 600";
    const GREETING: &str = r#"echo '{"QMP": {"version": {}}}'"#;
    const RUNS: &str = r#"echo '{"event": "RESUME"}'"#;
    const REPORTS: &str = "exit 85";

    /// A QEMU that does that, and notes that it was started.
    struct Stub {
        folder: tempfile::TempDir,
    }

    impl Stub {
        fn new(lines: &[&str]) -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let stub = Self { folder };
            let started = stub.folder.path().join("started");
            let text = format!(
                "#!/bin/sh\necho >>{}\n{}\n",
                started.display(),
                lines.join("\n")
            );
            fs_err::write(stub.program(), text).expect("a script");
            let mode = std::fs::Permissions::from_mode(0o755);
            fs_err::set_permissions(stub.program(), mode).expect("its mode");
            stub
        }

        fn program(&self) -> PathBuf {
            self.folder.path().join("qemu")
        }

        fn starts(&self) -> usize {
            let text = fs_err::read_to_string(self.folder.path().join("started"));
            text.expect("it was started").lines().count()
        }

        /// The host may be busy, and then a stub that is to succeed takes long; one that is to fail need not be waited for.
        async fn probed(&self, patience: [u64; 2]) -> Verdict {
            let patience = patience.map(Duration::from_millis);
            probe(ProbeGuest::X86Pae, &self.program(), patience)
                .await
                .expect("the stub starts")
        }
    }

    const LONG: u64 = 60_000;

    #[tokio::test]
    async fn a_qemu_that_starts_slowly_is_waited_for() {
        // Longer at each stage than any stage would be alone.
        let slow = Stub::new(&["sleep 2", GREETING, "sleep 2", RUNS, "sleep 2", REPORTS]);
        let verdict = slow.probed([LONG, LONG]).await;
        assert_eq!(verdict.works, Ok("a probe guest of x86 ran".to_owned()));
        assert!(verdict.settled);
        assert_eq!(slow.starts(), 1);
    }

    #[tokio::test]
    async fn a_qemu_that_shows_no_life_is_tried_again_and_not_believed() {
        let dead = Stub::new(&[FOREVER]);
        let verdict = dead.probed([100, 200]).await;
        let reason = verdict.works.expect_err("it does not start");
        assert_eq!(
            reason,
            "QEMU did not start within 0.1 s; at a second attempt QEMU did not start within 0.2 s"
        );
        assert!(!verdict.settled, "the host may have been busy");
        assert_eq!(dead.starts(), 2);
    }

    #[tokio::test]
    async fn a_guest_that_spins_is_believed() {
        let spins = Stub::new(&[GREETING, RUNS, FOREVER]);
        let verdict = spins.probed([5000, 5000]).await;
        let reason = verdict.works.expect_err("it spins");
        assert_eq!(
            reason,
            "the probe guest ran for 5 s without a report; the same at a second attempt"
        );
        assert!(verdict.settled);
    }

    #[tokio::test]
    async fn a_guest_that_dies_at_once_is_believed_and_a_qemu_that_was_refused_is_not() {
        let guest = Stub::new(&[GREETING, RUNS, "exit 0"]);
        let verdict = guest.probed([LONG, LONG]).await;
        let reason = verdict.works.expect_err("it dies");
        assert_eq!(
            reason,
            "QEMU exited with 0 before the probe guest reported; the same at a second attempt"
        );
        assert!(verdict.settled);
        let busy = Stub::new(&[
            "echo 'failed to initialize kvm: Device or resource busy' >&2",
            "exit 1",
        ]);
        let verdict = busy.probed([LONG, LONG]).await;
        let reason = verdict.works.expect_err("it dies");
        assert!(reason.contains("resource busy"), "{reason}");
        assert!(!verdict.settled);
        assert_eq!(busy.starts(), 2);
        let aborts = Stub::new(&["kill -ABRT $$"]);
        let verdict = aborts.probed([LONG, LONG]).await;
        let reason = verdict.works.expect_err("it dies");
        assert!(reason.contains("SIGABRT"), "{reason}");
        assert!(verdict.settled, "an assertion fails again");
    }

    #[tokio::test]
    async fn a_second_attempt_can_succeed() {
        let folder = tempfile::tempdir().expect("a folder");
        let mark = folder.path().join("mark");
        let first = format!("test -e {0} || {{ touch {0}; exit 1; }}", mark.display());
        let stub = Stub::new(&[&first, GREETING, RUNS, REPORTS]);
        let verdict = stub.probed([LONG, LONG]).await;
        assert_eq!(
            verdict.works.expect("it works"),
            "a probe guest of x86 ran at the second attempt; at the first QEMU exited with 1 before the probe guest reported"
        );
        assert!(verdict.settled);
    }

    fn place(folder: &Path, circumstances: &str) -> Place {
        Place {
            file: folder.join("answers/x86.json"),
            circumstances: circumstances.to_owned(),
        }
    }

    /// A lock belongs to an open file, so that tasks are to it what processes are.
    #[tokio::test(flavor = "multi_thread")]
    async fn of_those_that_ask_at_once_one_probes() {
        let folder = tempfile::tempdir().expect("a folder");
        let stub = Stub::new(&[GREETING, RUNS, "sleep 1", REPORTS]);
        let ask = || {
            share(Some(place(folder.path(), "here")), async || {
                Ok(stub.probed([LONG, LONG]).await)
            })
        };
        let verdicts = tokio::join!(ask(), ask(), ask());
        for verdict in [verdicts.0, verdicts.1, verdicts.2] {
            let works = verdict.expect("all learn it").works;
            assert_eq!(works, Ok("a probe guest of x86 ran".to_owned()));
        }
        assert_eq!(stub.starts(), 1);
    }

    #[tokio::test]
    async fn only_what_is_settled_and_whole_and_of_here_is_believed() {
        let folder = tempfile::tempdir().expect("a folder");
        let probes = AtomicU32::new(0);
        let ask = async |circumstances: &str, settled: bool| {
            let probe = async || {
                let number = probes.fetch_add(1, Ordering::SeqCst) + 1;
                let works = Err(format!("probe {number}"));
                Ok(Verdict { works, settled })
            };
            let verdict = share(Some(place(folder.path(), circumstances)), probe).await;
            verdict.expect("it is found").works.expect_err("it fails")
        };
        assert_eq!(ask("here", false).await, "probe 1");
        assert_eq!(ask("here", true).await, "probe 2");
        assert_eq!(ask("here", true).await, "probe 2");
        assert_eq!(ask("after the next boot", true).await, "probe 3");
        let file = folder.path().join("answers/x86.json");
        let whole = fs_err::read(&file).expect("it is there");
        fs_err::write(&file, &whole[..whole.len() / 2]).expect("torn");
        assert_eq!(ask("after the next boot", true).await, "probe 4");
        // No lock and no half of a file is left.
        let left = fs_err::read_dir(folder.path().join("answers")).expect("a folder");
        assert_eq!(left.count(), 1);
    }

    #[tokio::test]
    async fn without_a_folder_each_finds_out_for_itself() {
        let probe = async || {
            let works = Ok(String::new());
            Ok(Verdict {
                works,
                settled: true,
            })
        };
        let file = Some(place(Path::new("/proc/no/such"), "here"));
        for place in [None, file] {
            let verdict = share(place, probe).await.expect("it is found");
            assert_eq!(verdict.works, Ok(String::new()));
        }
    }
}
