//! What was measured, step by step: the median of the repetitions, and the least and the most of them.

use sanlab_record::{Measurement, RunRecord, Sample};

use super::{median, mib};
use crate::quantity::size;
use crate::table::Table;

/// One line for every measuring step.
pub(super) fn steps(record: &RunRecord) -> Table {
    let mut table = Table::new(&[
        "step",
        "work",
        ">times",
        ">MiB/s",
        ">M instructions/MiB",
        ">CPU s/GiB",
        ">switch B/B",
    ]);
    let mut labels: Vec<&str> = Vec::new();
    for Measurement { step, .. } in &record.measurements {
        if !labels.contains(&step.as_str()) {
            labels.push(step);
        }
    }
    for label in labels {
        let counts = |one: &&Measurement| one.step == label && !one.warm_up && one.bytes > 0;
        let rounds: Vec<&Measurement> = record.measurements.iter().filter(counts).collect();
        let Some(first) = rounds.first() else {
            continue;
        };
        let of_each = |figure: fn(&Measurement) -> Option<f64>, digits: usize| {
            spread(
                rounds.iter().filter_map(|one| figure(one)).collect(),
                digits,
            )
        };
        table.row([
            label.to_owned(),
            work(first),
            rounds.len().to_string(),
            of_each(|one| Some(rate(one)), 1),
            of_each(instructions, 3),
            of_each(cpu, 1),
            of_each(switch, 3),
        ]);
    }
    table
}

/// Whether a sample's step was done more than once: then the line of its step stands for it.
pub(super) fn is_repeated(record: &RunRecord, sample: &Sample) -> bool {
    let rounds = |one: &&Measurement| one.step == sample.step;
    record.measurements.iter().filter(rounds).count() > 1
}

/// One line for every look at what an event did to writers.
pub(super) fn dips(record: &RunRecord) -> Table {
    let mut table = Table::new(&[
        "dip",
        "of",
        "around",
        ">before MiB/s",
        ">during",
        ">after",
        ">missing at worst",
        ">below half (s)",
        ">newcomers add",
    ]);
    for dip in &record.dips {
        table.row([
            dip.step.clone(),
            dip.of.clone(),
            dip.around.clone(),
            format!("{:.1}", dip.before_mib_per_second),
            format!("{:.1}", dip.during_mib_per_second),
            dip.after_mib_per_second
                .map_or_else(|| "-".to_owned(), |after| format!("{after:.1}")),
            format!("{:.0} %", dip.depth * 100.0),
            format!("{:.1}", dip.length_seconds),
            dip.adds
                .map_or_else(|| "-".to_owned(), |adds| format!("{:+.0} %", adds * 100.0)),
        ]);
    }
    table
}

/// `dd write 1 MiB direct by 4`.
fn work(one: &Measurement) -> String {
    let work = &one.work;
    let direct = if work.direct { " direct" } else { "" };
    let depth = match work.queue_depth {
        1 => String::new(),
        depth => format!(" depth {depth}"),
    };
    format!(
        "{} {} {}{direct}{depth} by {}",
        work.tool,
        work.rw,
        size(work.block_bytes),
        work.on.len()
    )
}

fn rate(one: &Measurement) -> f64 {
    mib(one.bytes) / one.seconds.max(1e-6)
}

/// Millions; `None` unless every node was counted.
fn instructions(one: &Measurement) -> Option<f64> {
    let counted = one.nodes.values().map(|cost| cost.instructions);
    let all: u64 = counted.sum::<Option<u64>>()?;
    (!one.nodes.is_empty()).then(|| all as f64 / 1e6 / mib(one.bytes))
}

fn cpu(one: &Measurement) -> Option<f64> {
    let all: f64 = one.nodes.values().map(|cost| cost.host_cpu_seconds).sum();
    (!one.nodes.is_empty()).then(|| all / (mib(one.bytes) / 1024.0))
}

fn switch(one: &Measurement) -> Option<f64> {
    let all: u64 = one.nodes.values().map(|cost| cost.sent_bytes).sum();
    (!one.nodes.is_empty()).then(|| all as f64 / one.bytes as f64)
}

/// The median, and in parentheses the least and the most if there are several.
fn spread(mut figures: Vec<f64>, digits: usize) -> String {
    figures.sort_by(f64::total_cmp);
    let Some(middle) = median(&figures) else {
        return "-".to_owned();
    };
    match &figures[..] {
        [least, .., most] => format!("{middle:.digits$} ({least:.digits$}-{most:.digits$})"),
        _ => format!("{middle:.digits$}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_name_the_median_the_least_and_the_most() {
        assert_eq!(spread(vec![3.0, 1.0, 2.25], 1), "2.2 (1.0-3.0)");
        assert_eq!(spread(vec![1.5], 2), "1.50");
        assert_eq!(spread(Vec::new(), 2), "-");
    }

    #[test]
    fn a_record_of_measurements_as_tables() {
        let text = include_str!("../../../../fixtures/records/throughput.json");
        let record = RunRecord::from_json(text).unwrap();
        insta::assert_snapshot!(steps(&record).render(0));
        assert!(is_repeated(&record, &record.samples[0]));
        let text = include_str!("../../../../fixtures/records/format-1.json");
        let record = RunRecord::from_json(text).unwrap();
        insta::assert_snapshot!(dips(&record).render(0));
        assert!(steps(&record).is_empty(), "a warm-up is no figure");
    }
}
