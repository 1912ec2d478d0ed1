//! The runs of a report for github-action-benchmark, as its tools `customBiggerIsBetter` and `customSmallerIsBetter` read them:
//! an array of objects with `name`, `unit`, `value`, `range` and `extra`. Each tool takes one file, so that there is a file for
//! each direction.

use serde::Serialize;

use crate::render::benchmark::{Benchmark, Summary, benchmarks};
use crate::render::number;
use crate::render::report::Report;

/// Which of the two tools the file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// `customBiggerIsBetter`: throughput.
    BiggerIsBetter,
    /// `customSmallerIsBetter`: what a MiB costs, and how long requests take.
    SmallerIsBetter,
}

impl Direction {
    /// Both.
    pub const ALL: [Self; 2] = [Self::BiggerIsBetter, Self::SmallerIsBetter];

    /// What the file should be called.
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::BiggerIsBetter => "bigger-is-better.json",
            Self::SmallerIsBetter => "smaller-is-better.json",
        }
    }
}

#[derive(Serialize)]
struct Entry {
    name: String,
    unit: &'static str,
    value: f64,
    range: String,
    extra: String,
}

/// The measures of one direction, an entry a series and measure. `range` is how far the runs lie from their mean; of a single
/// run, its repetitions. `extra` says how many runs there are, and under which circumstances.
pub fn render(report: &Report, direction: Direction) -> String {
    let entries: Vec<_> = benchmarks(report)
        .iter()
        .flat_map(|benchmark| {
            benchmark
                .measures
                .iter()
                .filter(|(measure, _)| {
                    measure.higher_is_better() == (direction == Direction::BiggerIsBetter)
                })
                .map(|(measure, summary)| Entry {
                    name: format!("{}: {}", benchmark.name, measure.title()),
                    unit: measure.unit(),
                    value: summary.mean,
                    range: range(summary),
                    extra: extra(benchmark, summary),
                })
        })
        .collect();
    // Strings and finite numbers: nothing in it can fail to serialise.
    let mut text = serde_json::to_string_pretty(&entries).expect("entries are plain data");
    text.push('\n');
    text
}

fn range(summary: &Summary) -> String {
    let away = (summary.high - summary.mean).max(summary.mean - summary.low);
    format!("± {}", number::figure(away))
}

fn extra(benchmark: &Benchmark, summary: &Summary) -> String {
    let runs = number::count(summary.runs, "run");
    benchmark
        .series
        .dimensions
        .iter()
        .fold(runs, |text, (key, value)| format!("{text}\n{key}: {value}"))
}
