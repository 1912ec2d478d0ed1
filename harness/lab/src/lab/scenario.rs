//! Scenario files: found, read, checked.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

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

/// The texts of scenario files and their bases, each as it was when it was first read: to edit one changes nothing of later runs.
#[derive(Debug, Default)]
pub(crate) struct Texts(Mutex<BTreeMap<PathBuf, String>>);

impl Texts {
    /// [`load_with`] of these texts.
    pub(crate) fn load_with(&self, path: &Path, settings: &[Setting]) -> Result<Plan, LabError> {
        let text = self.read(path).map_err(LabError::Unreadable)?;
        let read_base = |base: &Path| self.read(base);
        Ok(sanlab_plan::parse_with(path, &text, settings, &read_base)?)
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        let mut texts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(text) = texts.get(path) {
            return Ok(text.clone());
        }
        let text = fs::read_to_string(path)?;
        texts.insert(path.to_owned(), text.clone());
        Ok(text)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_that_is_edited_stays_what_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.toml");
        let nodes = "nodes = { \"vix[0-1]\" = { arch = \"x86\" } }\nstep = [{ run = { command = \"true\" } }]";
        fs::write(&path, format!("name = \"as it was\"\n{nodes}")).unwrap();
        let texts = Texts::default();
        let first = texts.load_with(&path, &[]).unwrap();
        fs::write(&path, "name = ").unwrap();
        assert_eq!(texts.load_with(&path, &[]).unwrap(), first);
        assert!(load(&path).is_err());
    }
}
