//! Errors with records, comparisons, baselines and history, each with the file and the remedy.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::render::number::count;

/// Why there is no report. Messages finish the words "failed to".
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A file or folder cannot be read or written; the message names it.
    #[error("use a file: {0}")]
    Io(#[from] io::Error),
    /// Nothing to report on.
    #[error(
        "find a record or a comparison below {}{}\n  help: `sanlab run` leaves a `record.json` in target/sanlab/runs, `sanlab compare` a `comparison.json`",
        paths(.looked_in),
        lines(.left_out)
    )]
    NothingFound {
        /// Where it was looked for.
        looked_in: Vec<PathBuf>,
        /// What was found there and is not what its name promises.
        left_out: Vec<String>,
    },
    /// Some files are not what their names promise. All of them are reported.
    #[error("read {}:{}", count(.0.len(), "file"), list(.0))]
    Unreadable(Vec<FileError>),
    /// The history's file cannot be read or written.
    #[error("use the history {}: {source}", path.display())]
    History {
        /// The file.
        path: PathBuf,
        /// What `SQLite` says.
        source: rusqlite::Error,
    },
    /// The file is a database, and not a history.
    #[error(
        "use the history {}: it is a database of something else\n  help: name another file, or move this one away",
        path.display()
    )]
    NotHistory {
        /// The file.
        path: PathBuf,
    },
    /// A later version of the lab wrote the history.
    #[error(
        "use the history {}: it is of version {found}, and this sanlab knows versions up to {newest}\n  help: use the sanlab that wrote it, or export it there as JSON Lines and import that into another file",
        path.display()
    )]
    NewerHistory {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest that is known here.
        newest: i64,
    },
    /// There is nothing in the history.
    #[error(
        "export the history {}: it knows no runs\n  help: `sanlab history import target/sanlab/runs` takes in those that there are",
        path.display()
    )]
    EmptyHistory {
        /// The file.
        path: PathBuf,
    },
    /// Something in the history cannot be understood.
    #[error("read the history {}: {what}: {source}", path.display())]
    HistoryText {
        /// The file.
        path: PathBuf,
        /// Which part.
        what: &'static str,
        /// Why.
        source: serde_json::Error,
    },
    /// A line of an exported history is not one.
    #[error("read {}:{line}: {message}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// A baseline's text is not one.
    #[error("read the baseline {}: {message}", path.display())]
    Baseline {
        /// The file.
        path: PathBuf,
        /// What is wrong, and the remedy.
        message: String,
    },
    /// There is nothing that a baseline could be made of.
    #[error(
        "make a baseline: no run that passed has a measuring step\n  help: run a scenario with a `throughput`, `dd` or `write` step first"
    )]
    EmptyBaseline,
    /// The runs and the baseline have no series in common.
    #[error("compare with the baseline: {0}")]
    NoCommonSeries(String),
    /// The baseline was measured on other hosts.
    #[error("find a baseline for this host: {0}")]
    NoBaselineHere(String),
    /// The XML could not be written.
    #[error("write the JUnit report: {0}")]
    Junit(#[from] quick_junit::SerializeError),
}

/// A file that is not what it should be.
#[derive(Debug)]
pub struct FileError {
    /// Which.
    pub path: PathBuf,
    /// Why.
    pub fault: FileFault,
}

/// What is wrong with a file.
#[derive(Debug)]
pub enum FileFault {
    /// It cannot be read at all.
    Io(io::Error),
    /// There is nothing in it.
    Empty,
    /// It ends in the middle.
    CutShort {
        /// From 1: where it ends.
        line: usize,
    },
    /// It is not JSON.
    NotJson(serde_json::Error),
    /// It is JSON, and neither a record nor a comparison.
    UnknownDocument,
    /// Another version wrote it.
    OtherFormat {
        /// `record` or `comparison`.
        what: &'static str,
        /// What it says of itself.
        found: u64,
        /// The one that can be read.
        known: u32,
    },
    /// More than one record stands in it.
    Several {
        /// From 1: where the second begins.
        line: usize,
    },
    /// It is not of the shape that its format promises.
    Malformed {
        /// What it says of itself.
        format: u32,
        /// What is missing or wrong.
        source: serde_json::Error,
    },
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.fault {
            FileFault::Io(error) => write!(f, "{error}"),
            FileFault::Empty => write!(
                f,
                "{path}: the file is empty\n    help: the run that should have written it left nothing behind; remove the file or run the scenario again"
            ),
            FileFault::CutShort { line } => write!(
                f,
                "{path}: the file is cut short: it ends in the middle of line {line}\n    help: copy it anew if it was copied, else remove it; a run writes its record whole or not at all"
            ),
            FileFault::NotJson(error) => {
                write!(
                    f,
                    "{path}: not JSON: {error}\n    help: remove the file or leave it out"
                )
            }
            FileFault::UnknownDocument => write!(
                f,
                "{path}: JSON, but neither a run's record nor a comparison\n    help: name files that `sanlab run` or `sanlab compare` wrote"
            ),
            FileFault::OtherFormat { what, found, known } => write!(
                f,
                "{path}: a {what} of format {found}: this sanlab reads format {known}\n    help: use the sanlab that wrote it, or a newer one"
            ),
            FileFault::Several { line } => write!(
                f,
                "{path}: more than one JSON text: another begins on line {line}\n    help: keep each record in a file of its own; lines of `sanlab history export` are for `sanlab history import`"
            ),
            FileFault::Malformed { format, source } => write!(
                f,
                "{path}: not of the shape that its format {format} promises: {source}\n    help: remove the file or leave it out"
            ),
        }
    }
}

impl std::error::Error for FileError {}

impl ReportError {
    /// Whether the input is right, and it is the host that does not let the lab do its part: a full disk, a database that another
    /// program does not give back.
    pub fn is_the_hosts(&self) -> bool {
        use rusqlite::ErrorCode as Code;
        match self {
            Self::Io(error) => matches!(
                error.kind(),
                io::ErrorKind::StorageFull
                    | io::ErrorKind::QuotaExceeded
                    | io::ErrorKind::ReadOnlyFilesystem
            ),
            Self::History { source, .. } => matches!(
                source.sqlite_error_code(),
                Some(
                    Code::DatabaseBusy
                        | Code::DatabaseLocked
                        | Code::DiskFull
                        | Code::SystemIoFailure
                        | Code::ReadOnly
                        | Code::OutOfMemory
                )
            ),
            _ => false,
        }
    }

    pub(crate) fn history(path: &Path, source: rusqlite::Error) -> Self {
        Self::History {
            path: path.to_owned(),
            source,
        }
    }
}

fn list(errors: &[FileError]) -> String {
    let all: Vec<_> = errors.iter().map(ToString::to_string).collect();
    lines(&all)
}

fn lines(texts: &[String]) -> String {
    texts.iter().fold(String::new(), |mut all, text| {
        all.push_str("\n  ");
        all.push_str(text);
        all
    })
}

fn paths(paths: &[PathBuf]) -> String {
    let names: Vec<_> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    names.join(", ")
}
