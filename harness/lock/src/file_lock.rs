//! A lock with one holder, whose file goes with it.
//!
//! Since the file goes with the holder, whoever got a lock looks whether its file is still the one at the path.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use fs_err::{File, OpenOptions};

use crate::shared::{is_at, try_lock};

/// A path that is taken until this is dropped, which removes the file.
#[derive(Debug)]
pub struct FileLock {
    path: PathBuf,
    _file: File,
}

/// Why there is no lock.
#[derive(Debug)]
pub enum LockError {
    /// Somebody else held it all the time: that process, if it could be read.
    Held(Option<u32>),
    /// The file cannot be made or locked; the message names it.
    Io(io::Error),
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held(Some(pid)) => write!(f, "process {pid} holds it"),
            Self::Held(None) => f.write_str("another process holds it"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for LockError {}

impl From<io::Error> for LockError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl FileLock {
    /// Waits at most `patience` until nobody else holds `path`; `on_wait` hears of the wait, and of the holder's process
    /// id.
    pub fn take(
        path: &Path,
        patience: Duration,
        on_wait: impl FnOnce(Option<u32>),
    ) -> Result<Self, LockError> {
        let until = Instant::now() + patience;
        let mut on_wait = Some(on_wait);
        let mut last = None;
        loop {
            let mut file = open(path)?;
            if !try_lock(&file)? {
                last = read_holder(&mut file)?.or(last);
                if let Some(on_wait) = on_wait.take() {
                    on_wait(last);
                }
                file = lock_until(file, until)?.ok_or(LockError::Held(last))?;
            }
            if let Some(lock) = Self::locked(file, path)? {
                return Ok(lock);
            }
        }
    }

    /// Takes `path` if nobody else holds it.
    pub fn try_take(path: &Path) -> io::Result<Option<Self>> {
        let file = open(path)?;
        if try_lock(&file)? {
            Self::locked(file, path)
        } else {
            Ok(None)
        }
    }

    /// A file whose lock we have. One that is not at its path belonged to a holder that is just done: it is no lock.
    fn locked(mut file: File, path: &Path) -> io::Result<Option<Self>> {
        if !is_at(&file, path)? {
            return Ok(None);
        }
        file.set_len(0)?;
        write!(file, "{}", std::process::id())?;
        Ok(Some(Self {
            path: path.to_owned(),
            _file: file,
        }))
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // Before the lock goes: whoever waits for it sees that the file is not at its path any more, and asks again.
        let _ = fs_err::remove_file(&self.path);
    }
}

/// Whether somebody holds `path` now.
pub fn is_locked(path: &Path) -> io::Result<bool> {
    match File::open(path) {
        Ok(file) => match file.file().try_lock_shared() {
            Ok(()) => Ok(false),
            Err(std::fs::TryLockError::WouldBlock) => Ok(true),
            Err(std::fs::TryLockError::Error(error)) => Err(error),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The process that holds `path`, or did last; `None` if that cannot be read.
pub fn holder(path: &Path) -> Option<u32> {
    read_holder(&mut File::open(path).ok()?).ok()?
}

fn read_holder(file: &mut File) -> io::Result<Option<u32>> {
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text.trim().parse().ok())
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn tells_who_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = &folder.path().join("name");
        let held = FileLock::take(path, PATIENCE, |_| panic!("it is free")).unwrap();
        assert!(is_locked(path).unwrap());
        assert!(FileLock::try_take(path).unwrap().is_none());
        let us = Some(std::process::id());
        assert_eq!(holder(path), us);
        let (waits, other_waits) = mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                FileLock::take(path, PATIENCE, |holder| waits.send(holder).unwrap()).unwrap()
            });
            assert_eq!(other_waits.recv().unwrap(), us);
            drop(held);
        });
        assert!(!is_locked(path).unwrap());
        assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn has_one_holder_at_a_time() {
        const ROUNDS: u32 = 200;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("name");
        let (busy, taken) = (AtomicBool::new(false), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..ROUNDS {
                        let _held = FileLock::take(&path, PATIENCE, |_| ()).unwrap();
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
    fn patience_ends_and_the_lock_is_given_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("name");
        let take = |patience| FileLock::take(&path, patience, |_| ());
        let held = take(PATIENCE).unwrap();
        let error = take(Duration::from_millis(50)).unwrap_err();
        let us = std::process::id();
        assert_eq!(error.to_string(), format!("process {us} holds it"));
        drop(held);
        // Whoever waited in vain has given the lock back.
        drop(take(PATIENCE).unwrap());
        assert!(!is_locked(&path).unwrap());
    }
}
