//! What runs of one and the same thing differ by on this class of host.

use std::collections::BTreeMap;

use super::History;
use crate::error::ReportError;
use crate::load::measure::Measure;

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

    /// Keeps floors that so many A/A comparisons showed at a time, seconds since 1970. They count from then on; what was learnt
    /// before stays in the file.
    pub fn learn_noise(
        &mut self,
        host: &str,
        accelerator: &str,
        floors: &BTreeMap<Measure, f64>,
        comparisons: u32,
        at: f64,
    ) -> Result<(), ReportError> {
        let path = self.path.clone();
        let failed = |source| ReportError::history(&path, source);
        let transaction = self.connection.transaction().map_err(failed)?;
        for (measure, floor) in floors {
            transaction
                .execute(
                    "INSERT OR REPLACE INTO noise (host, accelerator, measure, at, floor, comparisons)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    (host, accelerator, measure.as_str(), at, floor, comparisons),
                )
                .map_err(failed)?;
        }
        transaction.commit().map_err(failed)
    }
}
