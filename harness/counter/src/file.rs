//! The file that a plugin counts in.

use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use fs_err::{File, OpenOptions};

/// Its length, bytes: one page.
pub(crate) const LENGTH: usize = 4096;
/// Where the counter is: in a cache line of its own. A `u64` in the host's byte order, as all that follows is.
pub(crate) const COUNTER: usize = 64;
/// What the file begins with: eight letters, and the layout's version as a `u64`.
const MAGIC: &[u8; 8] = b"sanlab#i";
const VERSION: u64 = 1;

/// The first bytes of every such file.
pub(crate) fn header() -> [u8; 16] {
    let mut header = [0; 16];
    header[..8].copy_from_slice(MAGIC);
    header[8..].copy_from_slice(&VERSION.to_ne_bytes());
    header
}

/// A file that a plugin counts in, open for reading.
#[derive(Debug)]
pub struct CounterFile {
    file: File,
}

impl CounterFile {
    /// Makes the file, with the counter at 0. One that is there is replaced and not written to: another QEMU may count in it.
    pub fn create(path: &Path) -> io::Result<Self> {
        match fs_err::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        let file = options.open(path)?;
        file.file().write_all_at(&header(), 0)?;
        file.set_len(LENGTH as u64)?;
        Ok(Self { file })
    }

    /// How many instructions have been counted by now. It may be read as often as one likes, also after QEMU's end and when
    /// the file has been removed.
    pub fn read(&self) -> io::Result<u64> {
        let mut bytes = [0; 8];
        // What is mapped shared is in the page cache, where a read finds it.
        self.file.file().read_exact_at(&mut bytes, COUNTER as u64)?;
        Ok(u64::from_ne_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_there_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("instructions");
        let file = CounterFile::create(&path).unwrap();
        assert_eq!(file.read().unwrap(), 0);
        let bytes = fs_err::read(&path).unwrap();
        assert_eq!((bytes.len(), &bytes[..16]), (LENGTH, &header()[..]));
        let writer = OpenOptions::new().write(true).open(&path).unwrap();
        let count = 1_497_000_000_123_u64;
        writer
            .file()
            .write_all_at(&count.to_ne_bytes(), 64)
            .unwrap();
        assert_eq!(file.read().unwrap(), count);
    }

    #[test]
    fn another_machine_counts_from_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("instructions");
        let old = CounterFile::create(&path).unwrap();
        old.file.file().write_all_at(&[1; 8], 64).unwrap();
        let new = CounterFile::create(&path).unwrap();
        assert_eq!(new.read().unwrap(), 0);
        assert_eq!(old.read().unwrap(), u64::from_ne_bytes([1; 8]));
    }
}
