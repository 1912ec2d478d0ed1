//! A series over time: for people to look at, and never a gate. A single point out of line is noise until more runs say the same.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::load::measure::Measure;
use crate::load::series::{Figures, Series};
use crate::render::number;
use crate::statistics;
use crate::verdict::change_point::{self, ChangePoint};

/// How many of the runs before the latest one it is held against.
pub const WINDOW: usize = 20;

/// How many of its newest runs a trend has at most: what came before is neither drawn nor searched for changes.
pub const LONGEST: usize = 200;

/// The search for changes of level draws permutations from this: the same history shows the same changes.
const SEED: u64 = 6;

/// One run in a trend.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Point {
    /// When the run began, seconds since 1970.
    pub started: f64,
    /// Its figure: the mean of its repetitions, of what is counted that of their lower half.
    pub mean: f64,
    /// Its lowest repetition.
    pub low: f64,
    /// Its highest repetition.
    pub high: f64,
    /// What it was made of, as in [`Figures::origin`].
    pub origin: BTreeMap<String, String>,
}

/// The latest run against those before it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Standing {
    /// How many runs it is held against: at most [`WINDOW`], at least one.
    pub runs: usize,
    /// Their median.
    pub median: f64,
    /// The lowest of them.
    pub low: f64,
    /// The highest of them.
    pub high: f64,
    /// The latest by the median.
    pub ratio: f64,
    /// How many of them it is worse than. Of runs that are all alike, one in `runs + 1` is worse than all before it by chance
    /// alone: 5 % with a full window.
    pub worse_than: usize,
    /// How many of them it is better than.
    pub better_than: usize,
}

/// One measure of one series, run after run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Trend {
    /// Which series.
    pub series: Series,
    /// Which measure.
    pub measure: Measure,
    /// Its newest runs, at most [`LONGEST`], the oldest first; never empty.
    pub points: Vec<Point>,
    /// Where the level changed for good, by the measure's equivalence margin or more; indices into `points`, in order.
    pub changes: Vec<ChangePoint>,
    /// The latest against those before; absent where there is one run only.
    pub standing: Option<Standing>,
}

/// Every series and measure that there are figures of, in the order of series and then of tables.
pub fn trends(figures: &[Figures]) -> Vec<Trend> {
    let mut series: BTreeMap<&Series, Vec<&Figures>> = BTreeMap::new();
    for run in figures {
        series.entry(&run.series).or_default().push(run);
    }
    series
        .into_iter()
        .flat_map(|(series, mut runs)| {
            runs.sort_by(|one, other| one.started.total_cmp(&other.started));
            Measure::ALL
                .into_iter()
                .filter_map(move |measure| trend(series, measure, &runs))
        })
        .collect()
}

fn trend(series: &Series, measure: Measure, runs: &[&Figures]) -> Option<Trend> {
    let newest = &runs[runs.len().saturating_sub(LONGEST)..];
    let points: Vec<_> = newest
        .iter()
        .filter_map(|run| point(run, measure))
        .collect();
    if points.is_empty() {
        return None;
    }
    let means: Vec<_> = points.iter().map(|point| point.mean).collect();
    Some(Trend {
        series: series.clone(),
        measure,
        changes: of_interest(change_point::find(&means, SEED), measure.margin()),
        standing: standing(&means, measure),
        points,
    })
}

/// What is counted hardly varies, so that changes are found in it that nobody would look at. Several in one direction are told
/// as one as soon as they come to enough.
fn of_interest(changes: Vec<ChangePoint>, margin: f64) -> Vec<ChangePoint> {
    let mut level = changes.first().map(|first| first.before);
    let told = changes.into_iter().filter_map(|change| {
        let before = level?;
        if (change.after / before - 1.0).abs() < margin {
            return None;
        }
        level = Some(change.after);
        Some(ChangePoint { before, ..change })
    });
    told.collect()
}

fn point(run: &Figures, measure: Measure) -> Option<Point> {
    let repetitions = run.repetitions.get(&measure)?;
    Some(Point {
        started: run.started,
        mean: run.figure(measure)?,
        low: repetitions.iter().copied().fold(f64::INFINITY, f64::min),
        high: repetitions
            .iter()
            .copied()
            .fold(f64::NEG_INFINITY, f64::max),
        origin: run.origin.clone(),
    })
}

fn standing(means: &[f64], measure: Measure) -> Option<Standing> {
    let (&latest, before) = means.split_last()?;
    let window = &before[before.len().saturating_sub(WINDOW)..];
    if window.is_empty() {
        return None;
    }
    let mut sorted = window.to_vec();
    sorted.sort_by(f64::total_cmp);
    let median = statistics::median(window)?;
    let below = window.iter().filter(|&&mean| mean < latest).count();
    let above = window.iter().filter(|&&mean| mean > latest).count();
    let (worse_than, better_than) = if measure.higher_is_better() {
        (above, below)
    } else {
        (below, above)
    };
    Some(Standing {
        runs: window.len(),
        median,
        low: sorted[0],
        high: sorted[sorted.len() - 1],
        ratio: latest / median,
        worse_than,
        better_than,
    })
}

impl Trend {
    /// Whether there is more to say than that it is as usual: the level changed, or the latest run is out of the range of
    /// enough others, by the measure's equivalence margin or more.
    pub(crate) fn is_telling(&self) -> bool {
        /// Of fewer runs one is often the worst or the best.
        const ENOUGH: usize = 5;
        let is_out = |standing: &Standing| {
            standing.runs >= ENOUGH
                && (standing.worse_than == standing.runs || standing.better_than == standing.runs)
                && (standing.ratio - 1.0).abs() >= self.measure.margin()
        };
        !self.changes.is_empty() || self.standing.as_ref().is_some_and(is_out)
    }

