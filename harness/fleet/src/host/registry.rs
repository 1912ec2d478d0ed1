//! The folder of all runs of this user: what makes a dead run's remains findable, whoever killed it.
//!
//! Every run has a folder there with a locked file in it. The kernel gives the lock up when the run's process ends, in
//! whatever way; whoever opens the registry next ends what the dead run left. The registry's own lock is held while
//! a run's folder is made, and while dead ones are looked for, so that a folder is never seen before it is locked.

use std::env;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::Access;
use sanlab_lock::{FileLock, LockError, holder};

use crate::error::FleetError;
use crate::host::in_memory::is_in_memory;
use crate::host::locked::{LOCK, Locked};
use crate::host::run_dir::RunDir;
use crate::host::sweep::{Swept, sweep};

/// Held for milliseconds.
const LOCK_DEADLINE: Duration = Duration::from_secs(30);

/// Where the folder of runs is made when nobody says another place: in the first that is on a disk. The names are short
/// because socket paths are.
const TEMPORARY: [&str; 2] = ["/tmp", "/var/tmp"];

/// The folder of runs: `$SANLAB_RUNTIME`, else `$TMPDIR/sanlab-UID`, else `/tmp/sanlab-UID`, or `/var/tmp/sanlab-UID` where
/// `/tmp` lies in memory.
#[derive(Debug, Clone)]
pub struct Registry {
    base: PathBuf,
}

impl Registry {
    /// Opens the user's registry and sweeps it; says what it swept. It may wait for a lock and for processes, and delete
    /// gigabytes: it belongs off an async runtime's threads.
    pub fn open() -> Result<(Self, Vec<Swept>), FleetError> {
        Self::at(Self::of_user()?)
    }

    /// Whether [`open`](Self::open) would accept the user's folder: to be asked before long work that ends in runs. Makes the
    /// folder where there is none, and sweeps nothing.
    pub fn examine() -> Result<(), FleetError> {
        let base = Self::of_user()?;
        Self { base }.make_private()
    }

    /// Where the user's registry is, whether it is there or not.
    pub fn of_user() -> Result<PathBuf, FleetError> {
        if let Some(folder) = env::var_os("SANLAB_RUNTIME") {
            return Ok(std::path::absolute(folder)?);
        }
        let temporary = env::var_os("TMPDIR").filter(|folder| !folder.is_empty());
        let temporary =
            temporary.map_or_else(|| first_that(is_on_a_disk, TEMPORARY), PathBuf::from);
        Ok(temporary.join(format!("sanlab-{}", rustix::process::getuid().as_raw())))
    }

    /// Opens the registry in a folder of the caller's choice, and sweeps it.
    pub fn at(base: impl Into<PathBuf>) -> Result<(Self, Vec<Swept>), FleetError> {
        let registry = Self { base: base.into() };
        registry.make_private()?;
        // The registry is locked no longer than that: what follows may take its time.
        let dead = registry.lock()?.dead()?;
        let swept = sweep(dead);
        Ok((registry, swept))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.base
    }

    /// Whether what lies there takes memory.
    pub fn is_in_memory(&self) -> Result<bool, FleetError> {
        Ok(is_in_memory(&self.base)?)
    }

    /// Makes the folder of a new run.
    pub fn create_run(&self) -> Result<RunDir, FleetError> {
        RunDir::create(&self.lock()?)
    }

    /// The folder exists, and nobody else can write to it: `/tmp` is everybody's.
    fn make_private(&self) -> Result<(), FleetError> {
        if let Some(parent) = self.base.parent() {
            fs_err::create_dir_all(parent)?;
        }
        match std::fs::DirBuilder::new().mode(0o700).create(&self.base) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(std::io::Error::new(
                    error.kind(),
                    format!("{}: {error}", self.base.display()),
                )
                .into());
            }
            _ => {}
        }
        let found = fs_err::symlink_metadata(&self.base)?;
        let refuse = |reason| {
            Err(FleetError::NotPrivate {
                path: self.base.clone(),
                reason,
            })
        };
        match () {
            () if !found.is_dir() => refuse("it is no folder"),
            () if found.uid() != rustix::process::getuid().as_raw() => {
                refuse("it belongs to someone else")
            }
            () if found.mode() & 0o077 != 0 => refuse("others may enter it (its mode is not 0700)"),
            () => Ok(()),
        }
    }

    /// Waits for the registry's lock.
    pub(crate) fn lock(&self) -> Result<Locked, FleetError> {
        match FileLock::take(&self.base.join(LOCK), LOCK_DEADLINE, |_| ()) {
            Ok(lock) => Ok(self.locked(lock)),
            Err(LockError::Io(error)) => Err(error.into()),
            Err(LockError::Held(_)) => Err(self.locked_by(LOCK_DEADLINE)),
        }
    }

    /// Takes the registry's lock when nobody holds it.
    pub(crate) fn try_lock(&self) -> Result<Option<Locked>, FleetError> {
        let lock = FileLock::try_take(&self.base.join(LOCK))?;
        Ok(lock.map(|lock| self.locked(lock)))
    }

    fn locked(&self, lock: FileLock) -> Locked {
        Locked::new(self.base.clone(), lock)
    }

    /// The error for a lock that was not to be had.
    pub(crate) fn locked_by(&self, waited: Duration) -> FleetError {
        let path = self.base.join(LOCK);
        FleetError::Locked {
            holder: holder(&path),
            path,
            waited,
        }
    }
}

