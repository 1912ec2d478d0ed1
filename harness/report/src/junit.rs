//! A report as `JUnit` XML: a test case for every run and for everything that was compared.
//!
//! A run that failed is a failure, one that is broken an error: it says nothing about the stack under test. Of a comparison,
//! each measure of each step is a test case: one that regressed is a failure, one that is undecided counts as skipped.

use std::fmt::Write as _;
use std::time::Duration;

use quick_junit::{NonSuccessKind, Property, TestCase, TestCaseStatus, TestSuite};
use sanlab_record::{Outcome, RunRecord};

use crate::error::ReportError;
use crate::load::LoadedRun;
use crate::moment;
use crate::number::{change, figure, probability, share};
use crate::report::Report;
use crate::verdict::{Judgement, Verdict};

/// The XML.
pub fn render(report: &Report) -> Result<String, ReportError> {
    let mut xml = quick_junit::Report::new(&report.title);
    if !report.runs.is_empty() {
        let mut suite = TestSuite::new("runs");
        suite.add_test_cases(
            report
                .runs
                .iter()
                .map(|one| run(one, &name(one, &report.runs))),
        );
        xml.add_test_suite(suite);
    }
    for loaded in &report.comparisons {
        let comparison = &loaded.comparison;
        let mut suite = TestSuite::new(format!("compare {}", comparison.scenario));
        suite.set_time(Duration::try_from_secs_f64(comparison.seconds).unwrap_or_default());
        for (name, side) in [("a", &comparison.a), ("b", &comparison.b)] {
            for (key, value) in &side.settings {
                suite.add_property(Property::new(format!("{name}.{key}"), value.clone()));
            }
        }
        suite.add_property(Property::new("pairs", comparison.pairs.to_string()));
        suite.add_property(Property::new("verdict", comparison.verdict.as_str()));
        suite.add_test_cases(
            comparison
                .judgements
                .iter()
                .map(|judgement| judged(&comparison.scenario, judgement)),
        );
        xml.add_test_suite(suite);
    }
    if let Some(baseline) = &report.baseline {
        let mut suite = TestSuite::new(format!("baseline {}", baseline.name));
        suite.add_property(Property::new("verdict", baseline.verdict.as_str()));
        suite.add_test_cases(
            baseline
                .series
                .iter()
                .map(|one| judged(&one.series.scenario, &one.judgement)),
        );
        xml.add_test_suite(suite);
    }
    Ok(xml.to_string()?)
}

/// The scenario and what it was given. It has to stay the same from report to report, for those who follow test cases over
/// time: the folder is only added where several runs of this report would be called the same.
fn name(run: &LoadedRun, all: &[LoadedRun]) -> String {
    let same = |other: &&LoadedRun| {
        other.record.scenario == run.record.scenario && other.record.settings == run.record.settings
    };
    if all.iter().filter(same).count() > 1 {
        return run.name();
    }
    run.short_name()
}

fn run(run: &LoadedRun, name: &str) -> TestCase {
    let record = &run.record;
    let status = match &record.outcome {
        Outcome::Passed => TestCaseStatus::success(),
        Outcome::Failed(failure) | Outcome::Broken(failure) => {
            let failed = matches!(record.outcome, Outcome::Failed(_));
            let mut status = TestCaseStatus::non_success(if failed {
                NonSuccessKind::Failure
            } else {
                NonSuccessKind::Error
            });
            status
                .set_type(record.outcome.as_str())
                .set_message(format!(
                    "{}: {}",
                    failure.phase,
                    first_line(&failure.message)
                ))
                .set_description(failure.message.as_str());
            status
        }
        Outcome::Skipped { reason } => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(reason.as_str());
            status
        }
    };
    let mut case = TestCase::new(name, status);
    case.set_classname(record.scenario.as_str())
        .set_time(duration(record));
    case.add_property(Property::new("record", run.path.display().to_string()));
    case.add_property(Property::new("started", moment::iso(record.started)));
    case.add_property(Property::new("seed", record.seed.to_string()));
    if !record.console_tail.is_empty() {
        case.set_system_out(console_tail(record));
    }
    case
}

/// Until the end of what ended last.
fn duration(record: &RunRecord) -> Duration {
    let end = record
        .phases
        .iter()
        .map(|phase| phase.at + phase.seconds)
        .fold(0.0, f64::max);
    // What an edited record may say of time is not worth an error.
    Duration::try_from_secs_f64(end).unwrap_or_default()
}

fn console_tail(record: &RunRecord) -> String {
    record
        .console_tail
        .iter()
        .fold(String::new(), |mut text, (node, lines)| {
            let _ = writeln!(text, "the last lines of {node}'s console:");
            for line in lines {
                text.push_str(line);
                text.push('\n');
            }
            text
        })
}

fn judged(scenario: &str, judgement: &Judgement) -> TestCase {
    let measure = judgement.measure;
    let said = format!(
        "{} {}: {} ({} to {}, p {}, {} and {} runs); the equivalence margin is {}",
        judgement.step,
        measure.title(),
        change(judgement.ratio),
        change(judgement.interval.0),
        change(judgement.interval.1),
        probability(judgement.p),
        judgement.a.len(),
        judgement.b.len(),
        share(judgement.margin),
    );
    let status = match judgement.verdict {
        Verdict::Regressed => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status
                .set_type(judgement.verdict.as_str())
                .set_message(said.as_str())
                .set_description(format!(
                    "A, {unit}: {}\nB, {unit}: {}",
                    figures(&judgement.a),
                    figures(&judgement.b),
                    unit = measure.unit(),
                ));
            status
        }
        Verdict::Undecided => {
            let mut status = TestCaseStatus::skipped();
            status
                .set_type(judgement.verdict.as_str())
                .set_message(said.as_str());
            status
        }
        Verdict::Improved | Verdict::NoChange => TestCaseStatus::success(),
    };
    let mut case = TestCase::new(format!("{} {}", judgement.step, measure.title()), status);
    case.set_classname(scenario);
    case.add_property(Property::new("verdict", judgement.verdict.as_str()));
    if let Some(within) = judgement.within {
        case.add_property(Property::new("within", within.to_string()));
    }
    case.add_property(Property::new("ratio", judgement.ratio.to_string()));
    case
}

fn figures(figures: &[f64]) -> String {
    let texts: Vec<_> = figures.iter().map(|&value| figure(value)).collect();
    texts.join(", ")
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
