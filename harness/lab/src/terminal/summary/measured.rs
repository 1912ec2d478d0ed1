//! What was measured, step by step: the median of the repetitions, and the least and the most of them.

use sanlab_record::{Measurement, RunRecord, Sample};
use sanlab_report::measure::Measure;
use sanlab_report::number::{change, figure, share};
use sanlab_report::series;
use sanlab_report::statistics::quantile;
use sanlab_report::table::Table;

use crate::terminal::quantity::size;

/// One line for every measuring step.
pub(super) fn steps(record: &RunRecord) -> Table {
    let mut table = Table::new(&[
        "step",
        "work",
        ">times",
        ">MiB/s",
        ">instructions/MiB",
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
        let figures = series::repetitions(record, label);
        let of_each = |measure| spread(figures.get(&measure).map_or(&[], Vec::as_slice));
        table.row([
            label.to_owned(),
            work(first),
            rounds.len().to_string(),
            of_each(Measure::Throughput),
            of_each(Measure::Instructions),
            of_each(Measure::HostCpu),
            of_each(Measure::SwitchBytes),
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
            figure(dip.before_mib_per_second),
            figure(dip.during_mib_per_second),
            figure(dip.after_mib_per_second.unwrap_or(f64::NAN)),
            share(dip.depth),
            format!("{:.1}", dip.length_seconds),
            change(dip.adds.map_or(f64::NAN, |adds| 1.0 + adds)),
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

/// The median, and in parentheses the least and the most if there are several.
fn spread(figures: &[f64]) -> String {
    let at = |share| quantile(figures, share).map_or_else(|| "-".to_owned(), figure);
    if figures.len() < 2 {
        return at(0.5);
    }
    format!("{} ({} to {})", at(0.5), at(0.0), at(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_name_the_median_the_least_and_the_most() {
        assert_eq!(spread(&[3.0, 1.0, 2.25]), "2.25 (1.00 to 3.00)");
        assert_eq!(spread(&[1.5]), "1.50");
        assert_eq!(spread(&[]), "-");
    }

    #[test]
    fn a_record_of_measurements_as_tables() {
        let text = include_str!("../../../../../fixtures/records/throughput.json");
        let record = RunRecord::from_json(text).unwrap();
        insta::assert_snapshot!(steps(&record).render(0));
        assert!(is_repeated(&record, &record.samples[0]));
        let text = include_str!("../../../../../fixtures/records/format-1.json");
        let record = RunRecord::from_json(text).unwrap();
        insta::assert_snapshot!(dips(&record).render(0));
        assert!(steps(&record).is_empty(), "a warm-up is no figure");
    }
}
