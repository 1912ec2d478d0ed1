//! Where runs are kept: `target/sanlab/runs/<run-id>/<folder>/<scenario>/record.json`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fs_err as fs;
use sanlab_plan::Plan;
use sanlab_record::{FORMAT, HostUse, Outcome, RunRecord};
use sanlab_report::comparison::Comparison;
use sanlab_report::{durable, moment};
use serde::Serialize;

use crate::LabError;

/// The folder of one invocation; its name sorts by time. Locked as long as this lives, so that nobody prunes it.
#[derive(Debug, Clone)]
pub struct RunFolder {
    path: PathBuf,
    _lock: Arc<fs::File>,
}

/// Where run folders are: `$SANLAB_RUNS`, else `target/sanlab/runs` of the project.
fn runs_of(project: &Path) -> Result<PathBuf, LabError> {
    let runs = std::env::var_os("SANLAB_RUNS")
        .map_or_else(|| project.join("target/sanlab/runs"), PathBuf::from);
    Ok(std::path::absolute(runs)?)
}

/// Removes all but the newest `keep` run folders of a project, and none that a run still writes into. How many went, and where.
pub(crate) fn prune(project: &Path, keep: usize) -> Result<(usize, PathBuf), LabError> {
    let runs = runs_of(project)?;
    let mut folders = Vec::new();
    if runs.exists() {
        for entry in fs::read_dir(&runs)? {
            let path = entry?.path();
            if path.is_dir() && is_run_id(&path) {
                folders.push(path);
            }
        }
    }
    folders.sort_unstable();
    folders.truncate(folders.len().saturating_sub(keep));
    let mut removed = 0;
    for folder in folders {
        let lock = fs::File::open(&folder)?;
        if lock.file().try_lock().is_ok() {
            fs::remove_dir_all(&folder)?;
            removed += 1;
        }
    }
    Ok((removed, runs))
}

/// Whether a folder is called as [`RunFolder::create`] calls them.
fn is_run_id(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let Some((moment, rest)) = name.split_once('-') else {
        return false;
    };
    let shape = |(place, byte): (usize, u8)| match place {
        8 => byte == b'T',
        15 => byte == b'Z',
        _ => byte.is_ascii_digit(),
    };
    moment.len() == 16 && moment.bytes().enumerate().all(shape) && rest.len() == 4
}

impl RunFolder {
    /// Creates `20261122T020304Z-x7f3` in `$SANLAB_RUNS`, else in `target/sanlab/runs` of the project.
    pub fn create(project: &Path) -> Result<Self, LabError> {
        Self::create_in(&runs_of(project)?)
    }

    /// The same in a folder of the caller's choice.
    pub fn create_in(runs: &Path) -> Result<Self, LabError> {
        let failed = |source| LabError::RunFolder {
            path: runs.to_owned(),
            source,
        };
        fs::create_dir_all(runs).map_err(failed)?;
        let path = tempfile::Builder::new()
            .prefix(&format!("{}-", moment::compact(since_1970().as_secs_f64())))
            .rand_bytes(4)
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .tempdir_in(runs)
            .map_err(failed)?
            .keep();
        let lock = fs::File::open(&path).map_err(failed)?;
        // Where folders cannot be locked, `prune` cannot lock them either and leaves them alone.
        let _ = lock.file().try_lock_shared();
        Ok(Self {
            path,
            _lock: Arc::new(lock),
        })
    }

    /// One that another process has made.
    pub(crate) fn open(path: &Path) -> Result<Self, LabError> {
        let lock = fs::File::open(path)?;
        let _ = lock.file().try_lock_shared();
        Ok(Self {
            path: path.to_owned(),
            _lock: Arc::new(lock),
        })
    }

