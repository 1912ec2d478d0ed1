//! Which processes a run has started: a file in its folder, for whoever clears away after the run.
//!
//! A process adds itself between fork and exec, so that none ever runs without being in it. A number alone does not
//! name a process, since it is given again after the process' end; the time at which it started tells two apart, as long as
//! the host is not booted again.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use fs_err::OpenOptions;
use procfs::FromRead as _;
use procfs::process::Stat;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, read, write};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::process::usage::process;

/// The file's name in the run's folder, which no node can have. Its first line is [`BOOT`]'s; then comes a line of
/// `/proc/PID/stat` (proc(5)) for each process.
const FILE: &str = "processes.stat";
/// What is another after each boot of the host.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";
/// Longer than any line of `/proc/PID/stat`: 52 numbers of 20 digits at most.
const LINE: usize = 2048;

/// The record of a run's processes.
#[derive(Debug, Clone)]
pub(crate) struct ProcessRecords(Arc<OwnedFd>);

impl ProcessRecords {
    /// Goes on with the record in `run_dir`, or begins it.
    pub(crate) fn open(run_dir: &Path) -> io::Result<Self> {
        let boot = fs_err::read_to_string(BOOT)?;
        let path = run_dir.join(FILE);
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        let file = OwnedFd::from(file.into_parts().0);
        if rustix::fs::fstat(&file)?.st_size == 0 {
            write_whole(&file, boot.as_bytes())?;
        }
        Ok(Self(Arc::new(file)))
    }

    /// Adds the process that calls this. It makes system calls and does nothing else, so that it can be called between fork
    /// and exec.
    pub(crate) fn add_this_process(&self) -> io::Result<()> {
        let mut line = [0; LINE];
        let stat = open(
            c"/proc/self/stat",
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let length = read(&stat, &mut line)?;
        write_whole(&self.0, &line[..length])
    }
}

/// Appends all of it at once: others append, too.
fn write_whole(file: &OwnedFd, bytes: &[u8]) -> io::Result<()> {
    if write(file, bytes)? == bytes.len() {
        Ok(())
    } else {
        Err(io::ErrorKind::StorageFull.into())
    }
}

/// A process that a run has started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordedProcess {
    /// Its number.
    pub pid: u32,
    /// When it started, in clock ticks since the host's boot.
    pub start_time: u64,
}

impl RecordedProcess {
    /// A descriptor of the process (`pidfd_open(2)`); `None` once it has been reaped, whoever has its number now.
    pub fn open(self) -> io::Result<Option<OwnedFd>> {
        let pid = self.pid.try_into().ok().and_then(Pid::from_raw);
        let handle = match pid.map(|pid| pidfd_open(pid, PidfdFlags::empty())) {
            Some(Ok(handle)) => handle,
            None | Some(Err(Errno::SRCH)) => return Ok(None),
            Some(Err(error)) => return Err(error.into()),
        };
        // Read after the descriptor was opened: the number is that process' until it has been reaped.
        let found = process(self.pid).and_then(|process| process.stat().ok());
        let same = found.is_some_and(|stat| stat.starttime == self.start_time);
        Ok(same.then_some(handle))
    }
}

/// The processes that the run with this folder has started since the host was booted. They may have ended.
pub fn recorded_processes(run_dir: &Path) -> io::Result<Vec<RecordedProcess>> {
    let text = match fs_err::read_to_string(run_dir.join(FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text?,
    };
    let boot = fs_err::read_to_string(BOOT)?;
    let Some(lines) = text.strip_prefix(&boot) else {
        return Ok(Vec::new());
    };
    // One that was cut off is of a process that has never got to its exec.
    let stats = lines
        .lines()
        .filter_map(|line| Stat::from_read(line.as_bytes()).ok());
    let recorded = stats.map(|stat| RecordedProcess {
        pid: stat.pid.unsigned_abs(),
        start_time: stat.starttime,
    });
    Ok(recorded.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn this_process() -> RecordedProcess {
        let folder = tempfile::tempdir().unwrap();
        let records = ProcessRecords::open(folder.path()).unwrap();
        records.add_this_process().unwrap();
        recorded_processes(folder.path()).unwrap()[0]
    }

    #[test]
    fn all_who_add_themselves_are_there_in_order() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(recorded_processes(folder.path()).unwrap(), []);
        for _ in 0..2 {
            let records = ProcessRecords::open(folder.path()).unwrap();
            records.add_this_process().unwrap();
        }
        let this = this_process();
        assert_eq!(this.pid, std::process::id());
        assert_eq!(recorded_processes(folder.path()).unwrap(), [this, this]);
        assert!(this.open().unwrap().is_some());
    }

    #[test]
    fn a_number_that_was_given_again_is_another_process() {
        let mut earlier = this_process();
        earlier.start_time -= 1;
        assert!(earlier.open().unwrap().is_none());
        let nobody = RecordedProcess {
            pid: u32::MAX,
            ..earlier
        };
        assert!(nobody.open().unwrap().is_none());
    }

    #[test]
    fn what_ran_before_the_host_was_booted_is_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let records = ProcessRecords::open(folder.path()).unwrap();
        records.add_this_process().unwrap();
        let path = folder.path().join(FILE);
        let text = fs_err::read_to_string(&path).unwrap();
        let (_, lines) = text.split_once('\n').unwrap();
        fs_err::write(
            &path,
            format!("00000000-0000-4000-8000-000000000000\n{lines}"),
        )
        .unwrap();
        assert_eq!(recorded_processes(folder.path()).unwrap(), []);
    }
}
