//! What runs of one and the same thing differ by on this class of host.

use std::collections::BTreeMap;

use rusqlite::OptionalExtension;

use super::History;
use crate::error::ReportError;
use crate::load::measure::Measure;

/// What noise floors rest on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Learnt {
    /// When they were learnt, seconds since 1970.
    pub at: f64,
    /// From how many pairs of runs.
    pub pairs: u32,
    /// How many comparisons were drawn from these.
    pub comparisons: u32,
}

impl History {
    /// The floors learnt last for this class of host, as shares by measure; empty where nothing was learnt. `host` and
    /// `accelerator` are what the dimensions of series call them.
    pub fn noise_floors(
        &self,
        host: &str,
        accelerator: &str,
    ) -> Result<BTreeMap<Measure, f64>, ReportError> {
        let read = || -> rusqlite::Result<_> {
            let mut statement = self.connection.prepare(
                "SELECT measure, floor FROM noise WHERE host = ?1 AND accelerator = ?2 ORDER BY at",
            )?;
            let mut rows = statement.query((host, accelerator))?;
            let mut floors = BTreeMap::new();
            while let Some(row) = rows.next()? {
                let word: String = row.get(0)?;
                if let Some(measure) = Measure::parse(&word) {
                    // In the order of time: the last one stays.
                    floors.insert(measure, row.get(1)?);
                }
            }
            Ok(floors)
        };
        read().map_err(|source| self.failed(source))
    }

    /// What those floors rest on.
    pub fn noise_learnt(
        &self,
        host: &str,
        accelerator: &str,
    ) -> Result<Option<Learnt>, ReportError> {
        let read = || {
            self.connection
                .query_row(
                    "SELECT at, pairs, comparisons FROM noise WHERE host = ?1 AND accelerator = ?2
                     ORDER BY at DESC LIMIT 1",
                    (host, accelerator),
                    |row| {
                        Ok(Learnt {
                            at: row.get(0)?,
                            pairs: row.get(1)?,
                            comparisons: row.get(2)?,
                        })
                    },
                )
                .optional()
        };
        read().map_err(|source| self.failed(source))
    }

    /// Keeps floors that A/A comparisons showed. They count from then on; what was learnt before stays in the file. Nothing is kept
    /// where the floors known so far rest on more pairs: then it gives these.
    pub fn learn_noise(
        &mut self,
        host: &str,
        accelerator: &str,
        floors: &BTreeMap<Measure, f64>,
        learnt: Learnt,
    ) -> Result<Option<Learnt>, ReportError> {
        if let Some(known) = self.noise_learnt(host, accelerator)?
            && known.pairs > learnt.pairs
        {
            return Ok(Some(known));
        }
        let Learnt {
            at,
            pairs,
            comparisons,
        } = learnt;
        let path = self.path.clone();
        let failed = |source| ReportError::history(&path, source);
        let transaction = self.connection.transaction().map_err(failed)?;
        for (measure, floor) in floors {
            transaction
                .execute(
                    "INSERT OR REPLACE INTO noise (host, accelerator, measure, at, floor, comparisons, pairs)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                    (
                        host,
                        accelerator,
                        measure.as_str(),
                        at,
                        floor,
                        comparisons,
                        pairs,
                    ),
                )
                .map_err(failed)?;
        }
        transaction.commit().map_err(failed)?;
        Ok(None)
    }
}
