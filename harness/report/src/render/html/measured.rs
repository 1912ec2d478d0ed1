//! What a run's measuring steps say.

use std::collections::BTreeSet;

use sanlab_record::{Measurement, RunRecord};

use crate::load::measure::Measure;
use crate::load::series;
use crate::render::chart::sparkline;
use crate::render::number::{count, figure, seconds, size};
use crate::statistics::quantile;

/// The measures of one step.
pub(super) struct MeasuredStep {
    pub(super) name: String,
    pub(super) rows: Vec<MeasuredRow>,
}

/// One measure of one step.
pub(super) struct MeasuredRow {
    pub(super) measure: &'static str,
    pub(super) unit: &'static str,
    pub(super) median: String,
    pub(super) range: String,
    pub(super) count: usize,
    pub(super) spark: String,
}

/// Step by step, in the order of measures.
pub(super) fn steps(record: &RunRecord) -> Vec<MeasuredStep> {
    let figures = series::figures(record).into_iter();
    figures
        .map(|figures| MeasuredStep {
            rows: Measure::ALL
                .into_iter()
                .filter_map(|measure| row(measure, figures.repetitions.get(&measure)?))
                .collect(),
            name: figures.series.step,
        })
        .collect()
}

fn row(measure: Measure, values: &[f64]) -> Option<MeasuredRow> {
    let at = |share| quantile(values, share).map(figure);
    let label = format!("{} in order", measure.title());
    Some(MeasuredRow {
        measure: measure.title(),
        unit: measure.unit(),
        median: at(0.5)?,
        range: format!("{} to {}", at(0.0)?, at(1.0)?),
        count: values.len(),
        // One figure has no course.
        spark: if values.len() > 1 {
            sparkline::draw(&label, values, 96.0)
        } else {
            String::new()
        },
    })
}

/// What each measuring step did, a sentence each.
pub(super) fn works(record: &RunRecord) -> Vec<String> {
    let mut told = BTreeSet::new();
    let first = |one: &&Measurement| told.insert(one.step.clone());
    let steps: Vec<_> = record.measurements.iter().filter(first).collect();
    steps.into_iter().map(|one| work(one, record)).collect()
}

fn work(measurement: &Measurement, record: &RunRecord) -> String {
    let work = &measurement.work;
    let amount = match work.runtime_seconds {
        Some(time) => format!("for {}", seconds(time)),
        None => format!("{} each", size(work.bytes_each)),
    };
    let cache = if work.direct { "O_DIRECT" } else { "buffered" };
    let mut text = format!(
        "{}: {} {} on {}, {amount} in requests of {}, {} under way at a time, {cache}",
        measurement.step,
        work.tool,
        work.rw,
        work.on.join(", "),
        size(work.block_bytes),
        work.queue_depth
    );
    match work.sync.as_str() {
        "end" => text.push_str(", one fsync at the end"),
        "each" => text.push_str(", synced with every request"),
        _ => {}
    }
    let is_warm_up = |one: &&Measurement| one.step == measurement.step && one.warm_up;
    let warm_ups = record.measurements.iter().filter(is_warm_up).count();
    if warm_ups > 0 {
        let warm_ups = count(warm_ups, "warm-up");
        text.push_str("; ");
        text.push_str(&warm_ups);
        text.push_str(" left out");
    }
    text
}
