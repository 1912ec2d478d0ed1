//! A report as `JUnit` XML: a test case for every run and for everything that was compared.
//!
//! A run that failed is a failure, one that is broken an error: it says nothing about the stack under test. One that failed in
//! the way that its scenario names as known counts as skipped, and says why that is so. Of a comparison,
//! each measure of each step is a test case: one that regressed is a failure, one that is undecided counts as skipped.

use std::fmt::Write as _;
use std::time::Duration;

use quick_junit::{NonSuccessKind, Property, TestCase, TestCaseStatus, TestSuite};
use sanlab_record::{Outcome, RunRecord};

use crate::error::ReportError;
use crate::load::LoadedRun;
use crate::render::findings;
use crate::render::moment;
use crate::render::number::figure;
use crate::render::report::Report;
use crate::render::view::{BaselineView, ComparisonView, JudgementView, joined};
use crate::verdict::Verdict;

/// The XML.
pub fn render(report: &Report) -> Result<String, ReportError> {
    let mut xml = quick_junit::Report::new(&report.title);
    if !report.runs.is_empty() {
        let mut suite = TestSuite::new("runs");
        let cases = report.runs.iter();
        suite.add_test_cases(cases.map(|one| run(one, &name(one, &report.runs))));
        xml.add_test_suite(suite);
    }
    for loaded in &report.comparisons {
        let comparison = &loaded.comparison;
        let view = ComparisonView::new(comparison);
        let mut suite = TestSuite::new(format!("compare {}", view.scenario));
        suite.set_time(duration(comparison.seconds));
        for (name, side) in [("a", &comparison.a), ("b", &comparison.b)] {
            for (key, value) in &side.settings {
                suite.add_property(Property::new(format!("{name}.{key}"), value.clone()));
            }
        }
        suite.add_property(Property::new("pairs", comparison.pairs.to_string()));
        suite.add_property(Property::new("verdict", view.verdict.as_str()));
        suite.add_test_cases(view.rows.iter().map(|row| judged(view.scenario, row)));
        xml.add_test_suite(suite);
    }
    if let Some(baseline) = report.baseline.as_ref().map(BaselineView::new) {
        let mut suite = TestSuite::new(format!("baseline {}", baseline.name));
        suite.add_property(Property::new("verdict", baseline.verdict.as_str()));
        let rows = baseline.rows.iter();
        suite.add_test_cases(rows.map(|row| judged(row.scenario.unwrap_or_default(), row)));
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
    let mut status = match record.outcome {
        Outcome::Passed => TestCaseStatus::success(),
        Outcome::Failed(_) => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Outcome::Broken(_) => TestCaseStatus::non_success(NonSuccessKind::Error),
        Outcome::KnownFailure { .. } | Outcome::Skipped { .. } => TestCaseStatus::skipped(),
    };
    if let Some(failure) = record.outcome.failure() {
        let first = failure.message.lines().next().unwrap_or_default();
        let message = match &record.outcome {
            Outcome::KnownFailure { known, .. } => known.to_string(),
            _ => format!("{}: {first}", failure.phase),
        };
        status
            .set_type(record.outcome.as_str())
            .set_message(message)
            .set_description(failure.message.as_str());
    } else if let Outcome::Skipped { reason } = &record.outcome {
        status.set_message(reason.as_str());
    }
    let mut case = TestCase::new(name, status);
    case.set_classname(record.scenario.as_str())
        .set_time(duration(record.seconds()));
    case.add_property(Property::new("record", run.path.display().to_string()));
    case.add_property(Property::new("started", moment::iso(record.started)));
    case.add_property(Property::new("seed", record.seed.to_string()));
    let output = output(record);
    if !output.is_empty() {
        case.set_system_out(output);
    }
    case
}

/// What an edited record may say of time is not worth an error.
fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

/// The findings, and the consoles' last lines.
fn output(record: &RunRecord) -> String {
    let mut text = String::new();
    let found = findings::lines(record).into_iter();
    for line in found.chain(findings::traces(record)) {
        let _ = writeln!(text, "{line}");
    }
    for (node, lines) in &record.console_tail {
        let _ = writeln!(text, "the last lines of {node}'s console:");
        for line in lines {
            let _ = writeln!(text, "{line}");
        }
    }
    text
}

fn judged(scenario: &str, row: &JudgementView<'_>) -> TestCase {
    let judgement = row.judgement;
    let name = format!("{} {}", joined(row.step, &row.apart), row.measure);
    let mut status = match judgement.verdict {
        Verdict::Regressed => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Verdict::Undecided => TestCaseStatus::skipped(),
        Verdict::Improved | Verdict::NoChange => TestCaseStatus::success(),
    };
    if matches!(judgement.verdict, Verdict::Regressed | Verdict::Undecided) {
        let JudgementView {
            change,
            interval,
            p,
            runs,
            margin,
            ..
        } = row;
        status.set_type(judgement.verdict.as_str()).set_message(format!(
            "{name}: {change} ({interval}, p {p}, {runs} runs); the equivalence margin is {margin}"
        ));
    }
    if judgement.verdict == Verdict::Regressed {
        status.set_description(format!(
            "A, {unit}: {}\nB, {unit}: {}",
            figures(&judgement.a),
            figures(&judgement.b),
            unit = row.unit,
        ));
    }
    let mut case = TestCase::new(name, status);
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
