//! Scenario files: found, read, checked.

use std::path::{Path, PathBuf};

use fs_err as fs;
use sanlab_plan::{BASE_FOLDER, Plan, Setting};

use crate::LabError;

/// Reads and checks a scenario file with its bases; all of its mistakes are in the error.
pub fn load(path: &Path) -> Result<Plan, LabError> {
    load_with(path, &[])
}

/// The same with settings in place of what the file says.
pub fn load_with(path: &Path, settings: &[Setting]) -> Result<Plan, LabError> {
    load_reading(path, settings, &|_, _| {})
}

/// The same; each file that is read, the scenario's and its bases', is told with its text.
pub(crate) fn load_reading(
    path: &Path,
    settings: &[Setting],
    told: &dyn Fn(&Path, &str),
) -> Result<Plan, LabError> {
    let read = |path: &Path| {
        let text = fs::read_to_string(path)?;
        told(path, &text);
        Ok(text)
    };
    let text = read(path).map_err(LabError::Unreadable)?;
    let read_base = |base: &Path| read(base);
    Ok(sanlab_plan::parse_with(path, &text, settings, &read_base)?)
}

/// Every scenario file below a folder, sorted by path. Folders for bases are left out.
pub fn find(folder: &Path) -> Result<Vec<PathBuf>, LabError> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                if path.file_name().is_none_or(|name| name != BASE_FOLDER) {
                    folders.push(path);
                }
            } else if path
                .extension()
                .is_some_and(|extension| extension == "toml")
            {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}
