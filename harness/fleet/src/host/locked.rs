//! The registry's runs, for whoever holds its lock.

use std::path::{Path, PathBuf};

use sanlab_lock::{FileLock, is_locked};

use crate::error::FleetError;

/// The name of both kinds of lock file: the registry's, and each run's.
pub(crate) const LOCK: &str = "lock";

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
        self.runs_that(true)
    }

    /// The folders of runs whose process is gone. They stay dead: nobody locks an old folder.
    pub(crate) fn dead(&self) -> Result<Vec<PathBuf>, FleetError> {
        self.runs_that(false)
    }

    fn runs_that(&self, live: bool) -> Result<Vec<PathBuf>, FleetError> {
        let mut found = Vec::new();
        for run in self.runs()? {
            // One without a lock file was cut off while it was made or removed.
            if is_locked(&run.join(LOCK))? == live {
                found.push(run);
            }
        }
        Ok(found)
    }
}
