//! Copies of files that are mostly holes.

use fs_err::os::unix::fs::OpenOptionsExt as _;
use std::io::Read as _;
use std::io::{self, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use fs_err::{File, OpenOptions};
use rustix::fs::{SeekFrom as Extent, ioctl_ficlone, seek};
use rustix::io::Errno;

use crate::error::ImageError;

/// Bytes that are copied before it is asked again whether the copy is still wanted.
const PIECE: u64 = 16 << 20;

/// Copies a file with its holes. The copy is the caller's alone to read and to write, whatever the original's mode.
///
/// Where the file system can, both share their blocks until one is written to; elsewhere the kernel copies what is
/// not a hole.
pub fn copy_sparse(from: &Path, to: &Path) -> Result<(), ImageError> {
    copy_sparse_unless(from, to, &AtomicBool::new(false))
}

/// The same until `given_up` is set: then it is an error soon, and the copy is a part of one.
pub fn copy_sparse_unless(from: &Path, to: &Path, given_up: &AtomicBool) -> Result<(), ImageError> {
    let source = File::open(from)?;
    let copy = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(to)?;
    if ioctl_ficlone(copy.file(), source.file()).is_ok() {
        return Ok(());
    }
    let length = source.metadata()?.len();
    copy.set_len(length)?;
    copy_data(source.file(), copy.file(), given_up)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", to.display())))?;
    Ok(())
}

/// Bare files, since only with them [`io::copy`] stays in the kernel.
fn copy_data(
    mut source: &std::fs::File,
    mut copy: &std::fs::File,
    given_up: &AtomicBool,
) -> io::Result<()> {
    let mut end = 0;
    loop {
        let mut begin = match seek(source, Extent::Data(end)) {
            // Nothing but a hole up to the end.
            Err(Errno::NXIO) => return Ok(()),
            other => other?,
        };
        end = seek(source, Extent::Hole(begin))?;
        while begin < end {
            if given_up.load(Ordering::Relaxed) {
                return Err(io::Error::other("the copy was given up"));
            }
            let piece = PIECE.min(end - begin);
            source.seek(SeekFrom::Start(begin))?;
            copy.seek(SeekFrom::Start(begin))?;
            io::copy(&mut source.take(piece), &mut copy)?;
            begin += piece;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use super::*;

    const MIB: u64 = 1 << 20;

    /// A file of that length with a MiB of data at each of `data`.
    fn make(path: &Path, length: u64, data: &[u64]) {
        let mut file = File::create(path).unwrap();
        file.set_len(length).unwrap();
        for &begin in data {
            file.seek(SeekFrom::Start(begin)).unwrap();
            file.write_all(&vec![7; usize::try_from(MIB).unwrap()])
                .unwrap();
        }
    }

    #[test]
    fn copies_data_and_leaves_holes() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        for (length, data) in [
            (0, &[][..]),
            (64 * MIB, &[]),
            (MIB, &[0]),
            (64 * MIB, &[0, 10 * MIB, 63 * MIB]),
            (64 * MIB + 5, &[3 * MIB, 40 * MIB]),
            // More than a piece in a row.
            (20 * MIB, &(0..18).map(|at| at * MIB).collect::<Vec<_>>()),
        ] {
            make(&from, length, data);
            copy_sparse(&from, &to).unwrap();
            assert!(fs_err::read(&from).unwrap() == fs_err::read(&to).unwrap());
            let real = fs_err::metadata(&to).unwrap().blocks() * 512;
            let most = (data.len() as u64) * MIB + MIB / 2;
            assert!(real <= most, "{real} bytes of {data:?} in {length}");
        }
    }

    #[test]
    fn the_copy_can_be_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        make(&from, 2 * MIB, &[0]);
        fs_err::set_permissions(&from, std::fs::Permissions::from_mode(0o444)).unwrap();
        copy_sparse(&from, &to).unwrap();
        assert_eq!(fs_err::metadata(&to).unwrap().mode() & 0o777, 0o600);
        make(&to, MIB, &[]);
        assert!(fs_err::read(&from).unwrap().starts_with(&[7]));
    }

    #[test]
    fn a_copy_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        make(&from, 2 * MIB, &[0]);
        let (source, copy) = (File::open(&from).unwrap(), File::create(&to).unwrap());
        let given_up = AtomicBool::new(true);
        let error = copy_data(source.file(), copy.file(), &given_up).unwrap_err();
        assert_eq!(error.to_string(), "the copy was given up");
    }

    #[test]
    fn names_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let from = folder.path().join("from");
        let error = copy_sparse(&from, &folder.path().join("to")).unwrap_err();
        assert!(
            error.to_string().contains(from.to_str().unwrap()),
            "{error}"
        );
    }
}
