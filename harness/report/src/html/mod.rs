//! A report as one page that needs nothing else: style and charts are in it, it fetches nothing, and it runs no script. Verdicts
//! come first, then what they rest on, then the runs.
//!
//! Everything that comes from a record, a comparison or a path is text of others, and is escaped on its way in: by the templates,
//! and by [`chart`](crate::chart) for what stands in drawings. The page also forbids itself scripts and fetches
//! (`Content-Security-Policy`), so that a mistake here would show nothing more than odd text.
//!
//! Anchors, for links and for tests: `verdict`, `verdicts`, `comparisons`, `comparison-1`.. by the place in the report, `baseline`, `trends`,
//! `runs`, `run-1`.. by the place in the report's list of runs. The page shows the latest run first.

mod activity;
mod baseline;
mod choice;
mod comparison;
mod folds;
mod judgements;
mod measured;
mod phases;
mod run;
mod trends;
mod word;

use askama::Template;
use sanlab_record::Outcome;

use crate::load::{LoadedComparison, LoadedRun};
use crate::moment;
use crate::report::Report;
use crate::verdict::Verdict;
use baseline::BaselineSection;
use comparison::ComparisonSection;
use run::RunSection;
use trends::TrendsSection;

/// How many runs are told in detail at most.
const DETAILS: usize = 40;

/// The charts that are as wide as the page, in CSS pixels: on a desk and on a phone. A page has both, and shows one.
const WIDTHS: (f64, f64) = (1086.0, 320.0);

#[derive(Template)]
#[template(path = "page.html")]
struct Page {
    title: String,
    word: String,
    class: &'static str,
    sign: &'static str,
    counts: String,
    made: String,
    style: &'static str,
    sections: Vec<(String, String)>,
    cards: Vec<Card>,
    comparisons: Vec<ComparisonSection>,
    baseline: Option<BaselineSection>,
    trends: Option<TrendsSection>,
    runs: Vec<RunRow>,
    others: Vec<RunRow>,
    most: usize,
    details: Vec<RunSection>,
}

/// What is said before everything else, with a link to what it rests on.
struct Card {
    class: &'static str,
    sign: &'static str,
    word: &'static str,
    anchor: String,
    title: String,
    lines: Vec<String>,
}

/// A line in the list of runs.
struct RunRow {
    class: &'static str,
    sign: &'static str,
    outcome: &'static str,
    /// Empty where it is not told in detail.
    anchor: String,
    scenario: String,
    settings: String,
    began: String,
    took: String,
    rate: String,
    path: String,
}

/// The page's text.
pub fn render(report: &Report) -> String {
    let comparisons: Vec<ComparisonSection> = by_gravity(report)
        .into_iter()
        .map(|(number, loaded)| ComparisonSection::new(number, loaded))
        .collect();
    let chosen = choice::in_detail(&report.runs, DETAILS);
    let anchor = |number: usize| {
        if chosen.contains(&number) {
            format!("run-{}", number + 1)
        } else {
            String::new()
        }
    };
    let (runs, others): (Vec<RunRow>, Vec<RunRow>) = report
        .runs
        .iter()
        .enumerate()
        .rev()
        .map(|(number, run)| row(run, anchor(number)))
        .partition(|row| !row.anchor.is_empty());
    let trends = TrendsSection::new(&report.trends);
    let page = Page {
        title: report.title.clone(),
        word: headline(report),
        class: class(report),
        sign: word::sign(class(report)),
        counts: counts(report),
        made: moment::utc(report.made),
        style: include_str!("../../templates/page.css"),
        sections: sections(report, trends.is_some()),
        cards: cards(report),
        baseline: report.baseline.as_ref().map(BaselineSection::new),
        most: DETAILS,
        details: chosen
            .iter()
            .rev()
            .map(|number| RunSection::new(anchor(*number), &report.runs[*number].record))
            .collect(),
        comparisons,
        trends,
        runs,
        others,
    };
    // Plain data is written into a String: neither can fail.
    page.render().expect("a page of plain data")
}