/// The first of these folders that fits; without such a one the first.
fn first_that(fits: impl Fn(&Path) -> bool, folders: [&str; 2]) -> PathBuf {
    let folders = folders.map(Path::new);
    let found = folders.into_iter().find(|folder| fits(folder));
    found.unwrap_or(folders[0]).to_owned()
}

/// Whether we may write to a folder, and it does not lie in memory. What cannot be asked does not.
fn is_on_a_disk(folder: &Path) -> bool {
    let access = Access::WRITE_OK | Access::EXEC_OK;
    rustix::fs::access(folder, access).is_ok() && is_in_memory(folder).is_ok_and(|it| !it)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn base() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("runs");
        (dir, base)
    }

    #[test]
    fn a_living_run_stays_and_a_dead_one_goes() {
        let (_dir, base) = base();
        let (registry, swept) = Registry::at(&base).unwrap();
        assert_eq!(swept, []);
        let living = registry.create_run().unwrap();
        let dead = base.join("dead00");
        fs_err::create_dir(&dead).unwrap();
        fs_err::write(dead.join(LOCK), "").unwrap();
        let half_made = base.join("half00");
        fs_err::create_dir(&half_made).unwrap();

        let (_, swept) = Registry::at(&base).unwrap();
        let runs: Vec<_> = swept.into_iter().map(|swept| swept.run).collect();
        assert_eq!(runs, [dead.clone(), half_made.clone()]);
        assert!(living.path().exists() && !dead.exists() && !half_made.exists());

        let path = living.path().to_owned();
        drop(living);
        assert!(!path.exists());
    }

    #[test]
    fn runs_made_while_others_sweep_are_never_swept() {
        let (_dir, base) = base();
        let (registry, _) = Registry::at(&base).unwrap();
        std::thread::scope(|scope| {
            let sweeper = scope.spawn(|| {
                (0..200)
                    .flat_map(|_| Registry::at(&base).unwrap().1)
                    .filter(|swept| swept.run.exists())
                    .count()
            });
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let run = registry.create_run().unwrap();
                        fs_err::write(run.path().join("file"), "here").unwrap();
                        assert!(run.path().join(LOCK).exists());
                    }
                });
            }
            assert_eq!(sweeper.join().unwrap(), 0);
        });
    }

    #[test]
    fn runs_are_not_in_memory_where_that_can_be_avoided() {
        let chosen = |on_disk: &[&str]| {
            let fits = |folder: &Path| on_disk.iter().any(|name| folder == Path::new(name));
            first_that(fits, TEMPORARY)
        };
        assert_eq!(chosen(&TEMPORARY), Path::new("/tmp"));
        assert_eq!(chosen(&["/var/tmp"]), Path::new("/var/tmp"));
        assert_eq!(chosen(&[]), Path::new("/tmp"));
        assert!(!is_on_a_disk(Path::new("/dev/shm")) && !is_on_a_disk(Path::new("/nowhere")));
    }

    #[test]
    fn a_folder_that_others_may_enter_is_refused() {
        let (_dir, base) = base();
        fs_err::create_dir(&base).unwrap();
        fs_err::set_permissions(&base, PermissionsExt::from_mode(0o755)).unwrap();
        let error = Registry::at(&base)
            .unwrap_err()
            .to_string()
            .replace(&base.display().to_string(), "BASE");
        insta::assert_snapshot!(error, @"use the runtime folder BASE: others may enter it (its mode is not 0700); remove it, or set SANLAB_RUNTIME to a folder of your own");
    }
}
