//! Writes a merged run folder: records with their logs, by hard links where the file system allows it, else as copies. Only the suite is synced to
//! the disk: all else can be merged again.

use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use fs_err as fs;

use super::ShardError;
use super::merge::{Chosen, Merged};
use crate::LabError;

/// A scenario's folder while it is written.
const HALF: &str = ".half";

/// Refuses a folder with something in it, unless it is one of those that are merged: then it is completed.
pub(crate) fn check(out: &Path, merged: &[PathBuf]) -> Result<(), LabError> {
    if !out.exists() {
        return Ok(());
    }
    let real = fs::canonicalize(out)?;
    for path in merged {
        if fs::canonicalize(path)? == real {
            return Ok(());
        }
    }
    if fs::read_dir(out)?.next().is_none() {
        return Ok(());
    }
    Err(ShardError::NotEmpty {
        path: out.to_owned(),
    }
    .into())
}

/// Makes the folder what was merged; what is right in it already stays untouched. The suite is written last: before that the folder is
/// not taken for a whole one.
pub(crate) fn write(merged: &Merged, out: &Path) -> Result<(), LabError> {
    fs::create_dir_all(out)?;
    for run in &merged.runs {
        let place = out.join(&run.name);
        if !is_placed(run, &place)? {
            replace(run, out, &place)?;
        }
    }
    Ok(merged.suite.write(out)?)
}

/// Whether the record is there, byte for byte.
fn is_placed(run: &Chosen, place: &Path) -> io::Result<bool> {
    let there = place.join("record.json");
    if !there.exists() {
        return Ok(false);
    }
    let wanted = match &run.folder {
        Some(folder) => fs::read(folder.join("record.json"))?,
        None => run.record.to_json().into_bytes(),
    };
    Ok(fs::read(&there)? == wanted)
}

/// Writes the run's folder whole, then puts it in its place.
fn replace(run: &Chosen, out: &Path, place: &Path) -> Result<(), LabError> {
    let half = out.join(HALF);
    if half.exists() {
        fs::remove_dir_all(&half)?;
    }
    fs::create_dir(&half)?;
    match &run.folder {
        Some(folder) => link_all(folder, &half)?,
        None => fs::write(half.join("record.json"), run.record.to_json())?,
    }
    if place.exists() {
        fs::remove_dir_all(place)?;
    }
    if let Some(above) = place.parent() {
        fs::create_dir_all(above)?;
    }
    Ok(fs::rename(&half, place)?)
}

fn link_all(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, there) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            fs::create_dir(&there)?;
            link_all(&path, &there)?;
        } else if kind.is_symlink() {
            symlink(fs::read_link(&path)?, &there)?;
        } else if fs::hard_link(&path, &there).is_err() {
            // On another file system, or one without hard links.
            fs::copy(&path, &there)?;
        }
    }
    Ok(())
}
