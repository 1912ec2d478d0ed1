//! A run's raw figures and events as tables that are folded away.

use sanlab_record::{RunRecord, Sample};

use crate::render::chart::moment;
use crate::render::number::figure;

/// A table below a title.
pub(super) struct Fold {
    pub(super) title: String,
    /// Whether a column stands on the right, and what heads it.
    pub(super) heads: Vec<(bool, &'static str)>,
    pub(super) rows: Vec<Vec<(bool, String)>>,
}

/// More rows than this are for programs, which read the record.
const MOST: usize = 1000;

const MIB: f64 = 1_048_576.0;

/// Those that have rows.
pub(super) fn of(record: &RunRecord) -> Vec<Fold> {
    [
        samples(record),
        latencies(record),
        acknowledged(record),
        costs(record),
        nodes(record),
        events(record),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// `heads`: between bars; one that starts with `>` has its column on the right-hand side.
fn fold(title: &str, heads: &'static str, rows: Vec<Vec<String>>) -> Option<Fold> {
    let count = rows.len();
    let title = if count > MOST {
        format!("{title}: the first {MOST} of {count}; the record has all of them")
    } else {
        format!("{title}: {count}")
    };
    let heads: Vec<_> = heads
        .split('|')
        .map(|head| (head.starts_with('>'), head.trim_start_matches('>')))
        .collect();
    let sided = |row: Vec<String>| heads.iter().map(|head| head.0).zip(row).collect();
    let rows = rows.into_iter().take(MOST).map(sided).collect();
    (count > 0).then_some(Fold { title, heads, rows })
}

fn repetition(sample: &Sample) -> String {
    numbered(sample.repetition, sample.warm_up)
}

fn numbered(repetition: u32, warm_up: bool) -> String {
    if warm_up {
        format!("warm-up {repetition}")
    } else {
        repetition.to_string()
    }
}

fn samples(record: &RunRecord) -> Option<Fold> {
    let rows = record.samples.iter().map(|sample| {
        vec![
            sample.step.clone(),
            repetition(sample),
            sample.node.clone(),
            sample.arch.clone(),
            figure(sample.bytes as f64 / MIB),
            format!("{:.3}", sample.seconds),
            format!("{:.3}", sample.host_seconds),
            figure(sample.mib_per_second),
        ]
    });
    let heads = "step|repetition|node|arch|>MiB|>s|>s by the host|>MiB/s";
    fold("samples", heads, rows.collect())
}

fn latencies(record: &RunRecord) -> Option<Fold> {
    let rows = record.samples.iter().filter_map(|sample| {
        let latency = sample.latency?;
        let figures = [
            latency.p50,
            latency.p95,
            latency.p99,
            latency.p999,
            latency.max,
        ];
        let mut row = vec![
            sample.step.clone(),
            repetition(sample),
            sample.node.clone(),
            latency.requests.to_string(),
        ];
        row.extend(figures.map(figure));
        Some(row)
    });
    let heads = "step|repetition|node|>requests|>median µs|>95 %|>99 %|>99.9 %|>most";
    fold("latencies", heads, rows.collect())
}

fn acknowledged(record: &RunRecord) -> Option<Fold> {
    let rows = record.samples.iter().filter_map(|sample| {
        let told = sample.acknowledged.as_ref()?;
        Some(vec![
            sample.step.clone(),
            sample.node.clone(),
            told.blocks.to_string(),
            format!("{:.2}", told.longest_gap_seconds),
            moment(told.longest_gap_at),
        ])
    });
    let heads = "step|node|>blocks|>longest gap, s|>from";
    fold("acknowledged", heads, rows.collect())
}

fn costs(record: &RunRecord) -> Option<Fold> {
    let rows = record.measurements.iter().flat_map(|one| {
        one.nodes.iter().map(|(node, cost)| {
            let counted = cost.instructions.map(|count| figure(count as f64));
            vec![
                one.step.clone(),
                numbered(one.repetition, one.warm_up),
                node.clone(),
                counted.unwrap_or_else(|| "-".to_owned()),
                figure(cost.host_cpu_seconds),
                figure(cost.sent_bytes as f64 / MIB),
                figure(cost.received_bytes as f64 / MIB),
            ]
        })
    });
    let heads = "step|repetition|node|>instructions|>CPU s|>sent MiB|>received MiB";
    fold("costs of repetitions", heads, rows.collect())
}

fn nodes(record: &RunRecord) -> Option<Fold> {
    let rows = record.nodes.iter().map(|(name, node)| {
        vec![
            name.clone(),
            node.arch.clone(),
            node.memory_mib.to_string(),
            figure(node.pss_bytes as f64 / MIB),
            figure(node.peak_rss_bytes as f64 / MIB),
            format!("{:.1}", node.host_cpu_seconds),
            figure(node.port.sent_bytes as f64 / MIB),
            figure(node.port.received_bytes as f64 / MIB),
            node.port.dropped_frames.to_string(),
        ]
    });
    let heads =
        "node|arch|>RAM MiB|>PSS MiB|>peak RSS MiB|>CPU s|>sent MiB|>received MiB|>dropped frames";
    fold("nodes", heads, rows.collect())
}

fn events(record: &RunRecord) -> Option<Fold> {
    let rows = record.events.iter().map(|event| {
        vec![
            moment(event.at),
            event
                .phase
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            event.node.clone().unwrap_or_default(),
            event.kind.to_string(),
        ]
    });
    fold("events", ">at|phase|node|what", rows.collect())
}
