//! The history as JSON Lines: for other programs, for git, and to bring histories of several machines together.

use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{History, Imported};
use crate::error::ReportError;
use crate::load::series::Figures;

/// Version of a line's shape, its field `format`.
pub(super) const FORMAT: u32 = 1;

/// What a run says of one series; of a run without figures there is one line without them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Line {
    pub(super) format: u32,
    /// Its key, sha256 in hex.
    pub(super) run: String,
    pub(super) scenario: String,
    pub(super) title: String,
    pub(super) started: f64,
    pub(super) outcome: String,
    /// How long the run took; absent in what an older version wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) seconds: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) figures: Option<Figures>,
}

impl History {
    /// Writes every run, a line for each of its series, the oldest first; says how many lines. What was learnt about noise is of
    /// this machine, and stays here. A history without runs is an error, so that no empty file is taken for one.
    pub fn export(&self, out: &mut dyn Write) -> Result<usize, ReportError> {
        let entries = self.entries()?;
        if entries.is_empty() {
            return Err(ReportError::EmptyHistory {
                path: self.path.clone(),
            });
        }
        for line in &entries {
            serde_json::to_writer(&mut *out, line).map_err(io::Error::from)?;
            out.write_all(b"\n")?;
        }
        out.flush()?;
        Ok(entries.len())
    }

    /// Takes in what [`export`](Self::export) wrote, all or nothing; `name` is for messages.
    pub fn import_lines(&mut self, name: &Path, text: &str) -> Result<Imported, ReportError> {
        let lines = parse(name, text)?;
        self.take_in(&lines)
    }
}

fn parse(name: &Path, text: &str) -> Result<Vec<Line>, ReportError> {
    #[derive(Deserialize)]
    struct Version {
        format: u32,
    }
    let mut lines = Vec::new();
    for (index, text) in text.lines().enumerate() {
        if text.trim().is_empty() {
            continue;
        }
        let fault = |message| ReportError::Line {
            path: name.to_owned(),
            line: index + 1,
            message,
        };
        let bad = |error: serde_json::Error| {
            fault(if error.is_eof() {
                "the line is cut short\n  help: export the history anew".to_owned()
            } else {
                format!(
                    "{error}\n  help: these are not lines of `sanlab history export`; records are imported by the name of their folder, or of a file that ends in .json"
                )
            })
        };
        let Version { format } = serde_json::from_str(text).map_err(bad)?;
        if format != FORMAT {
            return Err(fault(format!(
                "a line of format {format}: this sanlab reads format {FORMAT}\n  help: use the sanlab that wrote it, or a newer one"
            )));
        }
        lines.push(serde_json::from_str(text).map_err(bad)?);
    }
    if lines.is_empty() {
        return Err(ReportError::Line {
            path: name.to_owned(),
            line: 1,
            message: "there is no line in it: the history that it was exported from was empty"
                .to_owned(),
        });
    }
    Ok(lines)
}
