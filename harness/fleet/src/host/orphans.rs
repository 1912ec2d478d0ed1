//! Processes that a dead run left behind.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use procfs::process::Process;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, getpid, getuid, pidfd_open, pidfd_send_signal};

use crate::error::FleetError;

/// A process that was sent SIGKILL ends as soon as the kernel lets go of it; TCG guests take milliseconds.
const DEADLINE: Duration = Duration::from_secs(10);

/// Kills every process of this user with `run` in its command line, and waits for their ends; their ids.
pub(crate) fn kill(run: &Path) -> Result<Vec<u32>, FleetError> {
    let mut ending: BTreeMap<u32, OwnedFd> = BTreeMap::new();
    for process in procfs::process::all_processes().map_err(std::io::Error::other)? {
        // One may have ended since it was listed.
        let Ok(process) = process else { continue };
        let Some(raw) = Pid::from_raw(process.pid).filter(|raw| *raw != getpid()) else {
            continue;
        };
        // The pidfd first: what is read about the id afterwards is about this process, or it has ended.
        if let Ok(pidfd) = pidfd_open(raw, PidfdFlags::empty())
            && belongs_to(process.pid, run)
            && pidfd_send_signal(&pidfd, Signal::KILL).is_ok()
        {
            ending.insert(process.pid.unsigned_abs(), pidfd);
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
fn belongs_to(pid: i32, run: &Path) -> bool {
    let Ok(process) = Process::new(pid) else {
        return false;
    };
    let ours = process.uid().is_ok_and(|uid| uid == getuid().as_raw());
    // One that ends in between has an empty command line.
    let mut command = Vec::new();
    let read = process
        .open_relative("cmdline")
        .is_ok_and(|mut file| file.read_to_end(&mut command).is_ok());
    ours && read && names(&command, run.as_os_str().as_bytes())
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
