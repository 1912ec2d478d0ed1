//! The log of a disk's writes, as QEMU's block filter `blklogwrites` keeps it: the format of the kernel's dm-log-writes.
//!
//! A sector about the log itself, which QEMU writes with each flush, then entry after entry: a sector that says what was asked for,
//! and behind it the data. QEMU writes an entry when the disk's file has taken the request, before the guest learns of its end. So
//! whatever the guest knows to be done is in the log, and a write that was done before the guest asked for a flush stands before
//! that flush.
//!
//! Several entries may be under way at once, each at its own place. Where QEMU was killed, one that it had not begun to write leaves
//! a gap of zeros. Its request was not done, so it is as if it had never been. No entry begins with a sector of zeros.
//!
//! QEMU takes the place of a whole entry at once. Versions before 7.2.9, and newer ones without that fix of January 2024, do not where a
//! guest writes zeros (`WRITE ZEROES`): the log of other writes at the same time may be misread then.

use std::io;

use fs_err::File;
use fs_err::os::unix::fs::FileExt as _;

/// Bytes of a sector, of the disk and of the log.
pub(super) const SECTOR: u64 = 512;
const SECTOR_BYTES: usize = 512;

/// How far the log is looked through at once for the end of a gap.
const STRIDE: usize = 1 << 16;

/// The first eight bytes of a log that is not empty.
const MAGIC: u64 = 0x006a_7366_7773_6872;
const VERSION: u64 = 1;

/// An entry begins with three numbers, and QEMU fills its sector up with zeros.
const ENTRY_BYTES: usize = 24;
/// QEMU makes a write with FUA a write and a flush.
const FLUSH: u64 = 1;
const DISCARD: u64 = 1 << 2;

/// What stands in a log.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct WriteLog {
    /// In the order in which the disk took them.
    pub(super) writes: Vec<LoggedWrite>,
    /// So many of them came before the last flush that was completed.
    pub(super) flushed: usize,
}

