//! The folder of a test program's runs.

use std::sync::{Mutex, PoisonError};

use sanlab::{Lab, LabError, RunFolder};

/// Made when the first trial needs it, so that a listing makes none.
#[derive(Default)]
pub(crate) struct SharedRun(Mutex<Option<RunFolder>>);

impl SharedRun {
    /// The same for all trials.
    pub(crate) fn folder(&self, lab: &Lab) -> Result<RunFolder, LabError> {
        let mut run = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*run {
            Some(run) => Ok(run.clone()),
            None => Ok(run.insert(lab.new_run()?).clone()),
        }
    }
}
