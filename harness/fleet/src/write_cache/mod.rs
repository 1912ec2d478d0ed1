//! A volatile write cache: what a disk has when its power is cut.
//!
//! Before a write is flushed a disk may have it or not, whatever it has told the guest; what was written before a completed flush it
//! must have. QEMU puts every write and flush down in a log ([`log`]). When the power is cut, chance decides about each write
//! that came after the last flush ([`draw`]), and the disk is written anew from what it was when the log began.

mod draw;
mod log;

use std::path::{Path, PathBuf};

use fs_err::os::unix::fs::FileExt as _;
use fs_err::{File, OpenOptions};
use sanlab_image::copy_sparse;

use crate::error::FleetError;
use draw::Fate;
use log::{LogError, LoggedWrite, SECTOR, WriteLog};

pub use draw::CacheDraw;

/// Written at once.
const CHUNK: usize = 1 << 20;

/// What a loss of power did to what was written to a disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PowerLoss {
    /// Writes after the last flush.
    pub unflushed_writes: u64,
    /// What they wrote together, bytes.
    pub unflushed_bytes: u64,
    /// So many of them are on the disk.
    pub kept_writes: u64,
    /// So many of these are there in part.
    pub torn_writes: u64,
}

/// All that is known of what a disk with a volatile write cache has been asked to write.
#[derive(Debug, Clone)]
pub(crate) struct WriteCache {
    /// What was asked for, in order.
    pub(crate) log: PathBuf,
    /// What the disk held before.
    pub(crate) base: Base,
}

/// What a disk held when the log of its writes began.
#[derive(Debug, Clone)]
pub(crate) enum Base {
    /// Nothing: zeros.
    Empty,
    /// What is in a file that stays what it is.
    Saved(PathBuf),
    /// What is in a copy that is used up.
    Copy(PathBuf),
}

impl WriteCache {
    /// Makes the empty log that QEMU wants.
    pub(crate) fn begin(log: PathBuf, base: Base) -> Result<Self, FleetError> {
        // There may be one already, of the machine before.
        File::create(&log)?;
        Ok(Self { log, base })
    }

    /// Makes of a disk, which no machine writes to any more, what it is after a loss of power. The log is removed. `None`: nothing
    /// had been written to it.
    pub(crate) fn lose(
        self,
        node: &str,
        disk: &Path,
        draw: CacheDraw,
    ) -> Result<Option<PowerLoss>, FleetError> {
        let log = File::open(&self.log)?;
        let disk_bytes = fs_err::metadata(disk)?.len();
        let logged = WriteLog::read(&log, disk_bytes).map_err(|error| match error {
            LogError::Host(error) => FleetError::from(error),
            LogError::Damaged { .. } => FleetError::WriteLog {
                node: node.to_owned(),
                path: self.log.clone(),
                reason: error.to_string(),
            },
        })?;
        let (flushed, unflushed) = logged.writes.split_at(logged.flushed);
        let fates = draw::fates(draw, unflushed.iter().map(|write| write.sectors));
        if fates.iter().any(|fate| *fate != Fate::Kept) {
            self.base.restore(disk, disk_bytes)?;
            let disk = OpenOptions::new().write(true).open(disk)?;
            let all = flushed.iter().map(|write| (write, &Fate::Kept));
            for (write, fate) in all.chain(unflushed.iter().zip(&fates)) {
                apply(write, fate, &log, &disk)?;
            }
        }
        fs_err::remove_file(&self.log)?;
        Ok((!logged.writes.is_empty()).then(|| counted(unflushed, &fates)))
    }
}

impl Base {
    /// Makes a disk what it was.
    fn restore(&self, disk: &Path, disk_bytes: u64) -> Result<(), FleetError> {
        match self {
            Self::Empty => File::create(disk)?.set_len(disk_bytes)?,
            Self::Saved(file) => copy_sparse(file, disk)?,
            Self::Copy(file) => fs_err::rename(file, disk)?,
        }
        Ok(())
    }
}

/// Writes what there is of a write.
fn apply(write: &LoggedWrite, fate: &Fate, log: &File, disk: &File) -> Result<(), FleetError> {
    match fate {
        Fate::Lost => Ok(()),
        Fate::Kept => copy(log, write.data, disk, write.offset, write.sectors * SECTOR),
        Fate::Torn(sectors) => {
            let places = (0..).map(|sector| sector * SECTOR).zip(sectors);
            places
                .filter(|(_, there)| **there)
                .try_for_each(|(place, _)| {
                    copy(log, write.data + place, disk, write.offset + place, SECTOR)
                })
        }
    }
}

fn copy(from: &File, mut at: u64, to: &File, mut place: u64, bytes: u64) -> Result<(), FleetError> {
    let end = at + bytes;
    let mut chunk = vec![0; CHUNK.min(usize::try_from(bytes).unwrap_or(CHUNK))];
    while at < end {
        let length = usize::try_from(end - at).unwrap_or(CHUNK).min(CHUNK);
        let chunk = &mut chunk[..length];
        from.read_exact_at(chunk, at)?;
        to.write_all_at(chunk, place)?;
        at += length as u64;
        place += length as u64;
    }
    Ok(())
}

