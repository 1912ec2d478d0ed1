//! Processes that a dead run left behind.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, getpid, getuid, pidfd_open, pidfd_send_signal};

use crate::FleetError;

/// A process that was sent SIGKILL ends as soon as the kernel lets go of it; TCG guests take milliseconds.
const DEADLINE: Duration = Duration::from_secs(10);

/// Kills every process of this user with `run` in its command line, and waits for their ends; their ids.
pub(crate) fn kill(run: &Path) -> Result<Vec<u32>, FleetError> {
    let mut ending: BTreeMap<u32, OwnedFd> = BTreeMap::new();
    for entry in fs_err::read_dir("/proc")? {
        let Some(pid) = entry?
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let Some(raw) = Pid::from_raw(pid).filter(|raw| *raw != getpid()) else {
            continue;
        };
        // The pidfd first: what is read about the id afterwards is about this process, or it has ended.
        if let Ok(pidfd) = pidfd_open(raw, PidfdFlags::empty())
            && belongs_to(raw, run)
            && pidfd_send_signal(&pidfd, Signal::KILL).is_ok()
        {
            ending.insert(pid.unsigned_abs(), pidfd);
        }
    }
    let killed = ending.keys().copied().collect();
    let end = Instant::now() + DEADLINE;
    while let Some((pid, pidfd)) = ending.first_key_value() {
        let left = end.saturating_duration_since(Instant::now());
        // A pidfd is readable when its process has ended.
        let ended = poll(
            &mut [PollFd::new(pidfd, PollFlags::IN)],
            Timespec::try_from(left).ok().as_ref(),
        );
        match ended {
            Ok(0) => {
                let pids = ending.into_keys().collect();
                return Err(FleetError::Unkillable {
                    run: run.to_owned(),
                    pids,
                    waited: DEADLINE,
                });
            }
            Ok(_) => {
                let pid = *pid;
                ending.remove(&pid);
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(std::io::Error::from(errno).into()),
        }
    }
    Ok(killed)
}

/// Whether an argument of the process is the folder or lies in it, also inside of a list (`path=RUN/x,server=off`).
fn belongs_to(pid: Pid, run: &Path) -> bool {
    let proc = Path::new("/proc").join(pid.as_raw_nonzero().to_string());
    let ours = fs_err::metadata(&proc).is_ok_and(|found| found.uid() == getuid().as_raw());
    // One that ends in between has an empty command line.
    let command = fs_err::read(proc.join("cmdline")).unwrap_or_default();
    ours && names(&command, run.as_os_str().as_bytes())
}

fn names(command: &[u8], run: &[u8]) -> bool {
    command.windows(run.len()).enumerate().any(|(at, window)| {
        window == run
            && !command
                .get(at + run.len())
                .is_some_and(u8::is_ascii_alphanumeric)
    })
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn a_folder_is_found_in_lists_and_not_in_longer_names() {
        assert!(names(
            b"qemu\0-qmp\0unix:/tmp/s/abcdef/qmp.sock,server\0",
            b"/tmp/s/abcdef"
        ));
        assert!(names(b"sh\0/tmp/s/abcdef\0", b"/tmp/s/abcdef"));
        assert!(!names(b"sh\0/tmp/s/abcdefg/x\0", b"/tmp/s/abcdef"));
        assert!(!names(b"", b"/tmp/s/abcdef"));
    }
}
