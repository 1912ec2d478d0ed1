//! The files that a report is written to, as asked for on the command line.

use std::path::{Path, PathBuf};

use fs_err as fs;
use sanlab_report::report::Report;
use sanlab_report::{html, json, junit, markdown};

use crate::LabError;

/// Which, for commands that make a report.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Pages {
    /// Write one self-contained HTML page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write Markdown, such as for a pull request
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Write `JUnit` XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write everything as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Pages {
    /// Whether any is asked for.
    pub(crate) fn any(&self) -> bool {
        let all = [&self.html, &self.markdown, &self.junit, &self.json];
        all.iter().any(|page| page.is_some())
    }

    /// Writes those that are asked for.
    pub(crate) fn write(&self, report: &Report) -> Result<(), LabError> {
        if let Some(path) = &self.html {
            write(path, &html::render(report))?;
        }
        if let Some(path) = &self.markdown {
            write(path, &markdown::render(report))?;
        }
        if let Some(path) = &self.junit {
            write(path, &junit::render(report)?)?;
        }
        if let Some(path) = &self.json {
            write(path, &json::render(report))?;
        }
        Ok(())
    }
}

/// Writes a file and the folders above it.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), LabError> {
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        fs::create_dir_all(folder)?;
    }
    Ok(fs::write(path, text)?)
}
