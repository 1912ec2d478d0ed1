//! A finished run as tables. Pure: records in, text out.

mod measured;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use sanlab_record::{
    AcceleratorUse, Event, EventKind, Failure, KnownBy, Origin, Outcome, PhaseName, RunRecord,
    Sample,
};
use sanlab_report::findings;
use sanlab_report::report::Outcomes;
use sanlab_report::statistics::median;
use sanlab_report::table::{Table, plain};

use crate::lab::runs::attempt_name;
use crate::terminal::quantity::{taken_from, took};

/// What one run did: outcome, phases, samples, what the nodes cost, what was found and excused, and where the record is.
pub fn scenario_table(record: &RunRecord, kept: &Path) -> String {
    let mut text = format!(
        "\n{}: {} in {}\n",
        record.scenario,
        record.outcome.as_str(),
        took(record.seconds())
    );
    // Writing to a String cannot fail.
    for (arch, accelerator) in &record.accelerator {
        // A reason can be as long as QEMU's whole output; the record has all of it.
        let reason = beginning(&accelerator.reason);
        let _ = writeln!(text, "  {arch} guests on {} ({reason})", accelerator.name);
    }
    for line in not_counted(record) {
        let _ = writeln!(text, "  {}", plain(&line));
    }
    for (whose, image) in &record.images {
        for artefact in &image.artefacts {
            let _ = writeln!(
                text,
                "  under test on {whose}: {}",
                plain(&artefact.to_string())
            );
        }
    }
    if is_random(record) {
        let _ = writeln!(text, "  random moments drawn from seed {}", record.seed);
    }
    let mut phases = Table::new(&["phase", ">from (s)", ">took (s)", "origin"]);
    for phase in &record.phases {
        phases.row([
            phase.name.to_string(),
            format!("{:.1}", phase.at),
            format!("{:.2}", phase.seconds),
            match &phase.origin {
                Origin::Forked { built_seconds, .. } => {
                    format!(
                        "{}, built in {}",
                        origin(&phase.origin),
                        took(*built_seconds)
                    )
                }
                Origin::Built | Origin::Cloned { .. } => origin(&phase.origin),
            },
        ]);
    }
    let mut samples = Table::new(&["step", "node", "arch", ">MiB", ">seconds", ">MiB/s"]);
    let once = |sample: &&Sample| !measured::is_repeated(record, sample);
    for sample in record.samples.iter().filter(once) {
        samples.row([
            sample.step.clone(),
            sample.node.clone(),
            sample.arch.clone(),
            format!("{:.0}", mib(sample.bytes)),
            format!("{:.2}", sample.seconds),
            format!("{:.1}", sample.mib_per_second),
        ]);
    }
    let mut writers = Table::new(&[
        "writer",
        "node",
        ">acknowledged",
        ">longest gap (s)",
        ">from (s)",
    ]);
    for sample in &record.samples {
        if let Some(acknowledged) = &sample.acknowledged {
            writers.row([
                sample.step.clone(),
                sample.node.clone(),
                acknowledged.blocks.to_string(),
                format!("{:.2}", acknowledged.longest_gap_seconds),
                format!("{:.1}", acknowledged.longest_gap_at),
            ]);
        }
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
    let (steps, dips) = (measured::steps(record), measured::dips(record));
    for table in [phases, steps, samples, writers, dips, nodes]
        .iter()
        .filter(|table| !table.is_empty())
    {
        text.push('\n');
        text.push_str(&table.render(2));
    }
    if let Some(why) = why(&record.outcome) {
        let _ = write!(text, "\n{}", indented(&why));
    }
    for lines in [findings::lines(record), findings::traces(record)] {
        let lines: Vec<String> = lines.iter().map(|line| plain(line)).collect();
        if !lines.is_empty() {
            let _ = write!(text, "\n{}", indented(&lines.join("\n")));
        }
    }
    let _ = writeln!(text, "\n  record: {}", kept.display());
    text
}

/// Whose instructions were to be counted and were not, and why, a line for each reason.
pub(crate) fn not_counted(record: &RunRecord) -> impl Iterator<Item = String> {
    let told = |event: &&Event| matches!(event.kind, EventKind::NotCounted { .. });
    record
        .events
        .iter()
        .filter(told)
        .map(|event| event.kind.to_string())
}

/// Whether anything in it was left to chance.
fn is_random(record: &RunRecord) -> bool {
    let is_drawn = |event: &Event| {
        matches!(
            event.kind,
            EventKind::Crashed { .. } | EventKind::FaultBegan { .. }
        )
    };
    record.events.iter().any(is_drawn)
}

/// Where a phase's result came from.
fn origin(origin: &Origin) -> String {
    match origin {
        Origin::Built => "built".to_owned(),
        Origin::Cloned { key, age_seconds } => taken_from("cloned", key, *age_seconds),
        Origin::Forked {
            key, age_seconds, ..
        } => taken_from("forked", key, *age_seconds),
    }
}

/// Where a run began: what it was forked from, else what its nodes were cloned from.
fn beginning_of(record: &RunRecord) -> String {
    let least_built = |phase: &&sanlab_record::Phase| match phase.origin {
        Origin::Built => 0,
        Origin::Cloned { .. } => 1,
        Origin::Forked { .. } => 2,
    };
    let phase = record.phases.iter().max_by_key(least_built);
    phase.map_or_else(|| "-".to_owned(), |phase| origin(&phase.origin))
}

/// One line for every run, one for every scenario that was run more than once, then the count.
pub fn summary_table(records: &[RunRecord]) -> String {
    let mut table = Table::new(&[
        "scenario",
        "outcome",
        ">seconds",
        ">samples",
        ">median MiB/s",
        ">best MiB/s",
        "accelerator",
        "origin",
    ]);
    let mut reasons = String::new();
    for (number, record) in records.iter().enumerate() {
        let earlier = records[..number]
            .iter()
            .filter(|other| other.scenario == record.scenario)
            .count();
        let name = attempt_name(
            &record.scenario,
            u32::try_from(earlier).unwrap_or(u32::MAX).saturating_add(1),
        );
        let mut rates: Vec<f64> = record
            .samples
            .iter()
            .filter(|sample| !sample.warm_up)
            .map(|sample| sample.mib_per_second)
            .collect();
        rates.sort_by(f64::total_cmp);
        table.row([
            name.clone(),
            record.outcome.as_str().to_owned(),
            format!("{:.1}", record.seconds()),
            rates.len().to_string(),
            figure(median(&rates)),
            figure(rates.last().copied()),
            accelerator(record),
            beginning_of(record),
        ]);
        // A single run's reason stands right above, in its own table.
        if let Some(why) = why(&record.outcome).filter(|_| records.len() > 1) {
            let _ = write!(reasons, "\n{name}:\n{}", indented(&why));
        }
    }
    format!(
        "\n{}{}{}{}{}{reasons}\n{}\n",
        table.render(0),
        accelerators(records),
        repeated(records),
        starts(records),
        gaps(records),
        Outcomes::of(records)
    )
}

/// What executed a run's guests.
fn accelerator(record: &RunRecord) -> String {
    let names: BTreeSet<&str> = record
        .accelerator
        .values()
        .map(|used| used.name.as_str())
        .collect();
    if names.is_empty() {
        return "-".to_owned();
    }
    Vec::from_iter(names).join(", ")
}

/// A line for each accelerator and each reason for it, with the whole reason, and whose guests it executed.
fn accelerators(records: &[RunRecord]) -> String {
    let mut used: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    for (arch, accelerator) in records.iter().flat_map(|record| &record.accelerator) {
        let AcceleratorUse { name, reason } = accelerator;
        let why = (name.as_str(), reason.as_str());
        used.entry(why).or_default().insert(arch);
    }
    let mut text = String::new();
    for ((name, reason), archs) in used {
        let archs = Vec::from_iter(archs).join(" and ");
        // Writing to a String cannot fail.
        let _ = write!(text, "\n{archs} guests on {name}: {}", plain(reason));
    }
    if text.is_empty() {
        return text;
    }
    text + "\n"
}

/// One line for every scenario that was run more than once: how many passed and how many failed as is known, and what the former
/// took. What was left out does not count as a run.
fn repeated(records: &[RunRecord]) -> String {
    let mut table = Table::new(&[
        "scenario",
        ">passed",
        ">known failures",
        ">median s",
        ">least s",
        ">most s",
    ]);
    let mut scenarios: BTreeMap<&str, (Vec<&RunRecord>, Vec<f64>)> = BTreeMap::new();
    let done = |record: &&RunRecord| !matches!(record.outcome, Outcome::Skipped { .. });
    for record in records.iter().filter(done) {
        let (runs, took) = scenarios.entry(&record.scenario).or_default();
        runs.push(record);
        if record.outcome == Outcome::Passed {
            took.push(record.seconds());
        }
    }
    for (scenario, (runs, mut took)) in scenarios {
        if runs.len() > 1 {
            took.sort_by(f64::total_cmp);
            let outcomes = Outcomes::of(runs.iter().copied());
            table.row([
                scenario.to_owned(),
                format!("{} of {}", outcomes.passed, runs.len()),
                outcomes.known_failures.to_string(),
                figure(median(&took)),
                figure(took.first().copied()),
                figure(took.last().copied()),
            ]);
        }
    }
    if table.is_empty() {
        return String::new();
    }
    format!("\n{}", table.render(0))
}

/// One line for each way in which the fleets of a scenario that was run more than once were started. Only what passed counts.
fn starts(records: &[RunRecord]) -> String {
    let mut table = Table::new(&[
        "scenario",
        "start",
        ">times",
        ">median s",
        ">least s",
        ">most s",
    ]);
    let mut scenarios: BTreeMap<&str, (usize, BTreeMap<&str, Vec<f64>>)> = BTreeMap::new();
    let passed = |record: &&RunRecord| record.outcome == Outcome::Passed;
    for record in records.iter().filter(passed) {
        let (runs, starts) = scenarios.entry(&record.scenario).or_default();
        *runs += 1;
        for phase in &record.phases {
            let start = match (&phase.name, &phase.origin) {
                (PhaseName::Boot, Origin::Built) => "boot",
                (PhaseName::Boot, Origin::Cloned { .. }) => "clone",
                (PhaseName::Fork, _) => "fork",
                _ => continue,
            };
            starts.entry(start).or_default().push(phase.seconds);
        }
    }
    for (scenario, (_, starts)) in scenarios.into_iter().filter(|(_, (runs, _))| *runs > 1) {
        for (start, mut took) in starts {
            took.sort_by(f64::total_cmp);
            table.row([
                scenario.to_owned(),
                start.to_owned(),
                took.len().to_string(),
                hundredths(median(&took)),
                hundredths(took.first().copied()),
                hundredths(took.last().copied()),
            ]);
        }
    }
    if table.is_empty() {
        return String::new();
    }
    format!("\n{}", table.render(0))
}

/// One line for every scenario with writers that was run more than once: how long its runs went without any
/// acknowledgement to a writer, at the longest. Only what passed counts.
fn gaps(records: &[RunRecord]) -> String {
    let mut table = Table::new(&[
        "scenario",
        ">runs",
        ">blocks acknowledged",
        ">longest gap: least s",
        ">median s",
        ">most s",
    ]);
    let mut scenarios: BTreeMap<&str, (u64, Vec<f64>)> = BTreeMap::new();
    let passed = |record: &&RunRecord| record.outcome == Outcome::Passed;
    for record in records.iter().filter(passed) {
        let figures = || {
            record
                .samples
                .iter()
                .filter_map(|one| one.acknowledged.as_ref())
        };
        let longest = figures().map(|one| one.longest_gap_seconds);
        if let Some(longest) = longest.reduce(f64::max) {
            let (blocks, gaps) = scenarios.entry(&record.scenario).or_default();
            *blocks += figures().map(|one| one.blocks).sum::<u64>();
            gaps.push(longest);
        }
    }
    for (scenario, (blocks, mut gaps)) in scenarios {
        if gaps.len() > 1 {
            gaps.sort_by(f64::total_cmp);
            table.row([
                scenario.to_owned(),
                gaps.len().to_string(),
                blocks.to_string(),
                hundredths(gaps.first().copied()),
                hundredths(median(&gaps)),
                hundredths(gaps.last().copied()),
            ]);
        }
    }
    if table.is_empty() {
        return String::new();
    }
    format!("\n{}", table.render(0))
}

/// Why a run did not pass; of a failure that is known, also why that is so and where it is reported.
pub(crate) fn why(outcome: &Outcome) -> Option<String> {
    let how = |failure: &Failure| {
        let Failure { phase, message, .. } = failure;
        format!("{} in {phase}: {message}", outcome.as_str())
    };
    match outcome {
        Outcome::Passed => None,
        Outcome::Failed(failure) | Outcome::Broken(failure) => Some(how(failure)),
        Outcome::KnownFailure { failure, known } => {
            let KnownBy { because, source } = known;
            Some(format!(
                "{}\nbecause: {because}\nsource: {source}",
                how(failure)
            ))
        }
        Outcome::Skipped { reason } => Some(format!("skipped: {reason}")),
    }
}

fn figure(figure: Option<f64>) -> String {
    figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.1}"))
}

