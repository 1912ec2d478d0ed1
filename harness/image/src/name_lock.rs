//! One holder of a name among all processes of the host.
//!
//! The kernel drops a lock with its holder, so a lock that is free proves that its holder is done or dead. The file
//! goes with the holder as well, and so whoever got a lock looks whether its file is still the one under the name.

use std::fs::TryLockError;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use fs_err::{File, OpenOptions};

use crate::error::ImageError;

/// A name that is taken until this is dropped.
#[derive(Debug)]
pub(crate) struct NameLock {
    path: PathBuf,
    _file: File,
}

impl NameLock {
    /// Waits at most `patience` until nobody else holds `name`; `on_wait` hears of the wait, and of the holder's process
    /// id.
    pub(crate) fn take(
        folder: &Path,
        name: &str,
        patience: Duration,
        on_wait: impl FnOnce(Option<u32>),
    ) -> Result<Self, ImageError> {
        let path = folder.join(name);
        let until = Instant::now() + patience;
        let mut on_wait = Some(on_wait);
        let mut holder = None;
        loop {
            let mut file = open(&path)?;
            if !try_lock(&file)? {
                let mut text = String::new();
                file.read_to_string(&mut text)?;
                holder = text.trim().parse().ok().or(holder);
                if let Some(on_wait) = on_wait.take() {
                    on_wait(holder);
                }
                file = lock_until(file, until)?.ok_or_else(|| ImageError::Waited {
                    name: name.to_owned(),
                    holder,
                    patience,
                })?;
            }
            if let Some(lock) = Self::locked(file, path.clone())? {
                return Ok(lock);
            }
        }
    }

    /// Takes `name` if nobody else holds it.
    pub(crate) fn try_take(folder: &Path, name: &str) -> io::Result<Option<Self>> {
        let path = folder.join(name);
        let file = open(&path)?;
        if try_lock(&file)? {
            Self::locked(file, path)
        } else {
            Ok(None)
        }
    }

    /// A file whose lock we have. One without its name belonged to a holder that is just done: it is no lock.
    fn locked(mut file: File, path: PathBuf) -> io::Result<Option<Self>> {
        if !stands_at(&file, &path)? {
            return Ok(None);
        }
        file.set_len(0)?;
        write!(file, "{}", std::process::id())?;
        Ok(Some(Self { path, _file: file }))
    }

    /// Whether nobody holds `name` now.
    pub(crate) fn is_free(folder: &Path, name: &str) -> io::Result<bool> {
        match File::open(folder.join(name)) {
            Ok(file) => Ok(file.file().try_lock_shared().is_ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(error) => Err(error),
        }
    }
}

impl Drop for NameLock {
    fn drop(&mut self) {
        // Before the lock goes: whoever waits for it sees that the file has no name any more, and asks again.
        let _ = fs_err::remove_file(&self.path);
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
}

fn try_lock(file: &File) -> io::Result<bool> {
    match file.file().try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Waits for the lock of a file; `None`: it did not come.
///
/// The kernel knows no deadline for that, and so another thread waits. One that waits in vain ends with the holder, and
/// gives the lock back at once.
fn lock_until(file: File, until: Instant) -> io::Result<Option<File>> {
    let (sender, locked) = mpsc::channel();
    let wait = std::thread::Builder::new().name("lock".to_owned());
    wait.spawn(move || {
        let locked = file.file().lock().map(|()| file);
        // Nobody listens any more: it is too late.
        let _ = sender.send(locked);
    })?;
    match locked.recv_timeout(until.saturating_duration_since(Instant::now())) {
        Ok(locked) => locked.map(Some),
        Err(RecvTimeoutError::Timeout) => Ok(None),
        Err(RecvTimeoutError::Disconnected) => Err(io::Error::other(
            "the thread that waited for a lock panicked",
        )),
    }
}

/// Whether `path` still leads to the open `file`.
pub(crate) fn stands_at(file: &File, path: &Path) -> io::Result<bool> {
    let open = file.metadata()?;
    match fs_err::metadata(path) {
        Ok(found) => Ok((found.dev(), found.ino()) == (open.dev(), open.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn tells_who_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let held =
            NameLock::take(folder.path(), "name", PATIENCE, |_| panic!("it is free")).unwrap();
        assert!(!NameLock::is_free(folder.path(), "name").unwrap());
        let (waits, other_waits) = mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                NameLock::take(folder.path(), "name", PATIENCE, |holder| {
                    waits.send(holder).unwrap();
                })
                .unwrap()
            });
            assert_eq!(other_waits.recv().unwrap(), Some(std::process::id()));
            drop(held);
        });
        assert!(NameLock::is_free(folder.path(), "name").unwrap());
        assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn has_one_holder_at_a_time() {
        const ROUNDS: u32 = 200;
        let folder = tempfile::tempdir().unwrap();
        let (busy, taken) = (AtomicBool::new(false), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..ROUNDS {
                        let _held =
                            NameLock::take(folder.path(), "name", PATIENCE, |_| ()).unwrap();
                        assert!(!busy.swap(true, Ordering::SeqCst));
                        taken.fetch_add(1, Ordering::SeqCst);
                        busy.store(false, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(taken.into_inner(), 4 * ROUNDS);
    }

    #[test]
    fn patience_ends_and_says_who_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let take = |patience| NameLock::take(folder.path(), "image-00ff", patience, |_| ());
        let held = take(PATIENCE).unwrap();
        let error = take(Duration::from_millis(50)).unwrap_err().to_string();
        let holder = std::process::id().to_string();
        insta::assert_snapshot!(error.replace(&holder, "4711"));
        drop(held);
        // Whoever waited in vain has given the lock back.
        drop(take(PATIENCE).unwrap());
        assert!(NameLock::is_free(folder.path(), "image-00ff").unwrap());
    }
}
