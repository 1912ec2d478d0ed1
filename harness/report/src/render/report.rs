//! What all renderers are given.

use std::collections::BTreeSet;
use std::fmt;

use sanlab_record::{Outcome, RunRecord};
use serde::Serialize;

use crate::load::series::{Figures, Series, figures};
use crate::load::{Loaded, LoadedComparison, LoadedRun, counted};
use crate::render::number::count;
use crate::verdict::Verdict;
use crate::verdict::baseline::AgainstBaseline;
use crate::verdict::trend::{self, Trend};

/// One report: pure data, rendered without another look at any file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// For people.
    pub title: String,
    /// When it was made, seconds since 1970.
    pub made: f64,
    /// What came of everything that was compared: the gravest. Absent where nothing was.
    pub verdict: Option<Verdict>,
    /// The comparisons, the oldest first.
    pub comparisons: Vec<LoadedComparison>,
    /// How the runs compare with a committed baseline, if one was given.
    pub baseline: Option<AgainstBaseline>,
    /// The series of these runs over time, with what history knows of them.
    pub trends: Vec<Trend>,
    /// The runs, the oldest first; those of the comparisons too.
    pub runs: Vec<LoadedRun>,
}

/// How many runs ended how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Every step did what it must.
    pub passed: usize,
    /// The stack under test did not do what it must.
    pub failed: usize,
    /// The stack failed in the way that its scenario names as known.
    pub known_failures: usize,
    /// The lab could not do its part.
    pub broken: usize,
    /// Not run.
    pub skipped: usize,
}

impl Report {
    /// Gathers a report. `past` is what history knows ([`History::figures`](crate::history::History::figures)), or empty: of it
    /// are taken the series that the loaded runs have, and a run that is in both counts once.
    pub fn new(
        title: &str,
        made: f64,
        loaded: Loaded,
        past: &[Figures],
        baseline: Option<AgainstBaseline>,
    ) -> Self {
        let Loaded {
            runs, comparisons, ..
        } = loaded;
        let now: Vec<_> = counted(&runs, &comparisons).flat_map(figures).collect();
        Self {
            title: title.to_owned(),
            made,
            verdict: gravest(&comparisons, baseline.as_ref()),
            comparisons,
            baseline,
            trends: trend::trends(&with_past(now, past)),
            runs,
        }
    }

    /// What its runs say, the oldest first; without those that only prepared comparisons.
    pub fn figures(&self) -> Vec<Figures> {
        counted(&self.runs, &self.comparisons)
            .flat_map(figures)
            .collect()
    }

    /// How its runs ended.
    pub fn outcomes(&self) -> Outcomes {
        Outcomes::of(self.runs.iter().map(|run| &run.record))
    }
}

impl Outcomes {
    /// Counts.
    pub fn of<'r>(records: impl IntoIterator<Item = &'r RunRecord>) -> Self {
        let mut outcomes = Self::default();
        for record in records {
            match record.outcome {
                Outcome::Passed => outcomes.passed += 1,
                Outcome::Failed(_) => outcomes.failed += 1,
                Outcome::Broken(_) => outcomes.broken += 1,
                Outcome::KnownFailure { .. } => outcomes.known_failures += 1,
                Outcome::Skipped { .. } => outcomes.skipped += 1,
            }
        }
        outcomes
    }
}

/// `20 passed, 2 known failures, 1 failed`; of nothing, `no runs`.
impl fmt::Display for Outcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [
            (self.passed, format!("{} passed", self.passed)),
            (
                self.known_failures,
                count(self.known_failures, "known failure"),
            ),
            (self.failed, format!("{} failed", self.failed)),
            (self.broken, format!("{} broken", self.broken)),
            (self.skipped, format!("{} skipped", self.skipped)),
        ];
        let told: Vec<_> = counts
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(_, words)| words)
            .collect();
        f.write_str(if told.is_empty() { "no runs" } else { "" })?;
        f.write_str(&told.join(", "))
    }
}

fn gravest(
    comparisons: &[LoadedComparison],
    baseline: Option<&AgainstBaseline>,
) -> Option<Verdict> {
    // The order of verdicts is from the gravest to the mildest.
    let compared = comparisons.iter().map(|loaded| loaded.comparison.verdict);
    compared
        .chain(baseline.map(|baseline| baseline.verdict))
        .min()
}

/// The figures of now and, before them, what the past has of the same series.
fn with_past(now: Vec<Figures>, past: &[Figures]) -> Vec<Figures> {
    let series: BTreeSet<&Series> = now.iter().map(|figures| &figures.series).collect();
    let runs: BTreeSet<(&Series, String)> = now.iter().map(identity).collect();
    let mut all: Vec<_> = past
        .iter()
        .filter(|figures| series.contains(&figures.series) && !runs.contains(&identity(figures)))
        .cloned()
        .collect();
    all.extend(now);
    all
}

/// A run has one entry a series, and no two runs of a series begin within a microsecond; finer digits may be lost where a number
/// was written as text.
fn identity(figures: &Figures) -> (&Series, String) {
    (&figures.series, format!("{:.6}", figures.started))
}

#[cfg(test)]
mod tests {
    use super::Outcomes;

    #[test]
    fn known_failures_are_counted_by_themselves() {
        let mut outcomes = Outcomes::default();
        assert_eq!(outcomes.to_string(), "no runs");
        outcomes.known_failures = 1;
        assert_eq!(outcomes.to_string(), "1 known failure");
        let outcomes = Outcomes {
            passed: 20,
            known_failures: 2,
            failed: 1,
            broken: 1,
            skipped: 1,
        };
        assert_eq!(
            outcomes.to_string(),
            "20 passed, 2 known failures, 1 failed, 1 broken, 1 skipped"
        );
    }
}