fn hundredths(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.2}"))
}

fn indented(text: &str) -> String {
    text.lines().flat_map(|line| ["  ", line, "\n"]).collect()
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
    use super::{not_counted, scenario_table, summary_table};
    use sanlab_record::{EventKind, Failure, FailureKind, KnownBy, Outcome, RunRecord};
    use std::path::Path;

    fn kept_record() -> RunRecord {
        RunRecord::from_json(include_str!("../../../../fixtures/records/format-1.json")).unwrap()
    }

    #[test]
    fn a_record_as_a_table() {
        insta::assert_snapshot!(scenario_table(
            &kept_record(),
            Path::new("target/sanlab/runs/R/S/record.json")
        ));
    }

    /// The kept run as one that failed as its scenario says.
    fn known_failure() -> RunRecord {
        let mut record = kept_record();
        let Some(failure) = record.outcome.failure().cloned() else {
            panic!("the kept run failed");
        };
        record.outcome = Outcome::KnownFailure {
            failure,
            known: KnownBy {
                because: "the bitmap fills the disk".to_owned(),
                source: "https://example.org/bugs/17".to_owned(),
            },
        };
        record
    }

    #[test]
    fn what_was_not_counted_is_told_with_the_reason() {
        let mut record = kept_record();
        assert_eq!(not_counted(&record).count(), 0);
        record.events[0].kind = EventKind::NotCounted {
            nodes: vec!["vix0".to_owned(), "vc".to_owned()],
            reason: "QEMU has no plugins".to_owned(),
        };
        let table = scenario_table(&record, Path::new("record.json"));
        let line = "\n  the instructions of vix0, vc are not counted: QEMU has no plugins\n";
        assert!(table.contains(line), "{table}");
    }

    #[test]
    fn a_run_that_passed_tells_what_was_excused() {
        let mut record = kept_record();
        record.outcome = Outcome::Passed;
        record.findings.remove(0);
        record.findings[0].node.push_str("\u{1b}[2J");
        let table = scenario_table(&record, Path::new("record.json"));
        let (_, end) = table.split_once("\n\n  excused: ").expect("a line of it");
        insta::assert_snapshot!(end, @r"
        14 device errors about nbd0 on vc�[2J, 16.8-18.5 s: follows from step crash on storage0a
          excused: 1 eviction about storage0b on vc, at 17.0 s: follows from the fencing of storage0b by vc
          excused: 1 device error about nbd1 on vc, at 18.0 s: follows from the loss of storage1a
          excused: 1 wrong layer state on storage0b, at 19.0 s: expected by step pull
          excused: 1 warning on vc, at 20.5 s: known of Linux 6.1: a checker takes a copy for an overflow (https://example.org/2)

          record: record.json
        ");
        record.findings.clear();
        let table = scenario_table(&record, Path::new("record.json"));
        assert!(
            table.ends_with("       1\n\n  record: record.json\n"),
            "{table}"
        );
    }

    #[test]
    fn a_known_failure_is_told_with_its_reason_and_counted_by_itself() {
        let known = known_failure();
        let mut passed = kept_record();
        passed.outcome = Outcome::Passed;
        let mut other = passed.clone();
        other.scenario = "mount".to_owned();
        insta::assert_snapshot!(summary_table(&[known.clone(), known, passed, other]));
    }

    #[test]
    fn a_summary_names_what_did_not_pass_and_why() {
        let mut passed = kept_record();
        passed.outcome = Outcome::Passed;
        let mut broken = passed.clone();
        broken.scenario = "mount".to_owned();
        broken.outcome = Outcome::Broken(Failure::new(
            "boot",
            FailureKind::FleetFailed,
            "vix0: qemu ended with exit code 1\nqemu: cannot set up guest memory",
        ));
        let mut skipped = passed.clone();
        skipped.outcome = Outcome::Skipped {
            reason: "interrupted".to_owned(),
        };
        skipped.samples.clear();
        insta::assert_snapshot!(summary_table(&[passed, broken, skipped]));
    }

    #[test]
    fn a_scenario_that_was_repeated_has_a_line_of_its_own() {
        let mut passed = kept_record();
        passed.outcome = Outcome::Passed;
        let mut slow = passed.clone();
        slow.phases[0].seconds = 30.0;
        let mut gap = passed.samples[0].acknowledged.clone().unwrap();
        gap.longest_gap_seconds = 11.5;
        slow.samples[0].acknowledged = Some(gap);
        let failed = kept_record();
        let mut once = passed.clone();
        once.scenario = "mount".to_owned();
        let mut skipped = passed.clone();
        skipped.outcome = Outcome::Skipped {
            reason: "interrupted".to_owned(),
        };
        insta::assert_snapshot!(summary_table(&[passed, slow, failed, skipped, once]));
    }
}
