//! How long scenarios took.

use std::collections::BTreeMap;

use super::History;
use crate::error::ReportError;
use crate::statistics::median;

/// So many runs of a scenario count, the newest: a scenario, the lab and the host change.
const NEWEST: usize = 5;

impl History {
    /// Seconds by scenario: the median of its newest five runs that went through to the end, passed or with the failure that is known.
    /// A scenario without such a run is absent.
    pub fn durations(&self) -> Result<BTreeMap<String, f64>, ReportError> {
        let read = || -> rusqlite::Result<BTreeMap<String, Vec<f64>>> {
            let mut statement = self.connection.prepare(
                "SELECT scenario, seconds FROM runs
                 WHERE seconds IS NOT NULL AND outcome IN ('passed', 'known_failure')
                 ORDER BY started DESC, id DESC",
            )?;
            let mut rows = statement.query(())?;
            let mut newest: BTreeMap<String, Vec<f64>> = BTreeMap::new();
            while let Some(row) = rows.next()? {
                let runs = newest.entry(row.get(0)?).or_default();
                if runs.len() < NEWEST {
                    runs.push(row.get(1)?);
                }
            }
            Ok(newest)
        };
        let newest = read().map_err(|source| self.failed(source))?;
        let figure = |(scenario, runs): (String, Vec<f64>)| Some((scenario, median(&runs)?));
        Ok(newest.into_iter().filter_map(figure).collect())
    }
}
