//! Many readers of a file, or one who may remove it.

use std::fs::TryLockError;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use fs_err::File;

/// Opens a file for reading and waits for a shared lock on it, which lives as long as the open file. `None`: there is no
/// such file.
pub fn lock_shared(path: &Path) -> io::Result<Option<File>> {
    loop {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        file.file().lock_shared()?;
        // Not if it was removed between the two lines above; another may have been made in its place.
        if is_at(&file, path)? {
            return Ok(Some(file));
        }
    }
}

/// Takes an open file's lock alone, if nobody has it, shared or not.
pub fn try_lock(file: &File) -> io::Result<bool> {
    match file.file().try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Whether `path` still leads to the open `file`.
pub fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let open = file.metadata()?;
    match fs_err::metadata(path) {
        Ok(found) => Ok((found.dev(), found.ino()) == (open.dev(), open.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_share_and_a_remover_waits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("label");
        assert!(lock_shared(&path).unwrap().is_none());
        fs_err::write(&path, "text").unwrap();
        let readers = [lock_shared(&path).unwrap(), lock_shared(&path).unwrap()];
        let remover = File::open(&path).unwrap();
        assert!(!try_lock(&remover).unwrap());
        drop(readers);
        assert!(try_lock(&remover).unwrap());
    }

    #[test]
    fn a_file_in_its_place_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("label");
        fs_err::write(&path, "one").unwrap();
        let file = lock_shared(&path).unwrap().unwrap();
        assert!(is_at(&file, &path).unwrap());
        fs_err::remove_file(&path).unwrap();
        assert!(!is_at(&file, &path).unwrap());
        fs_err::write(&path, "two").unwrap();
        assert!(!is_at(&file, &path).unwrap());
    }
}
