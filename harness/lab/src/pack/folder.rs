//! Where a run has left a saved fleet.

use std::path::{Path, PathBuf};

use sanlab_run::SAVED_LABEL;

use super::error::PackError;
use crate::LabError;

/// How far below a run's folder those of its scenarios may lie: a run, its attempt's group, the scenario's path.
const DEPTH: usize = 6;

/// The folder of the only saved fleet in `path`, which may be that folder itself, that of its record, or of a whole run.
pub(crate) fn find(path: &Path) -> Result<PathBuf, LabError> {
    if !path.is_dir() {
        return Err(PackError::NoRun(path.to_owned()).into());
    }
    let mut found = Vec::new();
    look(path, DEPTH, &mut found)?;
    found.sort_unstable();
    match found.len() {
        0 => Err(PackError::NoneSaved(path.to_owned()).into()),
        1 => Ok(found.remove(0)),
        _ => Err(PackError::Several {
            path: path.to_owned(),
            found: found.iter().map(|one| one.display().to_string()).collect(),
        }
        .into()),
    }
}

fn look(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), LabError> {
    if folder.join(SAVED_LABEL).is_file() {
        found.push(folder.to_owned());
        return Ok(());
    }
    if depth == 0 {
        return Ok(());
    }
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        // A link may lead anywhere.
        if entry.file_type()?.is_dir() {
            look(&entry.path(), depth - 1, found)?;
        }
    }
    Ok(())
}
