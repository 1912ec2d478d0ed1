//! Pid files: `PID\n`, held by a write lock on the whole file as long as the process lives.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use rustix::fs::{FlockOperation, Mode, OFlags, fcntl_lock, ftruncate, open};
use rustix::process::{Flock, FlockType, Pid, fcntl_getlk};

/// A pid file that is ours. The lock ends with it, or with any other closing of the same file in this process, so
/// nobody else here should open it.
#[derive(Debug)]
pub struct PidFile {
    _file: File,
}

impl PidFile {
    /// Takes the file; `None` if a living process has it.
    pub fn take(path: &Path) -> io::Result<Option<Self>> {
        let mode = Mode::from_raw_mode(0o644);
        let mut file = File::from(open(
            path,
            OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC,
            mode,
        )?);
        match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        ftruncate(&file, 0)?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Some(Self { _file: file }))
    }

    /// The living process that has the file. The kernel's word counts, not the file's text.
    pub fn holder(path: &Path) -> io::Result<Option<Pid>> {
        let file = match open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
            Ok(file) => file,
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let held = fcntl_getlk(&file, &Flock::from(FlockType::WriteLock))?;
        Ok(held.and_then(|lock| lock.pid))
    }
}