fn counted(unflushed: &[LoggedWrite], fates: &[Fate]) -> PowerLoss {
    let count = |wanted: fn(&Fate) -> bool| fates.iter().filter(|fate| wanted(fate)).count() as u64;
    PowerLoss {
        unflushed_writes: unflushed.len() as u64,
        unflushed_bytes: unflushed.iter().map(|write| write.sectors * SECTOR).sum(),
        kept_writes: count(|fate| *fate != Fate::Lost),
        torn_writes: count(|fate| matches!(fate, Fate::Torn(_))),
    }
}

#[cfg(test)]
mod tests {
    use super::log::tests::{DISK, Made};
    use super::*;

    /// The first letter of each of the first sectors after a loss of power; `.` for zeros.
    fn left(log: &Made, base: &str, draw: CacheDraw) -> (String, Option<PowerLoss>) {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let full = |letter: u8| vec![letter; usize::try_from(DISK).unwrap()];
        // What QEMU left does not matter.
        fs_err::write(path("disk"), full(b'?')).unwrap();
        fs_err::write(path("base"), full(b'_')).unwrap();
        log.save(&path("log"));
        let cache = WriteCache {
            log: path("log"),
            base: match base {
                "saved" => Base::Saved(path("base")),
                "copy" => Base::Copy(path("base")),
                _ => Base::Empty,
            },
        };
        let loss = cache.lose("vix0", &path("disk"), draw).unwrap();
        assert!(!path("log").exists());
        assert_eq!(path("base").exists(), base != "copy");
        let disk = fs_err::read(path("disk")).unwrap();
        assert_eq!(disk.len() as u64, DISK);
        let sectors = disk.chunks(512).take(12);
        let letters = sectors.map(|sector| match sector[511] {
            0 => '.',
            letter => char::from(letter),
        });
        (letters.collect(), loss)
    }

    #[test]
    fn what_was_flushed_is_there_and_the_rest_by_chance() {
        let log = || Made::new().write(0, 4, b'a').write(2, 1, b'b').flush();
        let log = || log().write(4, 4, b'c').write(0, 1, b'd');
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..40 {
            let draw = CacheDraw { seed, torn: false };
            let (disk, loss) = left(&log(), "empty", draw);
            assert_eq!(left(&log(), "empty", draw), (disk.clone(), loss));
            let loss = loss.unwrap();
            assert_eq!((loss.unflushed_writes, loss.unflushed_bytes), (2, 5 * 512));
            // All is there: then the disk is left as it is.
            if loss.kept_writes < 2 {
                seen.insert((disk, loss.kept_writes));
            }
        }
        let seen: Vec<String> = seen
            .into_iter()
            .map(|(disk, kept)| format!("{disk} {kept}"))
            .collect();
        assert_eq!(seen, ["aaba........ 0", "aabacccc.... 1", "daba........ 1"]);
    }

    #[test]
    fn a_disk_goes_back_to_what_it_was() {
        let log = Made::new().write(3, 2, b'a').flush().write(4, 2, b'b');
        let draw = (0..99)
            .map(|seed| CacheDraw { seed, torn: false })
            .find(|draw| draw::fates(*draw, [2]) == [Fate::Lost]);
        let draw = draw.unwrap();
        assert_eq!(left(&log, "empty", draw).0, "...aa.......");
        assert_eq!(left(&log, "saved", draw).0, "___aa_______");
        assert_eq!(left(&log, "copy", draw).0, "___aa_______");
    }

    #[test]
    fn a_write_is_torn_only_if_that_is_asked_for() {
        let mut torn = 0;
        for seed in 0..40 {
            let log = Made::new().write(1, 8, b'a');
            let (disk, loss) = left(&log, "saved", CacheDraw { seed, torn: true });
            let there = disk.matches('a').count();
            let loss = loss.unwrap();
            assert_eq!(loss.torn_writes == 1, (1..8).contains(&there), "{disk}");
            torn += loss.torn_writes;
        }
        assert!(torn > 4, "{torn} of 40");
    }

    #[test]
    fn a_disk_that_nothing_was_written_to_has_nothing_to_lose() {
        let draw = CacheDraw {
            seed: 1,
            torn: true,
        };
        let (disk, loss) = left(&Made::new().flush(), "saved", draw);
        assert_eq!((disk.as_str(), loss), ("????????????", None));
        let (_, loss) = left(&Made::new().write(0, 1, b'a').flush(), "saved", draw);
        assert_eq!(loss, Some(PowerLoss::default()));
    }

    #[test]
    fn a_damaged_log_is_told_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs_err::write(path("disk"), [0; 512]).unwrap();
        fs_err::write(path("log"), [7; 512]).unwrap();
        let cache = WriteCache {
            log: path("log"),
            base: Base::Empty,
        };
        let draw = CacheDraw {
            seed: 1,
            torn: false,
        };
        let error = cache.lose("vix0", &path("disk"), draw).unwrap_err();
        let told = error
            .to_string()
            .replace(&folder.path().display().to_string(), "");
        insta::assert_snapshot!(told, @"tell what the disk of node vix0 has after a loss of power: /log: no write log with sectors of 512 bytes at byte 0");
    }
}
