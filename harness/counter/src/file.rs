//! The file that a plugin counts in.
//!
//! One page says what it is, and each virtual processor has a page with its counter, since a page is the least that can be
//! mapped. All numbers are of 64 bits, in the host's byte order.

use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use fs_err::{File, OpenOptions};

/// The virtual processors that QEMU has a place for when a plugin is loaded; beyond them it moves the counters.
pub(crate) const MOST_CPUS: u8 = 16;
/// What the file begins with: eight letters, the layout's version, and how many virtual processors it has pages for.
const MAGIC: &[u8; 8] = b"sanlab#i";
const VERSION: u64 = 2;
/// Where the plugin says what has become of it.
pub(crate) const STATE: usize = 24;
/// What it says; 0 before it was loaded.
pub(crate) const LOADED: u64 = 1;
/// Instructions were executed that nobody counted.
pub(crate) const LOST: u64 = 2;

/// Bytes of a page of the host's.
pub(crate) fn page() -> usize {
    rustix::param::page_size()
}

/// Where the page of a virtual processor begins, and with it the counter.
pub(crate) fn place(cpu: u8) -> u64 {
    (page() * (1 + usize::from(cpu))) as u64
}

/// The first bytes of a file for so many virtual processors.
pub(crate) fn header(cpus: u8) -> [u8; STATE] {
    let mut header = [0; STATE];
    header[..8].copy_from_slice(MAGIC);
    header[8..16].copy_from_slice(&VERSION.to_ne_bytes());
    header[16..].copy_from_slice(&u64::from(cpus).to_ne_bytes());
    header
}

/// A file that a plugin counts in, open for reading.
#[derive(Debug)]
pub struct CounterFile {
    file: File,
    cpus: u8,
}

impl CounterFile {
    /// Makes the file for that many virtual processors, with all counters at 0. One that is there is replaced and not
    /// written to: another QEMU may count in it.
    pub fn create(path: &Path, cpus: u8) -> io::Result<Self> {
        match fs_err::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        let file = options.open(path)?;
        file.file().write_all_at(&header(cpus), 0)?;
        file.set_len(place(cpus))?;
        Ok(Self { file, cpus })
    }

    /// How many instructions all virtual processors together have executed by now; `None` if some were not counted. It may
    /// be read as often as one likes, also after QEMU's end and when the file has been removed.
    pub fn read(&self) -> io::Result<Option<u64>> {
        if self.number_at(STATE as u64)? == LOST {
            return Ok(None);
        }
        let mut sum = 0;
        for cpu in 0..self.cpus {
            sum += self.number_at(place(cpu))?;
        }
        Ok(Some(sum))
    }

    /// Whether a QEMU has accepted the plugin, by the version of its interface, and called it.
    pub fn is_loaded(&self) -> io::Result<bool> {
        Ok(self.number_at(STATE as u64)? != 0)
    }

    fn number_at(&self, offset: u64) -> io::Result<u64> {
        let mut bytes = [0; 8];
        // What is mapped shared is in the page cache, where a read finds it.
        self.file.file().read_exact_at(&mut bytes, offset)?;
        Ok(u64::from_ne_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, number: u64, offset: u64) {
        let writer = OpenOptions::new().write(true).open(path).unwrap();
        let bytes = number.to_ne_bytes();
        writer.file().write_all_at(&bytes, offset).unwrap();
    }

    #[test]
    fn what_is_written_there_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("instructions");
        let file = CounterFile::create(&path, 2).unwrap();
        assert_eq!(file.read().unwrap(), Some(0));
        assert!(!file.is_loaded().unwrap());
        let bytes = fs_err::read(&path).unwrap();
        assert_eq!((bytes.len(), &bytes[..STATE]), (3 * page(), &header(2)[..]));
        write(&path, 1_497_000_000_123, place(0));
        write(&path, 1_000, place(1));
        write(&path, LOADED, STATE as u64);
        assert_eq!(file.read().unwrap(), Some(1_497_000_001_123));
        assert!(file.is_loaded().unwrap());
    }

    #[test]
    fn what_is_not_whole_is_not_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("instructions");
        let file = CounterFile::create(&path, 1).unwrap();
        write(&path, 5, place(0));
        write(&path, LOST, STATE as u64);
        assert_eq!(file.read().unwrap(), None);
        assert!(file.is_loaded().unwrap());
    }

    #[test]
    fn another_machine_counts_from_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("instructions");
        let old = CounterFile::create(&path, 1).unwrap();
        write(&path, 7, place(0));
        let new = CounterFile::create(&path, 1).unwrap();
        assert_eq!(new.read().unwrap(), Some(0));
        assert_eq!(old.read().unwrap(), Some(7));
    }
}