/// What the whole comes to, in a few words: a run that failed is not hidden behind a comparison without change.
fn headline(report: &Report) -> String {
    let outcomes = report.outcomes();
    let mut parts = Vec::new();
    if let Some(verdict) = report.verdict {
        parts.push(verdict.as_str().to_owned());
    }
    for (count, word) in [(outcomes.failed, "failed"), (outcomes.broken, "broken")] {
        if count > 0 {
            parts.push(format!("{} {word}", word::count(count, "run")));
        }
    }
    if parts.is_empty() {
        parts.push(if outcomes.passed > 0 {
            "passed".to_owned()
        } else {
            "nothing was run".to_owned()
        });
    }
    parts.join(", ")
}

/// The gravest of it.
fn class(report: &Report) -> &'static str {
    let outcomes = report.outcomes();
    match report.verdict {
        Some(Verdict::Regressed) => "regressed",
        _ if outcomes.failed > 0 => "failed",
        _ if outcomes.broken > 0 => "broken",
        Some(verdict) => word::of_verdict(verdict),
        None if outcomes.passed > 0 => "passed",
        None => "skipped",
    }
}

fn counts(report: &Report) -> String {
    let outcomes = report.outcomes();
    let mut parts = vec![word::count(report.runs.len(), "run")];
    for (count, word) in [
        (outcomes.passed, "passed"),
        (outcomes.failed, "failed"),
        (outcomes.broken, "broken"),
        (outcomes.skipped, "skipped"),
    ] {
        if count > 0 {
            parts.push(format!("{count} {word}"));
        }
    }
    if !report.comparisons.is_empty() {
        parts.insert(0, word::count(report.comparisons.len(), "comparison"));
    }
    parts.join(" · ")
}

fn sections(report: &Report, trends: bool) -> Vec<(String, String)> {
    let mut sections = Vec::new();
    if !report.comparisons.is_empty() {
        sections.push(("comparisons", "Comparisons"));
    }
    if report.baseline.is_some() {
        sections.push(("baseline", "Baseline"));
    }
    if trends {
        sections.push(("trends", "Trends"));
    }
    if !report.runs.is_empty() {
        sections.push(("runs", "Runs"));
    }
    // One place needs no signs.
    if sections.len() < 2 {
        sections.clear();
    }
    let owned = |(anchor, name): (&str, &str)| (anchor.to_owned(), name.to_owned());
    sections.into_iter().map(owned).collect()
}

/// Comparisons from the gravest to the mildest, with their numbers in the report.
fn by_gravity(report: &Report) -> Vec<(usize, &LoadedComparison)> {
    let mut compared: Vec<_> = (1..).zip(&report.comparisons).collect();
    compared.sort_by_key(|(_, loaded)| loaded.comparison.verdict);
    compared
}

/// Comparisons from the gravest to the mildest, the baseline, runs that did not pass, the latest first.
fn cards(report: &Report) -> Vec<Card> {
    let mut cards: Vec<Card> = by_gravity(report)
        .into_iter()
        .map(|(number, loaded)| comparison::card(number, &loaded.comparison))
        .collect();
    cards.extend(report.baseline.as_ref().map(baseline::card));
    let told = choice::in_detail(&report.runs, DETAILS);
    for (number, run) in report.runs.iter().enumerate().rev() {
        let (Outcome::Failed(failure) | Outcome::Broken(failure)) = &run.record.outcome else {
            continue;
        };
        if !told.contains(&number) {
            continue;
        }
        let class = run.record.outcome.as_str();
        // Two lines, for the first is often but the head of a list.
        let message: Vec<&str> = failure.message.lines().take(2).map(str::trim).collect();
        let message = format!("{}: {}", failure.phase, message.join(" "));
        cards.push(Card {
            class,
            sign: word::sign(class),
            word: class,
            anchor: format!("run-{}", number + 1),
            title: run.record.title.clone(),
            lines: vec![run.record.scenario.clone(), word::beginning(&message, 220)],
        });
    }
    cards
}

fn row(run: &LoadedRun, anchor: String) -> RunRow {
    let record = &run.record;
    let outcome = record.outcome.as_str();
    RunRow {
        class: outcome,
        sign: word::sign(outcome),
        outcome,
        anchor,
        scenario: record.scenario.clone(),
        settings: word::settings(&record.settings).join(" "),
        began: moment::utc(record.started),
        took: crate::number::seconds(run::end(record)),
        rate: run::median_rate(record).map_or_else(|| "-".to_owned(), word::figure),
        path: run.path.display().to_string(),
    }
}
