//! The newest runs of series: what trends and baselines need, and what `prune` leaves.

use std::collections::{BTreeMap, BTreeSet};

use super::History;
use crate::error::ReportError;
use crate::load::measure::Measure;
use crate::load::series::{Figures, Series};

/// What was taken out of a history.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Runs that nothing is known of any more.
    pub runs: usize,
    /// Figures of runs, one a run and series.
    pub entries: usize,
}

impl History {
    /// Its series, and how many runs each has.
    pub fn series(&self) -> Result<Vec<(Series, usize)>, ReportError> {
        let read = || -> rusqlite::Result<Vec<(String, i64)>> {
            let mut statement = self.connection.prepare(
                "SELECT series.key, count(entries.id) FROM series JOIN entries ON entries.series = series.id
                 GROUP BY series.id",
            )?;
            let rows = statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect()
        };
        let rows = read().map_err(|source| self.failed(source))?;
        let mut all = rows
            .into_iter()
            .map(|(key, count)| {
                let count = usize::try_from(count).unwrap_or_default();
                Ok((self.parsed("a series", &key)?, count))
            })
            .collect::<Result<Vec<(Series, usize)>, ReportError>>()?;
        all.sort_unstable();
        Ok(all)
    }

    /// Of each of these series the newest runs, at most `most`; the oldest first.
    pub fn newest(
        &self,
        series: &BTreeSet<Series>,
        most: usize,
    ) -> Result<Vec<Figures>, ReportError> {
        let mut all = Vec::new();
        for one in series {
            let rows = self
                .newest_rows(one, most)
                .map_err(|source| self.failed(source))?;
            for (entry, origin, started) in rows {
                all.push(Figures {
                    series: one.clone(),
                    started,
                    origin: self.parsed("the origin of figures", &origin)?,
                    repetitions: self
                        .repetitions_of(entry)
                        .map_err(|source| self.failed(source))?,
                });
            }
        }
        all.sort_by(|one, other| one.started.total_cmp(&other.started));
        Ok(all)
    }

    fn newest_rows(
        &self,
        series: &Series,
        most: usize,
    ) -> rusqlite::Result<Vec<(i64, String, f64)>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT id, origin, started FROM entries WHERE series = (SELECT id FROM series WHERE key = ?1)
             ORDER BY started DESC, id DESC LIMIT ?2",
        )?;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let rows = statement.query_map((super::import::json(series), most), |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
        rows.collect()
    }

    /// A measure of a later version is left out.
    fn repetitions_of(&self, entry: i64) -> rusqlite::Result<BTreeMap<Measure, Vec<f64>>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT word, value FROM figures JOIN measures ON measures.id = measure WHERE entry = ?1
             ORDER BY measure, repetition",
        )?;
        let mut rows = statement.query([entry])?;
        let mut repetitions: BTreeMap<Measure, Vec<f64>> = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let word: String = row.get(0)?;
            if let Some(measure) = Measure::parse(&word) {
                repetitions.entry(measure).or_default().push(row.get(1)?);
            }
        }
        Ok(repetitions)
    }

    /// Keeps the newest runs of each series, at most `keep`, and as many of those that have no figures; gives the space back.
    pub fn prune(&mut self, keep: usize) -> Result<Pruned, ReportError> {
        let path = self.path.clone();
        let failed = |source| ReportError::history(&path, source);
        let keep = i64::try_from(keep).unwrap_or(i64::MAX);
        let mut prune = || -> rusqlite::Result<Pruned> {
            let transaction = self.connection.transaction()?;
            transaction.execute(
                "CREATE TEMPORARY TABLE old AS SELECT id FROM (
                    SELECT id, row_number() OVER (PARTITION BY series ORDER BY started DESC, id DESC) AS age
                    FROM entries
                 ) WHERE age > ?1",
                [keep],
            )?;
            transaction.execute(
                "CREATE TEMPORARY TABLE gone AS SELECT DISTINCT run AS id FROM entries WHERE id IN (SELECT id FROM old)",
                (),
            )?;
            transaction.execute(
                "DELETE FROM figures WHERE entry IN (SELECT id FROM old)",
                (),
            )?;
            let entries =
                transaction.execute("DELETE FROM entries WHERE id IN (SELECT id FROM old)", ())?;
            // Of the runs that never had figures the oldest, and those that have none any more.
            transaction.execute(
                "INSERT INTO gone SELECT id FROM runs WHERE id NOT IN (SELECT run FROM entries)
                 AND id NOT IN (SELECT id FROM gone) ORDER BY started DESC LIMIT -1 OFFSET ?1",
                [keep],
            )?;
            let runs = transaction.execute(
                "DELETE FROM runs WHERE id IN (SELECT id FROM gone) AND id NOT IN (SELECT run FROM entries)",
                (),
            )?;
            transaction.execute(
                "DELETE FROM series WHERE id NOT IN (SELECT series FROM entries)",
                (),
            )?;
            transaction.execute_batch("DROP TABLE old; DROP TABLE gone;")?;
            transaction.commit()?;
            Ok(Pruned { runs, entries })
        };
        let pruned = prune().map_err(failed)?;
        self.connection.execute_batch("VACUUM").map_err(failed)?;
        Ok(pruned)
    }
}
