//! The store: finished images under their keys, builds in temporary folders beside them.
//!
//! An entry appears by one rename, so it is whole or not there. A file lock per key lets one process build while
//! others wait; the kernel drops the lock with its holder, so a lock that can be taken proves that a temporary folder
//! of that key has been abandoned.

use std::fs::{Permissions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use fs_err::{File, OpenOptions};
use sanlab_plan::Arch;
use tempfile::TempDir;

use crate::error::ImageError;
use crate::image::{Image, LABEL};

/// The folder that holds all images: `$SANLAB_CACHE`, or `~/.cache/sanlab`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    root: PathBuf,
}

/// The right to build under a name, until dropped.
#[derive(Debug)]
pub(crate) struct BuildLock {
    name: String,
    _file: File,
}

impl Store {
    /// The user's store, made if need be.
    pub fn open_default() -> Result<Self, ImageError> {
        let set = |name| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let root = set("SANLAB_CACHE").or_else(|| Some(set("HOME")?.join(".cache/sanlab")));
        Self::at(&root.ok_or(ImageError::NoStore)?)
    }

    /// The store in that folder, made if need be.
    pub fn at(root: &Path) -> Result<Self, ImageError> {
        fs_err::create_dir_all(root)?;
        let root = fs_err::canonicalize(root)?;
        for folder in ["images", "building", "locks"] {
            fs_err::create_dir_all(root.join(folder))?;
        }
        Ok(Self { root })
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The image under that key, if it is there.
    pub(crate) fn find(&self, arch: Arch, key: &str) -> Result<Option<Image>, ImageError> {
        let folder = self.entry(key);
        if folder.join(LABEL).exists() {
            Image::open(&folder, arch, key).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Waits until nobody else builds under `name`; `on_wait` hears of the wait, and of the builder's process id.
    ///
    /// The wait has no deadline of its own: it lasts as long as the other build, which has one, and ends with it
    /// however that ends.
    pub(crate) fn lock(
        &self,
        name: &str,
        on_wait: impl FnOnce(Option<u32>),
    ) -> Result<BuildLock, ImageError> {
        let path = self.root.join("locks").join(name);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)?;
        match file.file().try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                on_wait(fs_err::read_to_string(&path)?.trim().parse().ok());
                file.file().lock()?;
            }
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        file.set_len(0)?;
        write!(file, "{}", std::process::id())?;
        Ok(BuildLock {
            name: name.to_owned(),
            _file: file,
        })
    }

    /// A new temporary folder for the lock's holder; dropped with all that is in it. Removes those of builders that
    /// were killed.
    pub(crate) fn workspace(&self, lock: &BuildLock) -> Result<TempDir, ImageError> {
        let building = self.root.join("building");
        for entry in fs_err::read_dir(&building)? {
            let path = entry?.path();
            let owner = path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if owner == lock.name || self.is_abandoned(&owner)? {
                remove_tree(&path)?;
            }
        }
        Ok(tempfile::Builder::new()
            .prefix(&format!("{}.", lock.name))
            .tempdir_in(&building)?)
    }

    fn is_abandoned(&self, name: &str) -> Result<bool, ImageError> {
        let file = match File::open(self.root.join("locks").join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            other => other?,
        };
        Ok(file.file().try_lock().is_ok())
    }

    /// Moves a finished folder to its place, read-only. An entry that is already there stays.
    pub(crate) fn publish(
        &self,
        finished: &Path,
        arch: Arch,
        key: &str,
    ) -> Result<Image, ImageError> {
        for entry in fs_err::read_dir(finished)? {
            fs_err::set_permissions(entry?.path(), Permissions::from_mode(0o444))?;
        }
        fs_err::set_permissions(finished, Permissions::from_mode(0o755))?;
        match fs_err::rename(finished, self.entry(key)) {
            Err(error) if !self.entry(key).join(LABEL).exists() => Err(error.into()),
            _ => Image::open(&self.entry(key), arch, key),
        }
    }

    fn entry(&self, key: &str) -> PathBuf {
        self.root.join("images").join(key)
    }
}

/// Two builders may sweep at once.
fn remove_tree(path: &Path) -> Result<(), ImageError> {
    match fs_err::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const KEY: &str = "00ff";

    fn finish(workspace: &TempDir) -> PathBuf {
        let finished = workspace.path().join("entry");
        fs_err::create_dir(&finished).unwrap();
        let label = r#"{"kernel_release":"6.1","packages":[],"sizes":{"untrimmed":0,"trimmed":0,"modules_untrimmed":0,"modules":0,"root":0,"kernel":0,"initramfs":0}}"#;
        fs_err::write(finished.join(LABEL), label).unwrap();
        finished
    }

    #[test]
    fn one_of_two_builders_builds_and_the_other_waits() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path()).unwrap();
        let lock = store.lock(KEY, |_| panic!("nobody else builds")).unwrap();
        let (waits, other_waits) = mpsc::channel();
        std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                let _lock = store
                    .lock(KEY, |builder| waits.send(builder).unwrap())
                    .unwrap();
                store.find(Arch::X86, KEY).unwrap()
            });
            assert_eq!(other_waits.recv().unwrap(), Some(std::process::id()));
            assert_eq!(store.find(Arch::X86, KEY).unwrap(), None);
            let workspace = store.workspace(&lock).unwrap();
            store.publish(&finish(&workspace), Arch::X86, KEY).unwrap();
            drop(lock);
            assert_eq!(other.join().unwrap().unwrap().kernel_release, "6.1");
        });
        let label = folder.path().join("images").join(KEY).join(LABEL);
        assert!(fs_err::metadata(label).unwrap().permissions().readonly());
    }

    #[test]
    fn a_second_result_leaves_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path()).unwrap();
        let lock = store.lock(KEY, |_| ()).unwrap();
        for _ in 0..2 {
            let workspace = store.workspace(&lock).unwrap();
            store.publish(&finish(&workspace), Arch::X86, KEY).unwrap();
        }
        assert!(store.find(Arch::X86, KEY).unwrap().is_some());
        assert_eq!(
            fs_err::read_dir(folder.path().join("building"))
                .unwrap()
                .count(),
            0
        );
    }

    #[test]
    fn sweeps_what_killed_builders_left() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path()).unwrap();
        let building = folder.path().join("building");
        for abandoned in ["00ff.a", "11aa.b", "22bb.c"] {
            fs_err::create_dir(building.join(abandoned)).unwrap();
        }
        let _alive = store.lock("22bb", |_| ()).unwrap();
        let lock = store.lock(KEY, |_| ()).unwrap();
        let workspace = store.workspace(&lock).unwrap();
        let mut left: Vec<_> = fs_err::read_dir(&building)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        left.sort_unstable();
        assert_eq!(left, [workspace.path().to_owned(), building.join("22bb.c")]);
    }
}
