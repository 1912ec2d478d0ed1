//! A step's figures, repetition by repetition.

use std::collections::BTreeMap;

use sanlab_record::{Measurement, RunRecord, Sample};

use crate::load::measure::Measure;

const MIB: f64 = (1 << 20) as f64;
const GIB: f64 = (1 << 30) as f64;
const NANOSECONDS: f64 = 1e9;

/// Below the clock's grain.
const GRAIN_SECONDS: f64 = 1e-6;

/// The labels of all steps that measured or sampled, in the order of the run, background ones last.
pub(super) fn steps(record: &RunRecord) -> Vec<&str> {
    let measured = record.measurements.iter().map(|one| one.step.as_str());
    let sampled = record.samples.iter().map(|one| one.step.as_str());
    let mut steps = Vec::new();
    for step in measured.chain(sampled) {
        if !steps.contains(&step) {
            steps.push(step);
        }
    }
    steps
}

/// By measure, the figures of all repetitions of a step but warm-ups.
pub(super) fn of(record: &RunRecord, step: &str) -> BTreeMap<Measure, Vec<f64>> {
    let mut figures: BTreeMap<Measure, Vec<f64>> = BTreeMap::new();
    let mut add = |measure, figure: Option<f64>| {
        if let Some(figure) = figure.filter(|figure| figure.is_finite()) {
            figures.entry(measure).or_default().push(figure);
        }
    };
    let measured: Vec<_> = record
        .measurements
        .iter()
        .filter(|one| one.step == step)
        .collect();
    if measured.is_empty() {
        for samples in by_repetition(record, step) {
            let bytes: u64 = samples.iter().map(|sample| sample.bytes).sum();
            let longest = samples
                .iter()
                .map(|sample| sample.host_seconds)
                .fold(0.0, f64::max);
            add(Measure::Throughput, rate(bytes, longest));
            add(Measure::GuestThroughput, told(&samples));
            add(Measure::LatencyP99, worst_latency(&samples));
        }
    }
    for one in measured
        .into_iter()
        .filter(|one| !one.warm_up && one.bytes > 0)
    {
        let samples = samples(record, step, one.repetition);
        let throughput = rate(one.bytes, one.seconds);
        add(Measure::Throughput, throughput);
        let seconds: f64 = one.nodes.values().map(|cost| cost.host_cpu_seconds).sum();
        let instructions = instructions(one);
        let pace = instructions.map(|count| seconds * NANOSECONDS / count);
        let normalised = throughput.zip(pace);
        add(
            Measure::CpuNormalisedThroughput,
            normalised.map(|(rate, pace)| rate * pace),
        );
        add(Measure::GuestThroughput, told(&samples));
        let mib = one.bytes as f64 / MIB;
        add(Measure::Instructions, instructions.map(|count| count / mib));
        add(Measure::HostCpu, Some(seconds / (one.bytes as f64 / GIB)));
        let sent: u64 = one.nodes.values().map(|cost| cost.sent_bytes).sum();
        add(Measure::SwitchBytes, Some(sent as f64 / one.bytes as f64));
        add(Measure::LatencyP99, worst_latency(&samples));
    }
    figures
}

fn samples<'r>(record: &'r RunRecord, step: &str, repetition: u32) -> Vec<&'r Sample> {
    let mine = |one: &&Sample| one.step == step && one.repetition == repetition && !one.warm_up;
    record.samples.iter().filter(mine).collect()
}

/// A step's samples, those of a repetition together. How fast a writer was that keeps a pace is no figure: it has none of its own.
fn by_repetition<'r>(record: &'r RunRecord, step: &str) -> Vec<Vec<&'r Sample>> {
    let mut repetitions: BTreeMap<u32, Vec<&Sample>> = BTreeMap::new();
    for sample in record
        .samples
        .iter()
        .filter(|one| one.step == step && !one.warm_up && !keeps_a_pace(one))
    {
        repetitions
            .entry(sample.repetition)
            .or_default()
            .push(sample);
    }
    repetitions.into_values().collect()
}

fn keeps_a_pace(sample: &Sample) -> bool {
    let acknowledged = sample.acknowledged.as_ref();
    acknowledged.is_some_and(|told| told.interval_seconds.is_some())
}

fn rate(bytes: u64, seconds: f64) -> Option<f64> {
    (bytes > 0).then(|| bytes as f64 / MIB / seconds.max(GRAIN_SECONDS))
}

/// The rates that writers or readers reported, added up.
fn told(samples: &[&Sample]) -> Option<f64> {
    (!samples.is_empty()).then(|| samples.iter().map(|sample| sample.mib_per_second).sum())
}

/// Of all guests or none: a sum without one of them would look like a gain.
fn instructions(one: &Measurement) -> Option<f64> {
    let counts: Option<Vec<u64>> = one.nodes.values().map(|cost| cost.instructions).collect();
    let counts = counts.filter(|counts| !counts.is_empty())?;
    Some(counts.iter().sum::<u64>() as f64)
}

/// Of all writers or none, for the same reason.
fn worst_latency(samples: &[&Sample]) -> Option<f64> {
    let latencies: Option<Vec<f64>> = samples
        .iter()
        .map(|sample| sample.latency.map(|latency| latency.p99))
        .collect();
    latencies?.into_iter().reduce(f64::max)
}
