//! The runs of a report as benchmarks, for services that follow names over time.

use std::collections::BTreeMap;

use sanlab_record::RunRecord;

use crate::load::counted;
use crate::load::measure::Measure;
use crate::load::series::{Figures, Series, figures};
use crate::render::apart::apart;
use crate::render::report::Report;
use crate::render::view::{joined, settings};

/// One series under a name that stays the same from report to report.
pub(crate) struct Benchmark {
    /// `throughput/two_nodes/write mtu=1500`: scenario, step, and what the run was given in place of what its scenario says.
    pub(crate) name: String,
    pub(crate) series: Series,
    pub(crate) measures: BTreeMap<Measure, Summary>,
}

/// The runs of a series in one measure.
pub(crate) struct Summary {
    /// The mean of the runs' means.
    pub(crate) mean: f64,
    /// The lowest run, or of a single run the lowest repetition.
    pub(crate) low: f64,
    /// The highest.
    pub(crate) high: f64,
    pub(crate) runs: usize,
}

/// Every series of the report's runs, apart by what they were given.
pub(crate) fn benchmarks(report: &Report) -> Vec<Benchmark> {
    let mut found: BTreeMap<(String, Series), Vec<Figures>> = BTreeMap::new();
    for record in counted(&report.runs, &report.comparisons) {
        for figures in figures(record) {
            let key = (short_name(record, &figures), figures.series.clone());
            found.entry(key).or_default().push(figures);
        }
    }
    let all: Vec<_> = found.keys().collect();
    found
        .iter()
        .map(|(key, runs)| Benchmark {
            name: name(key, &all),
            series: key.1.clone(),
            measures: Measure::ALL
                .into_iter()
                .filter_map(|measure| Some((measure, summary(runs, measure)?)))
                .collect(),
        })
        .collect()
}

fn short_name(record: &RunRecord, figures: &Figures) -> String {
    let name = format!("{}/{}", figures.series.scenario, figures.series.step);
    joined(&name, &settings(&record.settings))
}

/// Where the short name is not enough to tell the report's series apart, as with runs of two hosts, what they differ in is added.
fn name((short, series): &(String, Series), all: &[&(String, Series)]) -> String {
    let others = all.iter().filter(|(name, _)| name == short);
    apart(series, others.map(|(_, other)| other))
        .into_iter()
        .fold(short.clone(), |name, (key, value)| {
            format!("{name} {key}={value}")
        })
}

fn summary(runs: &[Figures], measure: Measure) -> Option<Summary> {
    let means: Vec<_> = runs
        .iter()
        .filter_map(|run| run.figure(measure))
        .filter(|mean| mean.is_finite())
        .collect();
    let spread = match (means.len(), runs) {
        (0, _) => return None,
        (1, _) => runs
            .iter()
            .filter_map(|run| run.repetitions.get(&measure.repeated()))
            .flatten()
            .copied()
            .collect(),
        _ => means.clone(),
    };
    Some(Summary {
        mean: means.iter().sum::<f64>() / means.len() as f64,
        low: spread.iter().copied().fold(f64::INFINITY, f64::min),
        high: spread.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        runs: means.len(),
    })
}
