//! The registry's runs, for whoever holds its lock.

use std::path::{Path, PathBuf};

use sanlab_lock::{FileLock, is_locked};

use crate::error::FleetError;
use crate::host::orphans;

/// The name of both kinds of lock file: the registry's, and each run's.
pub(crate) const LOCK: &str = "lock";

/// A dead run that was cleared away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swept {
    /// Its folder, now gone.
    pub run: PathBuf,
    /// Processes of it that still ran, and were killed.
    pub killed: Vec<u32>,
}

/// The registry while nobody else makes, sweeps or counts runs.
pub(crate) struct Locked {
    base: PathBuf,
    _lock: FileLock,
}

impl Locked {
    /// `lock` is that of the registry in `base`.
    pub(crate) fn new(base: PathBuf, lock: FileLock) -> Self {
        Self { base, _lock: lock }
    }

    /// The registry's folder.
    pub(crate) fn path(&self) -> &Path {
        &self.base
    }

    /// The folders of all runs, dead or alive.
    fn runs(&self) -> Result<Vec<PathBuf>, FleetError> {
        let mut runs = Vec::new();
        for entry in fs_err::read_dir(&self.base)? {
            let entry = entry?;
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                runs.push(entry.path());
            }
        }
        runs.sort();
        Ok(runs)
    }

    /// The folders of runs whose process lives.
    pub(crate) fn living(&self) -> Result<Vec<PathBuf>, FleetError> {
        let mut living = Vec::new();
        for run in self.runs()? {
            if is_locked(&run.join(LOCK))? {
                living.push(run);
            }
        }
        Ok(living)
    }

    /// Ends and removes what dead runs left.
    pub(crate) fn sweep(&self) -> Result<Vec<Swept>, FleetError> {
        let mut swept = Vec::new();
        for run in self.runs()? {
            // One without a lock file was cut off while it was made or removed.
            if !is_locked(&run.join(LOCK))? {
                let killed = orphans::kill(&run)?;
                remove_folder(&run)?;
                swept.push(Swept { run, killed });
            }
        }
        Ok(swept)
    }
}

/// The run's own janitor may be removing it at the same time.
fn remove_folder(run: &Path) -> Result<(), FleetError> {
    match fs_err::remove_dir_all(run) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
