//! A finished run as tables. Pure: records in, text out.

use std::fmt::Write;
use std::path::Path;

use sanlab_record::{Outcome, RunRecord};

use crate::table::Table;

/// What one run did: outcome, phases, samples, what the nodes cost, and where the record is.
pub fn scenario_table(record: &RunRecord, kept: &Path) -> String {
    let seconds = seconds(record);
    let mut text = format!(
        "\n{}: {} in {seconds:.1} s\n",
        record.scenario,
        record.outcome.as_str()
    );
    // Writing to a String cannot fail.
    for (arch, accelerator) in &record.accelerator {
        // A reason can be as long as QEMU's last words; the record has all of it.
        let reason = beginning(&accelerator.reason);
        let _ = writeln!(text, "  {arch} guests on {} ({reason})", accelerator.name);
    }
    let mut phases = Table::new(&["phase", ">from (s)", ">took (s)"]);
    for phase in &record.phases {
        phases.row([
            phase.name.clone(),
            format!("{:.1}", phase.at),
            format!("{:.1}", phase.seconds),
        ]);
    }
    let mut samples = Table::new(&["step", "node", "arch", ">MiB", ">seconds", ">MiB/s"]);
    for sample in &record.samples {
        samples.row([
            sample.step.clone(),
            sample.node.clone(),
            sample.arch.clone(),
            format!("{:.0}", mib(sample.bytes)),
            format!("{:.2}", sample.seconds),
            format!("{:.1}", sample.mib_per_second),
        ]);
    }
    let mut nodes = Table::new(&[
        "node",
        "arch",
        ">RAM MiB",
        ">PSS MiB",
        ">peak RSS MiB",
        ">CPU s",
        ">sent MiB",
        ">dropped",
    ]);
    for (name, node) in &record.nodes {
        nodes.row([
            name.clone(),
            node.arch.clone(),
            node.memory_mib.to_string(),
            format!("{:.0}", mib(node.pss_bytes)),
            format!("{:.0}", mib(node.peak_rss_bytes)),
            format!("{:.1}", node.host_cpu_seconds),
            format!("{:.1}", mib(node.port.sent_bytes)),
            node.port.dropped_frames.to_string(),
        ]);
    }
    for table in [phases, samples, nodes]
        .iter()
        .filter(|table| !table.is_empty())
    {
        text.push('\n');
        text.push_str(&table.render(2));
    }
    if let Some(why) = why(&record.outcome) {
        let _ = write!(text, "\n{}", indented(&why));
    }
    let _ = writeln!(text, "\n  record: {}", kept.display());
    text
}

/// One line for every run, then the count.
pub fn summary_table(records: &[RunRecord]) -> String {
    let mut table = Table::new(&[
        "scenario",
        "outcome",
        ">seconds",
        ">samples",
        ">median MiB/s",
        ">best MiB/s",
    ]);
    let mut reasons = String::new();
    for record in records {
        let mut rates: Vec<f64> = record
            .samples
            .iter()
            .map(|sample| sample.mib_per_second)
            .collect();
        rates.sort_by(f64::total_cmp);
        let figure =
            |rate: Option<f64>| rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1}"));
        table.row([
            record.scenario.clone(),
            record.outcome.as_str().to_owned(),
            format!("{:.1}", seconds(record)),
            rates.len().to_string(),
            figure(median(&rates)),
            figure(rates.last().copied()),
        ]);
        // A single run's reason stands right above, in its own table.
        if let Some(why) = why(&record.outcome).filter(|_| records.len() > 1) {
            let _ = write!(reasons, "\n{}:\n{}", record.scenario, indented(&why));
        }
    }
    let count = |word: &str| {
        records
            .iter()
            .filter(|record| record.outcome.as_str() == word)
            .count()
    };
    let mut text = format!(
        "\n{}{reasons}\n{} passed, {} failed",
        table.render(0),
        count("passed"),
        count("failed")
    );
    for word in ["broken", "skipped"] {
        if count(word) > 0 {
            let _ = write!(text, ", {} {word}", count(word));
        }
    }
    text.push('\n');
    text
}

/// Why a run did not pass.
fn why(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Passed => None,
        Outcome::Failed(failure) | Outcome::Broken(failure) => Some(format!(
            "{} in {}: {}",
            outcome.as_str(),
            failure.phase,
            failure.message
        )),
        Outcome::Skipped { reason } => Some(format!("skipped: {reason}")),
    }
}

fn indented(text: &str) -> String {
    text.lines().flat_map(|line| ["  ", line, "\n"]).collect()
}

/// From the run's begin to the end of its last phase or event.
fn seconds(record: &RunRecord) -> f64 {
    let phases = record.phases.iter().map(|phase| phase.at + phase.seconds);
    phases
        .chain(record.events.iter().map(|event| event.at))
        .fold(0.0, f64::max)
}

/// Of figures in ascending order.
fn median(sorted: &[f64]) -> Option<f64> {
    let (low, high) = (
        sorted.get(sorted.len().checked_sub(1)? / 2)?,
        sorted.get(sorted.len() / 2)?,
    );
    Some(f64::midpoint(*low, *high))
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// As many words as fit a line.
fn beginning(text: &str) -> String {
    const FITS: usize = 80;
    let Some((end, _)) = text.char_indices().nth(FITS) else {
        return text.to_owned();
    };
    let words = text[..end].rsplit_once(' ').map_or("", |(words, _)| words);
    format!("{words} ...")
}

#[cfg(test)]
mod tests {
    use super::{median, scenario_table, summary_table};
    use sanlab_record::{Failure, Outcome, RunRecord};
    use std::path::Path;

    fn kept_record() -> RunRecord {
        serde_json::from_str(include_str!("../../../fixtures/records/format-1.json")).unwrap()
    }

    #[test]
    fn a_record_as_a_table() {
        insta::assert_snapshot!(scenario_table(
            &kept_record(),
            Path::new("target/sanlab/runs/R/S/record.json")
        ));
    }

    #[test]
    fn a_summary_names_what_did_not_pass_and_why() {
        let mut passed = kept_record();
        passed.outcome = Outcome::Passed;
        let mut broken = passed.clone();
        broken.scenario = "mount".to_owned();
        broken.outcome = Outcome::Broken(Failure {
            phase: "boot".to_owned(),
            message: "vix0: qemu ended with exit code 1\nqemu: cannot set up guest memory"
                .to_owned(),
        });
        let mut skipped = passed.clone();
        skipped.outcome = Outcome::Skipped {
            reason: "interrupted".to_owned(),
        };
        skipped.samples.clear();
        insta::assert_snapshot!(summary_table(&[passed, broken, skipped]));
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[1.0, 2.0, 4.0, 9.0]), Some(3.0));
    }
}
