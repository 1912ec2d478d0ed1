//! Records and comparisons from files and folders.

pub mod measure;
pub mod series;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use fs_err as fs;
use sanlab_record::{FORMAT, RunRecord};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{FileError, FileFault, ReportError};
use crate::render::view::{joined, settings};
use crate::verdict::comparison::{self, Comparison};

/// What runs call their records.
const RECORD: &str = "record.json";

/// What comparisons call their files.
const COMPARISON: &str = "comparison.json";

/// A run's record, and where it lies.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LoadedRun {
    /// The file, as it was found.
    pub path: PathBuf,
    /// What it says.
    pub record: RunRecord,
}

/// A comparison, and where it lies.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LoadedComparison {
    /// The file, as it was found.
    pub path: PathBuf,
    /// What it says.
    pub comparison: Comparison,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Loaded {
    /// Runs, the oldest first.
    pub runs: Vec<LoadedRun>,
    /// Comparisons, the oldest first.
    pub comparisons: Vec<LoadedComparison>,
    /// Files in the folders that are not what their names promise, each with its fault: they were left out.
    pub left_out: Vec<String>,
}

impl LoadedRun {
    /// For people: the scenario, what it was given instead of what it says, and the folder that the record lies in.
    pub fn name(&self) -> String {
        let mut name = self.short_name();
        if let Some(folder) = self.path.parent().filter(|folder| *folder != Path::new("")) {
            let _ = write!(name, " ({})", folder.display());
        }
        name
    }

    /// The scenario, and what it was given instead of what it says.
    pub fn short_name(&self) -> String {
        joined(&self.record.scenario, &settings(&self.record.settings))
    }
}

impl LoadedComparison {
    /// The records of its runs, each with whether it counts: of a side that has one more than there are pairs, the first does not.
    fn records(&self) -> impl Iterator<Item = (PathBuf, bool)> {
        let Comparison { a, b, pairs, .. } = &self.comparison;
        let folder = self.path.parent().unwrap_or(Path::new(""));
        [a, b].into_iter().flat_map(move |side| {
            let discarded = side.records.len().saturating_sub(*pairs);
            let records = side.records.iter().enumerate();
            records.map(move |(number, record)| (folder.join(record), number >= discarded))
        })
    }
}

/// Runs whose figures count. Those that only prepared a comparison do not, nor those of an exploration; and none of a comparison that was interrupted or that a
/// run stopped: which runs it has was then decided by how they went.
pub fn counted<'r>(
    runs: &'r [LoadedRun],
    comparisons: &[LoadedComparison],
) -> impl Iterator<Item = &'r RunRecord> {
    let listed: BTreeMap<PathBuf, bool> = comparisons
        .iter()
        .flat_map(LoadedComparison::records)
        .collect();
    let counts = move |run: &&LoadedRun| match listed.get(&run.path) {
        Some(counts) => *counts,
        None => run.record.comparison.is_none() && run.record.exploration.is_none(),
    };
    runs.iter().filter(counts).map(|run| &run.record)
}

/// Reads every `record.json` and `comparison.json` below the folders, and the files that are named themselves, whatever they
/// are called. A file in a folder that cannot be read or is not what its name promises, as after a crash of the host, is left out
/// and told in [`Loaded::left_out`]. Of those that are named themselves all can be read, or the error lists every one that cannot. A file
/// that is reached twice counts once; links below a folder are not followed.
pub fn load(paths: &[PathBuf]) -> Result<Loaded, ReportError> {
    let mut files = Vec::new();
    let mut faults = Vec::new();
    for path in paths {
        if let Err(error) = find(path, &mut files) {
            faults.push(FileError {
                path: path.clone(),
                fault: FileFault::Io(error),
            });
        }
    }
    let mut loaded = Loaded::default();
    let mut seen = BTreeSet::new();
    for path in files {
        if !seen.insert(fs::canonicalize(&path)?) {
            continue;
        }
        match read(&path) {
            Ok(Contents::Run(record)) => loaded.runs.push(LoadedRun {
                path,
                record: *record,
            }),
            Ok(Contents::Comparison(comparison)) => loaded.comparisons.push(LoadedComparison {
                path,
                comparison: *comparison,
            }),
            Err(fault) => {
                let named = paths.contains(&path);
                let error = FileError { path, fault };
                if named {
                    faults.push(error);
                } else {
                    loaded.left_out.push(error.to_string());
                }
            }
        }
    }
    if !faults.is_empty() {
        return Err(ReportError::Unreadable(faults));
    }
    if loaded.runs.is_empty() && loaded.comparisons.is_empty() {
        return Err(ReportError::NothingFound {
            looked_in: paths.to_vec(),
            left_out: loaded.left_out,
        });
    }
    loaded
        .runs
        .sort_by(|one, other| one.record.started.total_cmp(&other.record.started));
    loaded
        .comparisons
        .sort_by(|one, other| one.comparison.started.total_cmp(&other.comparison.started));
    Ok(loaded)
}

/// The files to read, in the order of their names.
fn find(path: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if !fs::metadata(path)?.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let mut folders = Vec::new();
    let mut entries = fs::read_dir(path)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        if entry.file_type()?.is_dir() {
            folders.push(entry.path());
        } else if entry.file_name() == RECORD || entry.file_name() == COMPARISON {
            files.push(entry.path());
        }
    }
    for folder in folders {
        find(&folder, files)?;
    }
    Ok(())
}

#[derive(Debug)]
enum Contents {
    Run(Box<RunRecord>),
    Comparison(Box<Comparison>),
}

fn read(path: &Path) -> Result<Contents, FileFault> {
    let bytes = fs::read(path).map_err(FileFault::Io)?;
    parse(&bytes)
}

/// What a file's bytes are. They are looked at as JSON first: what they say of themselves decides what they must be.
fn parse(bytes: &[u8]) -> Result<Contents, FileFault> {
    if bytes.trim_ascii().is_empty() {
        return Err(FileFault::Empty);
    }
    let value: Value = serde_json::from_slice(bytes).map_err(|error| not_json(bytes, error))?;
    let format = value.get("format").and_then(Value::as_u64);
    let Some(format) = format else {
        return Err(FileFault::UnknownDocument);
    };
    if value.get("judgements").is_some() {
        of_format("comparison", format, comparison::FORMAT, value)
            .map(|comparison| Contents::Comparison(Box::new(comparison)))
    } else if value.get("outcome").is_some() {
        of_format("record", format, FORMAT, value).map(|record| Contents::Run(Box::new(record)))
    } else {
        Err(FileFault::UnknownDocument)
    }
}

fn of_format<T: DeserializeOwned>(
    what: &'static str,
    found: u64,
    known: u32,
    value: Value,
) -> Result<T, FileFault> {
    if found != u64::from(known) {
        return Err(FileFault::OtherFormat { what, found, known });
    }
    serde_json::from_value(value).map_err(|source| FileFault::Malformed {
        format: known,
        source,
    })
}

fn not_json(bytes: &[u8], error: serde_json::Error) -> FileFault {
    if error.is_eof() {
        return FileFault::CutShort { line: error.line() };
    }
    // A whole text and then another: the first part is JSON by itself.
    let mut texts = serde_json::Deserializer::from_slice(bytes).into_iter::<Value>();
    if let Some(Ok(_)) = texts.next() {
        return FileFault::Several { line: error.line() };
    }
    FileFault::NotJson(error)
}
