//! The figures of all runs, in one `SQLite` file: the source of trends. Every repetition is kept, not means. A run is known by its
//! scenario, the moment it began, its seed and its settings, so that the same record can be imported any number of times.
//!
//! Several programs may use the file at a time: one writes, the others wait.

mod durations;
mod import;
mod lines;
mod noise;
mod schema;
mod window;

pub use import::Imported;
pub use noise::Learnt;
pub use window::Pruned;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err as fs;
use rusqlite::Connection;

use crate::error::ReportError;
use crate::load::measure::Measure;
use crate::load::series::Figures;

/// How long to wait for another program that writes into the file: an import of thousands of runs takes seconds.
const BUSY: Duration = Duration::from_secs(30);

/// An open history.
#[derive(Debug)]
pub struct History {
    connection: Connection,
    path: PathBuf,
}

impl History {
    /// Opens the file, or creates it and the folder that it should lie in. A file of an older version is brought up to date.
    pub fn open(path: &Path) -> Result<Self, ReportError> {
        if let Some(folder) = path.parent().filter(|folder| *folder != Path::new("")) {
            fs::create_dir_all(folder)?;
        }
        let failed = |source| ReportError::history(path, source);
        let mut connection = Connection::open(path).map_err(failed)?;
        connection.busy_timeout(BUSY).map_err(failed)?;
        schema::prepare(&mut connection, path)?;
        Ok(Self {
            connection,
            path: path.to_owned(),
        })
    }

    /// How many runs it knows, those without figures too.
    pub fn runs(&self) -> Result<usize, ReportError> {
        let count = self
            .connection
            .query_row("SELECT count(*) FROM runs", (), |row| row.get::<_, i64>(0))
            .map_err(|source| self.failed(source))?;
        Ok(usize::try_from(count).unwrap_or_default())
    }

    /// Everything it knows, one entry a run and series, the oldest first.
    pub fn figures(&self) -> Result<Vec<Figures>, ReportError> {
        Ok(self
            .entries()?
            .into_iter()
            .filter_map(|entry| entry.figures)
            .collect())
    }

    /// Every run with each of its series, or with none where it has no figures; the oldest first.
    fn entries(&self) -> Result<Vec<lines::Line>, ReportError> {
        let mut figures = self.repetitions()?;
        let mut statement = self
            .connection
            .prepare(
                "SELECT runs.key, runs.scenario, runs.title, runs.started, runs.outcome,
                        entries.id, entries.origin, series.key, runs.seconds
                 FROM runs LEFT JOIN entries ON entries.run = runs.id LEFT JOIN series ON series.id = entries.series
                 ORDER BY runs.started, runs.id, entries.id",
            )
            .map_err(|source| self.failed(source))?;
        let mut rows = statement.query(()).map_err(|source| self.failed(source))?;
        let mut entries = Vec::new();
        while let Some(row) = rows.next().map_err(|source| self.failed(source))? {
            let parts = || -> rusqlite::Result<_> {
                let entry: Option<i64> = row.get(5)?;
                let texts: (Option<String>, Option<String>) = (row.get(6)?, row.get(7)?);
                let line = lines::Line {
                    format: lines::FORMAT,
                    run: row.get(0)?,
                    scenario: row.get(1)?,
                    title: row.get(2)?,
                    started: row.get(3)?,
                    outcome: row.get(4)?,
                    seconds: row.get(8)?,
                    figures: None,
                };
                Ok((line, entry, texts))
            };
            let (mut line, entry, texts) = parts().map_err(|source| self.failed(source))?;
            if let (Some(entry), (Some(origin), Some(series))) = (entry, texts) {
                line.figures = Some(Figures {
                    series: self.parsed("a series", &series)?,
                    started: line.started,
                    origin: self.parsed("the origin of figures", &origin)?,
                    repetitions: figures.remove(&entry).unwrap_or_default(),
                });
            }
            entries.push(line);
        }
        Ok(entries)
    }

    /// Repetitions by entry and measure. A measure of a later version is left out.
    fn repetitions(&self) -> Result<BTreeMap<i64, BTreeMap<Measure, Vec<f64>>>, ReportError> {
        let read = || -> rusqlite::Result<_> {
            let mut statement = self.connection.prepare(
                "SELECT entry, word, value FROM figures JOIN measures ON measures.id = measure
                 ORDER BY entry, measure, repetition",
            )?;
            let mut rows = statement.query(())?;
            let mut figures: BTreeMap<i64, BTreeMap<Measure, Vec<f64>>> = BTreeMap::new();
            while let Some(row) = rows.next()? {
                let word: String = row.get(1)?;
                if let Some(measure) = Measure::parse(&word) {
                    let entry = figures.entry(row.get(0)?).or_default();
                    entry.entry(measure).or_default().push(row.get(2)?);
                }
            }
            Ok(figures)
        };
        read().map_err(|source| self.failed(source))
    }

    fn parsed<T: serde::de::DeserializeOwned>(
        &self,
        what: &'static str,
        text: &str,
    ) -> Result<T, ReportError> {
        serde_json::from_str(text).map_err(|source| ReportError::HistoryText {
            path: self.path.clone(),
            what,
            source,
        })
    }

    fn failed(&self, source: rusqlite::Error) -> ReportError {
        ReportError::history(&self.path, source)
    }
}