/// A write that the disk took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LoggedWrite {
    /// Its place on the disk, bytes.
    pub(super) offset: u64,
    pub(super) sectors: u64,
    /// Where its data begins in the log, bytes.
    pub(super) data: u64,
}

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum LogError {
    #[error(transparent)]
    Host(#[from] io::Error),
    /// It is not what QEMU writes.
    #[error("{what} at byte {at}")]
    Damaged { what: &'static str, at: u64 },
}

impl WriteLog {
    /// Reads what was logged of a disk of so many bytes.
    pub(super) fn read(log: &File, disk_bytes: u64) -> Result<Self, LogError> {
        let length = log.metadata()?.len();
        check_head(log, length)?;
        let mut found = Self::default();
        let mut at = SECTOR;
        while at + SECTOR <= length {
            let mut sector = [0; SECTOR_BYTES];
            log.read_exact_at(&mut sector, at)?;
            if sector == [0; SECTOR_BYTES] {
                at = end_of_gap(log, at, length)?;
                continue;
            }
            let entry = Entry::parse(&sector, disk_bytes / SECTOR);
            let entry = entry.ok_or(LogError::Damaged {
                what: "no entry of a write log",
                at,
            })?;
            at += SECTOR;
            let bytes = if entry.flags & DISCARD == 0 {
                entry.sectors * SECTOR
            } else {
                0
            };
            if at + bytes > length {
                // QEMU was killed as it wrote the last entry.
                break;
            }
            if bytes > 0 {
                found.writes.push(LoggedWrite {
                    offset: entry.sector * SECTOR,
                    sectors: entry.sectors,
                    data: at,
                });
            }
            if entry.flags & FLUSH != 0 {
                found.flushed = found.writes.len();
            }
            at += bytes;
        }
        Ok(found)
    }
}

/// A log that saw no flush has zeros there.
fn check_head(log: &File, length: u64) -> Result<(), LogError> {
    let mut head = [0; SECTOR_BYTES];
    if length >= SECTOR {
        log.read_exact_at(&mut head, 0)?;
    }
    let known = number(&head, 0) == MAGIC
        && number(&head, 1) == VERSION
        && number(&head, 3) & u64::from(u32::MAX) == SECTOR;
    if known || head == [0; SECTOR_BYTES] {
        return Ok(());
    }
    Err(LogError::Damaged {
        what: "no write log with sectors of 512 bytes",
        at: 0,
    })
}

/// Where the first sector begins that holds anything, or the log ends.
fn end_of_gap(log: &File, mut at: u64, length: u64) -> io::Result<u64> {
    let mut stride = vec![0; STRIDE];
    while at < length {
        let count = log.read_at(&mut stride, at)?;
        let mut sectors = stride[..count].chunks(SECTOR_BYTES);
        if let Some(zeros) = sectors.position(|sector| sector.iter().any(|byte| *byte != 0)) {
            return Ok(at + zeros as u64 * SECTOR);
        }
        // The log may be cut within a sector; nothing whole comes after that.
        at += (count as u64).max(SECTOR);
    }
    Ok(length)
}

/// What the first sector of an entry says.
struct Entry {
    sector: u64,
    sectors: u64,
    flags: u64,
}

impl Entry {
    /// `None`: QEMU writes no such entry for a disk of so many sectors.
    fn parse(bytes: &[u8; SECTOR_BYTES], disk_sectors: u64) -> Option<Self> {
        let entry = Self {
            sector: number(bytes, 0),
            sectors: number(bytes, 1),
            flags: number(bytes, 2),
        };
        let end = entry.sector.checked_add(entry.sectors)?;
        let fits = end <= disk_sectors && entry.flags & !(FLUSH | DISCARD) == 0;
        let rest = &bytes[ENTRY_BYTES..];
        (fits && rest.iter().all(|byte| *byte == 0)).then_some(entry)
    }
}

/// The number of 64 bits at a place, counted in those.
fn number(bytes: &[u8; SECTOR_BYTES], place: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[8 * place..8 * place + 8]);
    u64::from_le_bytes(number)
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write as _;
    use std::path::Path;

    use super::*;

    pub(crate) const DISK: u64 = 1 << 20;

    /// A log as QEMU writes it, made by hand.
    #[derive(Default)]
    pub(crate) struct Made(Vec<u8>);

    impl Made {
        pub(crate) fn new() -> Self {
            let mut made = Self::default();
            made.sector(&[MAGIC, VERSION, 0, SECTOR]);
            made
        }

        fn sector(&mut self, numbers: &[u64]) {
            let mut sector: Vec<u8> = numbers.iter().flat_map(|one| one.to_le_bytes()).collect();
            sector.resize(SECTOR_BYTES, 0);
            self.0.extend(sector);
        }

        /// So many sectors of that letter, from that sector on.
        pub(crate) fn write(mut self, sector: u64, sectors: u64, letter: u8) -> Self {
            self.sector(&[sector, sectors, 0, 0]);
            let bytes = usize::try_from(sectors * SECTOR).unwrap();
            self.0.extend(vec![letter; bytes]);
            self
        }

        pub(crate) fn flush(mut self) -> Self {
            self.sector(&[0, 0, FLUSH, 0]);
            self
        }

        fn gap(mut self, sectors: usize) -> Self {
            self.0.extend(vec![0; sectors * SECTOR_BYTES]);
            self
        }

        pub(crate) fn save(&self, path: &Path) {
            let mut file = File::create(path).unwrap();
            file.write_all(&self.0).unwrap();
        }

        fn read(&self) -> Result<WriteLog, LogError> {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("log");
            self.save(&path);
            WriteLog::read(&File::open(path).unwrap(), DISK)
        }
    }

    /// Places and lengths in sectors, and how many of them were flushed.
    fn told(log: Result<WriteLog, LogError>) -> String {
        match log {
            Ok(log) => {
                let writes = log.writes.iter();
                let writes = writes.map(|one| format!("{}+{}", one.offset / SECTOR, one.sectors));
                format!("{}/{}", writes.collect::<Vec<_>>().join(" "), log.flushed)
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn writes_are_told_in_their_order_and_which_were_flushed() {
        assert_eq!(told(Made::default().read()), "/0");
        assert_eq!(told(Made::new().read()), "/0");
        let log = Made::new().write(8, 2, b'a').flush().flush();
        let log = log.write(8, 1, b'b').write(0, 1, b'c');
        let read = log.read().unwrap();
        assert_eq!(read.writes[1].data, 7 * SECTOR);
        assert_eq!(told(Ok(read)), "8+2 8+1 0+1/1");
        // QEMU has written no head before the first flush.
        let unflushed = Made::default().gap(1).write(1, 1, b'a');
        assert_eq!(told(unflushed.read()), "1+1/0");
    }

    #[test]
    fn what_was_under_way_is_as_if_it_had_not_been() {
        let gaps = Made::new().write(1, 1, b'a').gap(3).write(2, 1, b'b');
        let gaps = gaps.flush().gap(200).write(3, 1, b'c').gap(1);
        assert_eq!(told(gaps.read()), "1+1 2+1 3+1/2");
        let mut cut = Made::new().write(1, 1, b'a').write(2, 4, b'b');
        for keep in [SECTOR_BYTES + 1, 3 * SECTOR_BYTES, 4 * SECTOR_BYTES + 511] {
            let from = cut.0.len().min(3 * SECTOR_BYTES + keep);
            cut.0.truncate(from);
            assert_eq!(told(cut.read()), "1+1/0");
            cut = Made::new().write(1, 1, b'a').write(2, 4, b'b');
        }
    }

    #[test]
    fn what_qemu_does_not_write_is_refused() {
        let foreign = Made(vec![b'x'; 2 * SECTOR_BYTES]);
        assert_eq!(
            told(foreign.read()),
            "no write log with sectors of 512 bytes at byte 0"
        );
        for numbers in [
            [DISK / SECTOR, 1, 0, 0],
            [u64::MAX, 1, 0, 0],
            [0, 1, 2, 0],
            [0, 1, 16, 0],
            [0, 1, 0, 1],
        ] {
            let mut log = Made::new();
            log.sector(&numbers);
            log.0.extend([0; SECTOR_BYTES]);
            assert_eq!(
                told(log.read()),
                "no entry of a write log at byte 512",
                "{numbers:?}"
            );
        }
    }
}