    /// The run's name.
    pub fn id(&self) -> String {
        self.path
            .file_name()
            .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A folder of runs within it, for one of several runs of the same scenario. Made when the first of them is.
    #[must_use]
    pub fn within(&self, name: &str) -> Self {
        Self {
            path: self.path.join(name),
            ..self.clone()
        }
    }

    /// Creates the folder that the record, logs and collected files of a scenario's attempt go to: in a folder that is called
    /// like that of the scenario.
    pub fn scenario(&self, id: &str, attempt: u32) -> Result<PathBuf, LabError> {
        let path = self.path.join(attempt_name(id, attempt));
        fs::create_dir_all(&path)?;
        Ok(path)
    }
}

/// `mount`, then `mount-2`, `mount-3`: identifiers have no hyphen of their own.
pub(crate) fn attempt_name(id: &str, attempt: u32) -> String {
    match attempt {
        0 | 1 => id.to_owned(),
        _ => format!("{id}-{attempt}"),
    }
}

/// Writes `record.json` whole or not at all, and returns its path.
pub(crate) fn write_record(folder: &Path, record: &RunRecord) -> Result<PathBuf, LabError> {
    write_json(folder, "record.json", record)
}

/// Writes `comparison.json` whole or not at all, and returns its path.
pub(crate) fn write_comparison(
    folder: &Path,
    comparison: &Comparison,
) -> Result<PathBuf, LabError> {
    write_json(folder, "comparison.json", comparison)
}

fn write_json(folder: &Path, name: &str, content: &impl Serialize) -> Result<PathBuf, LabError> {
    let path = folder.join(name);
    let mut text = serde_json::to_string_pretty(content).map_err(LabError::Record)?;
    text.push('\n');
    durable::write(&path, &text)?;
    Ok(path)
}

/// A path as short as the current folder allows.
pub(crate) fn shown(path: &Path) -> &Path {
    std::env::current_dir()
        .ok()
        .and_then(|here| path.strip_prefix(here).ok())
        .unwrap_or(path)
}

/// The record of a scenario that was left out.
pub(crate) fn not_run(plan: &Plan, seed: u64, reason: &str) -> RunRecord {
    let outcome = Outcome::Skipped {
        reason: reason.to_owned(),
    };
    RunRecord {
        started: since_1970().as_secs_f64(),
        seed,
        host: sanlab_run::host(),
        ..without_run(&plan.id, &plan.name, outcome)
    }
}

/// A record of which nothing is known but how it ended.
pub(crate) fn without_run(id: &str, title: &str, outcome: Outcome) -> RunRecord {
    let unknown = || "unknown".to_owned();
    RunRecord {
        format: FORMAT,
        scenario: id.to_owned(),
        title: title.to_owned(),
        started: 0.0,
        seed: 0,
        outcome,
        accelerator: BTreeMap::new(),
        images: BTreeMap::new(),
        qemu_version: String::new(),
        mtu: 0,
        host: HostUse {
            cpu: unknown(),
            cpus: 0,
            memory_mib: 0,
            kernel: unknown(),
        },
        stack: Vec::new(),
        settings: BTreeMap::new(),
        comparison: None,
        exploration: None,
        phases: Vec::new(),
        events: Vec::new(),
        samples: Vec::new(),
        measurements: Vec::new(),
        dips: Vec::new(),
        findings: Vec::new(),
        timeline: None,
        console_tail: BTreeMap::new(),
        nodes: BTreeMap::new(),
    }
}

/// Now, by the host's clock.
pub(crate) fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::RunFolder;

    #[test]
    fn a_folder_that_cannot_be_written_names_the_way_out() {
        let folder = tempfile::tempdir().unwrap();
        // Root may write into folders that are read-only to others, and nobody into a file.
        let file = folder.path().join("target");
        fs_err::write(&file, "").unwrap();
        let error = RunFolder::create_in(&file.join("sanlab/runs")).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("set SANLAB_RUNS to a folder"), "{text}");
    }

    #[test]
    fn two_runs_of_one_second_have_different_folders() {
        let runs = tempfile::tempdir().unwrap();
        let (a, b) = (
            RunFolder::create_in(runs.path()).unwrap(),
            RunFolder::create_in(runs.path()).unwrap(),
        );
        assert_ne!(a.id(), b.id());
        let (first, second) = (
            a.scenario("mount", 1).unwrap(),
            a.scenario("mount", 2).unwrap(),
        );
        assert!(first.ends_with("mount") && first.is_dir());
        assert!(second.ends_with("mount-2") && second.is_dir());
    }
}
