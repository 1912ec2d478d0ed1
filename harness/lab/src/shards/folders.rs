//! Finds the run folders of shards.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;

use super::suite::{FILE, Suite};

/// A run folder with a suite: a shard's, or a merged one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    pub(crate) suite: Suite,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Sorted by path.
    pub(crate) folders: Vec<Folder>,
    /// What is not there or cannot be read, each with the reason.
    pub(crate) left_out: Vec<String>,
}

/// Finds them among the named folders and below. One that cannot be read is left out: what its shard should have run is missing then.
pub(crate) fn find(named: &[PathBuf]) -> Found {
    let mut found = Found::default();
    let mut seen = BTreeSet::new();
    for path in named {
        let mut paths = Vec::new();
        if let Err(error) = look(path, &mut paths) {
            found.left_out.push(error.to_string());
            continue;
        }
        if paths.is_empty() {
            let path = path.display();
            found.left_out.push(format!(
                "{path}: no run folder of a shard is there: `run --shard` writes a {FILE} into its own"
            ));
        }
        for path in paths {
            // One that cannot be resolved cannot be read either.
            let real = fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
            if !seen.insert(real) {
                continue;
            }
            match Suite::read(&path) {
                Ok(suite) => found.folders.push(Folder { path, suite }),
                Err(why) => found.left_out.push(why),
            }
        }
    }
    found
        .folders
        .sort_by(|one, other| one.path.cmp(&other.path));
    found
}

/// The folder itself, or those below; links below are not followed.
fn look(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    if folder.join(FILE).exists() {
        found.push(folder.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            look(&entry.path(), found)?;
        }
    }
    Ok(())
}
