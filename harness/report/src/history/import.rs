//! Runs into the history.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension, Transaction, TransactionBehavior};
use sanlab_record::RunRecord;
use sha2::{Digest, Sha256};

use super::History;
use super::lines::{self, Line};
use crate::error::ReportError;
use crate::load::series::{Figures, Series, figures};

/// What came of an import.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Imported {
    /// Runs that were not known before.
    pub new: usize,
    /// Runs that were.
    pub known: usize,
    /// Of the new ones, those that say nothing of throughput: they did not pass, or have no measuring step.
    pub without_figures: usize,
}

impl History {
    /// Takes runs in, all or none of them. Those that it knows stay as they are; how long
    /// they took is added where an older version did not keep it.
    pub fn import(&mut self, records: &[RunRecord]) -> Result<Imported, ReportError> {
        let lines: Vec<_> = records.iter().flat_map(lines_of).collect();
        self.take_in(&lines)
    }

    /// The same for lines, of which a run may have several, one a series.
    pub(super) fn take_in(&mut self, lines: &[Line]) -> Result<Imported, ReportError> {
        let path = self.path.clone();
        let failed = |source| ReportError::history(&path, source);
        let mut runs: BTreeMap<&str, Vec<&Line>> = BTreeMap::new();
        for line in lines {
            runs.entry(&line.run).or_default().push(line);
        }
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(failed)?;
        let mut imported = Imported::default();
        for (key, lines) in runs {
            if is_known(&transaction, key).map_err(failed)? {
                let seconds = lines.iter().find_map(|line| line.seconds);
                complete(&transaction, key, seconds).map_err(failed)?;
                imported.known += 1;
                continue;
            }
            imported.new += 1;
            if !insert(&transaction, &lines).map_err(failed)? {
                imported.without_figures += 1;
            }
        }
        transaction.commit().map_err(failed)?;
        Ok(imported)
    }
}

/// A record as lines: one a series, or one without figures.
fn lines_of(record: &RunRecord) -> Vec<Line> {
    let line = Line {
        format: lines::FORMAT,
        run: key(record),
        scenario: record.scenario.clone(),
        title: record.title.clone(),
        started: record.started,
        outcome: record.outcome.key().to_owned(),
        seconds: Some(record.seconds()),
        figures: None,
    };
    let figures = figures(record);
    if figures.is_empty() {
        return vec![line];
    }
    figures
        .into_iter()
        .map(|figures| Line {
            figures: Some(figures),
            ..line.clone()
        })
        .collect()
}

/// What makes a run this one and no other, as sha256 in hex. Not the whole record: a later version would write it in another
/// shape. Microseconds are finer than any two runs are apart, and coarser than what is lost by writing a number as text.
fn key(record: &RunRecord) -> String {
    let mut digest = Sha256::new();
    let mut part = |text: &str| {
        digest.update((text.len() as u64).to_le_bytes());
        digest.update(text);
    };
    part(&record.scenario);
    part(&format!("{:.6}", record.started));
    part(&record.seed.to_string());
    for (name, value) in &record.settings {
        part(name);
        part(value);
    }
    let bytes: [u8; 32] = digest.finalize().into();
    bytes.iter().fold(String::new(), |mut text, byte| {
        text.push(char::from(HEX[usize::from(byte >> 4)]));
        text.push(char::from(HEX[usize::from(byte & 15)]));
        text
    })
}

const HEX: &[u8; 16] = b"0123456789abcdef";

fn is_known(transaction: &Transaction<'_>, key: &str) -> rusqlite::Result<bool> {
    transaction
        .prepare_cached("SELECT 1 FROM runs WHERE key = ?1")?
        .exists([key])
}

/// How long a run took, where an older version did not keep that.
fn complete(
    transaction: &Transaction<'_>,
    key: &str,
    seconds: Option<f64>,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("UPDATE runs SET seconds = ?2 WHERE key = ?1 AND seconds IS NULL")?
        .execute((key, seconds))?;
    Ok(())
}

/// Writes one run; its lines agree on everything but the figures. Says whether it has figures.
fn insert(transaction: &Transaction<'_>, lines: &[&Line]) -> rusqlite::Result<bool> {
    let Some(first) = lines.first() else {
        return Ok(false);
    };
    let run = transaction
        .prepare_cached(
            "INSERT INTO runs (key, scenario, title, started, outcome, seconds) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .insert((
            &first.run,
            &first.scenario,
            &first.title,
            first.started,
            &first.outcome,
            first.seconds,
        ))?;
    // Two steps that differ in nothing are one series: their repetitions follow each other.
    let mut entries: BTreeMap<&Series, Vec<&Figures>> = BTreeMap::new();
    for figures in lines.iter().filter_map(|line| line.figures.as_ref()) {
        entries.entry(&figures.series).or_default().push(figures);
    }
    let mut any = false;
    for (series, parts) in entries {
        any = true;
        let series = series_row(transaction, series)?;
        let origin = parts.first().map(|figures| json(&figures.origin));
        let entry = transaction
            .prepare_cached(
                "INSERT INTO entries (run, series, origin, started) VALUES (?1, ?2, ?3, ?4)",
            )?
            .insert((run, series, origin, first.started))?;
        insert_figures(transaction, entry, &parts)?;
    }
    Ok(any)
}

fn insert_figures(
    transaction: &Transaction<'_>,
    entry: i64,
    parts: &[&Figures],
) -> rusqlite::Result<()> {
    let mut known =
        transaction.prepare_cached("INSERT OR IGNORE INTO measures (word) VALUES (?1)")?;
    let mut statement = transaction.prepare_cached(
        "INSERT INTO figures (entry, measure, repetition, value)
         VALUES (?1, (SELECT id FROM measures WHERE word = ?2), ?3, ?4)",
    )?;
    let mut counts = BTreeMap::new();
    for (measure, values) in parts.iter().flat_map(|figures| &figures.repetitions) {
        known.execute([measure.as_str()])?;
        for value in values {
            let count: &mut i64 = counts.entry(measure).or_default();
            *count += 1;
            statement.execute((entry, measure.as_str(), *count, value))?;
        }
    }
    Ok(())
}

fn series_row(transaction: &Transaction<'_>, series: &Series) -> rusqlite::Result<i64> {
    let key = json(series);
    let known = transaction
        .prepare_cached("SELECT id FROM series WHERE key = ?1")?
        .query_row([&key], |row| row.get(0))
        .optional()?;
    match known {
        Some(id) => Ok(id),
        None => transaction
            .prepare_cached("INSERT INTO series (key) VALUES (?1)")?
            .insert([&key]),
    }
}

/// Fields in the order of the type, keys of maps sorted: equal values have equal texts.
pub(super) fn json<T: serde::Serialize>(value: &T) -> String {
    // Strings and maps with string keys: nothing in it can fail to serialise.
    serde_json::to_string(value).expect("names and texts are plain data")
}
