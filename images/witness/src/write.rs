//! The writer: one block after another, each acknowledged when the disk has it.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{FileExt as _, FileTypeExt as _};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::time::{ClockId, clock_gettime};

use crate::block::Identity;
use crate::direct::{self, Buffer};
use crate::error::Error;

/// How a journal ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// All blocks are acknowledged.
    Whole,
    /// Writing one failed, as the acknowledgements say; those before it are good.
    Failed,
}

/// A journal whose blocks have their places and no content yet.
#[derive(Debug)]
pub struct Journal<'a> {
    file: File,
    identity: &'a Identity,
    count: u64,
    interval: Duration,
}

impl<'a> Journal<'a> {
    /// Makes the file, or empties it, and gives it room for all blocks: writing then changes nothing but them, and where
    /// they are on the disk is known from the beginning. A block device has its room and keeps what is on it.
    /// From the begin of a block to that of the next it takes at least `interval`.
    pub fn create(
        path: &Path,
        identity: &'a Identity,
        count: u64,
        interval: Duration,
    ) -> Result<Self, Error> {
        let bytes = count
            .checked_mul(identity.length() as u64)
            .filter(|bytes| *bytes > 0 && i64::try_from(*bytes).is_ok())
            .ok_or_else(|| Error::Usage(format!("a journal cannot have {count} blocks")))?;
        let file = direct::synchronous_options()
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)
            .map_err(|error| Error::host("create", path, error))?;
        let kind = file
            .metadata()
            .map_err(|error| Error::host("look at", path, error))?
            .file_type();
        if !kind.is_block_device() {
            fallocate(&file, FallocateFlags::empty(), 0, bytes)
                .map_err(|error| Error::host("allocate the blocks of", path, error))?;
            file.sync_all()
                .map_err(|error| Error::host("sync", path, error))?;
        }
        Ok(Self {
            file,
            identity,
            count,
            interval,
        })
    }

    /// Writes all blocks. Every line goes to `acknowledge` by a write of its own, at once:
    ///
    /// ```text
    /// begin WRITER BLOCK-BYTES COUNT SEED
    /// ack NUMBER MONOTONIC-MICROSECONDS      a block is on the disk
    /// error NUMBER ERRNO TEXT                a block could not be written: the last line
    /// end COUNT                              all are written: the last line
    /// ```
    pub fn write(&self, acknowledge: &mut dyn Write) -> Result<Written, Error> {
        let mut tell = |line: String| {
            acknowledge
                .write_all(line.as_bytes())
                .and_then(|()| acknowledge.flush())
                .map_err(|source| Error::Host {
                    doing: format!("tell `{}`", line.trim_end()),
                    source,
                })
        };
        let (writer, length, seed) = (
            self.identity.writer(),
            self.identity.length(),
            self.identity.seed(),
        );
        tell(format!("begin {writer} {length} {} {seed}\n", self.count))?;
        let mut buffer = Buffer::new(length);
        for number in 0..self.count {
            let begun = Instant::now();
            self.identity.fill(number, buffer.bytes());
            let at = number * length as u64;
            match self.file.write_all_at(buffer.bytes(), at) {
                Ok(()) => tell(format!("ack {number} {}\n", now_micros()))?,
                Err(error) => {
                    let errno = error.raw_os_error().unwrap_or_default();
                    tell(format!("error {number} {errno} {error}\n"))?;
                    return Ok(Written::Failed);
                }
            }
            if number + 1 < self.count {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "nothing is awaited: the time itself is asked for"
                )]
                sleep(self.interval.saturating_sub(begun.elapsed()));
            }
        }
        tell(format!("end {}\n", self.count))?;
        Ok(Written::Whole)
    }
}

fn now_micros() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1000
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;

    use super::*;

    #[test]
    fn an_error_is_told_and_ends_the_journal() {
        let identity = Identity::new("n", 0, 4096).unwrap();
        let file = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let journal = Journal {
            file,
            identity: &identity,
            count: 3,
            interval: Duration::ZERO,
        };
        let mut lines = Vec::new();
        assert_eq!(journal.write(&mut lines).unwrap(), Written::Failed);
        let lines = String::from_utf8(lines).unwrap();
        let enospc = rustix::io::Errno::NOSPC.raw_os_error();
        let (begin, error) = lines.split_once('\n').unwrap();
        assert_eq!(begin, "begin n 4096 3 0");
        assert!(
            error.starts_with(&format!("error 0 {enospc} No space left")),
            "{error}"
        );
        assert_eq!(error.lines().count(), 1);
    }
}