    /// One sentence for people: how the latest run stands, or that there is nothing to hold it against.
    pub fn says(&self) -> String {
        let Some(standing) = self.standing else {
            return "one run so far: nothing to hold it against".to_owned();
        };
        let away = number::change(standing.ratio);
        let others = match standing.runs {
            1 => "the one run before".to_owned(),
            runs => format!("the median of the {runs} runs before"),
        };
        let rank = if standing.runs < 2 {
            ""
        } else if standing.worse_than == standing.runs {
            ", worse than any of them"
        } else if standing.better_than == standing.runs {
            ", better than any of them"
        } else {
            ", within their range"
        };
        format!("{away} against {others}{rank}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(started: f64, step: &str, throughput: &[f64]) -> Figures {
        Figures {
            series: Series {
                scenario: "s".to_owned(),
                step: step.to_owned(),
                dimensions: BTreeMap::new(),
            },
            started,
            origin: BTreeMap::new(),
            repetitions: BTreeMap::from([(Measure::Throughput, throughput.to_vec())]),
        }
    }

    #[test]
    fn small_changes_are_told_when_they_come_to_enough() {
        let change = |index, before, after| ChangePoint {
            index,
            before,
            after,
            p: 0.002,
        };
        let creeping = vec![
            change(3, 100.0, 101.0),
            change(6, 101.0, 102.5),
            change(9, 102.5, 103.0),
            change(12, 103.0, 90.0),
        ];
        let told = of_interest(creeping, 0.02);
        assert_eq!(told, [change(6, 100.0, 102.5), change(12, 102.5, 90.0)]);
        assert_eq!(of_interest(vec![change(3, 1.0, 1.0001)], 0.02), []);
    }

    #[test]
    fn the_latest_tells_something_when_it_is_out_of_range_and_that_is_of_interest() {
        let is_telling = |latest: f64| {
            let before = [100.0, 100.1, 100.2, 100.1, 100.0];
            let rates = before.into_iter().chain([latest]).enumerate();
            let runs: Vec<_> = rates
                .map(|(at, rate)| run(at as f64, "dd", &[rate]))
                .collect();
            trends(&runs)[0].is_telling()
        };
        assert!(!is_telling(100.15), "in their range");
        assert!(!is_telling(99.0), "worse than any, by one in a hundred");
        assert!(is_telling(90.0));
    }

    #[test]
    fn runs_of_a_series_stand_in_the_order_of_time() {
        let runs = [
            run(3.0, "dd", &[30.0, 34.0]),
            run(1.0, "dd", &[10.0]),
            run(2.0, "fio", &[99.0]),
            run(2.0, "dd", &[20.0]),
        ];
        let found = trends(&runs);
        assert_eq!(found.len(), 2, "one a series and measure");
        let means: Vec<_> = found[0].points.iter().map(|point| point.mean).collect();
        assert_eq!(means, [10.0, 20.0, 32.0]);
        assert_eq!(
            (found[0].points[2].low, found[0].points[2].high),
            (30.0, 34.0)
        );
    }

    #[test]
    fn a_series_with_one_point_says_so() {
        let found = trends(&[run(1.0, "dd", &[10.0])]);
        assert_eq!(found[0].standing, None);
        assert!(found[0].changes.is_empty());
        assert_eq!(
            found[0].says(),
            "one run so far: nothing to hold it against"
        );
    }

    #[test]
    fn a_run_without_repetitions_is_no_point() {
        assert!(trends(&[run(1.0, "dd", &[])]).is_empty());
    }

    #[test]
    fn the_window_leaves_old_runs_out() {
        let mut means = vec![1000.0; 5];
        means.extend((0..WINDOW).map(|index| 100.0 + index as f64));
        means.push(50.0);
        let standing = standing(&means, Measure::Throughput).expect("there are runs before");
        assert_eq!(standing.runs, WINDOW);
        assert_eq!(
            (standing.low, standing.median, standing.high),
            (100.0, 109.5, 119.0)
        );
        assert_eq!((standing.worse_than, standing.better_than), (WINDOW, 0));
    }

    #[test]
    fn less_is_worse_or_better_by_the_measure() {
        let means = [10.0, 12.0, 9.0];
        let throughput = standing(&means, Measure::Throughput).expect("two before");
        assert_eq!((throughput.worse_than, throughput.better_than), (2, 0));
        let instructions = standing(&means, Measure::Instructions).expect("two before");
        assert_eq!((instructions.worse_than, instructions.better_than), (0, 2));
        // As good as one of them is neither better nor worse than that one.
        let even = standing(&[10.0, 12.0, 10.0], Measure::Throughput).expect("two before");
        assert_eq!((even.worse_than, even.better_than), (1, 0));
    }

    #[test]
    fn sentences() {
        let said = |means: &[f64]| {
            let runs: Vec<_> = means
                .iter()
                .enumerate()
                .map(|(index, &mean)| run(index as f64, "dd", &[mean]))
                .collect();
            trends(&runs)[0].says()
        };
        assert_eq!(said(&[10.0, 9.5]), "−5.0 % against the one run before");
        assert_eq!(
            said(&[10.0, 10.2, 9.0]),
            "−11 % against the median of the 2 runs before, worse than any of them"
        );
        assert_eq!(
            said(&[10.0, 10.2, 10.1]),
            "0.0 % against the median of the 2 runs before, within their range"
        );
        assert_eq!(
            said(&[10.0, 10.0, 11.0]),
            "+10 % against the median of the 2 runs before, better than any of them"
        );
    }
}
