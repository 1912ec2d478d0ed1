//! A series over time: for people to look at, and never a gate. A single point out of line is noise until more runs say the same.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::change_point::{self, ChangePoint};
use crate::measure::Measure;
use crate::number;
use crate::series::{Figures, Series};

/// How many of the runs before the latest one it is held against.
pub const WINDOW: usize = 20;

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
    /// Its runs, the oldest first; never empty.
    pub points: Vec<Point>,
    /// Where the level changed for good; indices into `points`, in order.
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
    let points: Vec<_> = runs.iter().filter_map(|run| point(run, measure)).collect();
    if points.is_empty() {
        return None;
    }
    let means: Vec<_> = points.iter().map(|point| point.mean).collect();
    Some(Trend {
        series: series.clone(),
        measure,
        changes: change_point::find(&means, SEED),
        standing: standing(&means, measure),
        points,
    })
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
    let half = sorted.len() / 2;
    let median = if sorted.len().is_multiple_of(2) {
        f64::midpoint(sorted[half - 1], sorted[half])
    } else {
        sorted[half]
    };
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
        assert_eq!(said(&[10.0, 9.5]), "-5.0 % against the one run before");
        assert_eq!(
            said(&[10.0, 10.2, 9.0]),
            "-11 % against the median of the 2 runs before, worse than any of them"
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
