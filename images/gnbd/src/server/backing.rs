//! The file or device behind an export.
//!
//! Writes are synchronous always: an acknowledged write is on the disk. An uncached export passes by the page cache,
//! too: two paths to one replicated device through two page caches return stale blocks.

use std::fs::File;
use std::io::{Seek as _, SeekFrom};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use rustix::io::Errno;

use crate::protocol::SECTOR_SIZE;

/// An open file, and how long it is.
#[derive(Debug)]
pub(super) struct Backing {
    pub(super) file: File,
    pub(super) sectors: u64,
}

/// Opens a regular file or block device of at least one sector.
pub(super) fn open_backing(path: &Path, read_only: bool, uncached: bool) -> Result<Backing, Errno> {
    let mut flags = OFlags::CLOEXEC | OFlags::LARGEFILE | OFlags::NOCTTY;
    // A FIFO must not hold the server up; files and block devices do not mind.
    flags |= OFlags::NONBLOCK;
    flags |= if read_only {
        OFlags::RDONLY
    } else {
        OFlags::RDWR | OFlags::SYNC
    };
    if uncached {
        flags |= OFlags::DIRECT;
    }
    let mut file = File::from(open(path, flags, Mode::empty())?);
    let stat = fstat(&file)?;
    let size = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => u64::try_from(stat.st_size).map_err(|_| Errno::INVAL)?,
        FileType::BlockDevice => file
            .seek(SeekFrom::End(0))
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?,
        _ => return Err(Errno::INVAL),
    };
    let sectors = size / SECTOR_SIZE;
    if sectors == 0 {
        return Err(Errno::NOSPC);
    }
    Ok(Backing { file, sectors })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_with_sectors_are_taken() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("disk");
        let size = |bytes: &[u8]| {
            fs_write(&file, bytes);
            open_backing(&file, false, false).map(|backing| backing.sectors)
        };
        assert_eq!(size(&[0; 511]), Err(Errno::NOSPC));
        assert_eq!(size(&[0; 1535]), Ok(2));
        let error = |path: &Path| {
            open_backing(path, true, false)
                .map(|it| it.sectors)
                .unwrap_err()
        };
        assert_eq!(error(folder.path()), Errno::INVAL);
        assert_eq!(error(Path::new("/dev/null")), Errno::INVAL);
        assert_eq!(error(&folder.path().join("none")), Errno::NOENT);
    }

    fn fs_write(path: &Path, bytes: &[u8]) {
        use std::io::Write as _;
        let mut options = std::fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)
            .unwrap();
        file.write_all(bytes).unwrap();
    }
}
