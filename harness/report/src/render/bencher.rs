//! The runs of a report in Bencher Metric Format, for `bencher run --adapter json --file FILE`.
//!
//! The format: an object by benchmark, in it an object by measure, in it `value`, `lower_value` and `upper_value`
//! (<https://bencher.dev/docs/reference/bencher-metric-format>). It has no units: those stand in the measure's name, which may
//! have 64 characters; a benchmark's may have 1024.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::render::benchmark::benchmarks;
use crate::render::report::Report;

/// The longest name of a benchmark that is accepted, characters.
const NAME: usize = 1024;

#[derive(Serialize)]
struct Metric {
    value: f64,
    lower_value: f64,
    upper_value: f64,
}

/// The mean of each series' runs with the lowest and the highest of them; of a single run, of its repetitions. Measures are
/// called `throughput (MiB/s)` and so on.
pub fn render(report: &Report) -> String {
    let mut metrics: BTreeMap<String, BTreeMap<String, Metric>> = BTreeMap::new();
    for benchmark in benchmarks(report) {
        let name = benchmark.name.chars().take(NAME).collect();
        let measures = benchmark.measures.into_iter().map(|(measure, summary)| {
            let metric = Metric {
                value: summary.mean,
                lower_value: summary.low,
                upper_value: summary.high,
            };
            (format!("{} ({})", measure.title(), measure.unit()), metric)
        });
        metrics.insert(name, measures.collect());
    }
    // Maps with string keys and finite numbers: nothing in it can fail to serialise.
    let mut text = serde_json::to_string_pretty(&metrics).expect("metrics are plain data");
    text.push('\n');
    text
}
