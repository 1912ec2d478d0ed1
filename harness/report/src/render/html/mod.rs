//! A report as one page that needs nothing else: style and charts are in it, it fetches nothing, and it runs no script. Verdicts
//! come first, then what they rest on, then the runs.
//!
//! Everything that comes from a record, a comparison or a path is text of others, and is escaped on its way in: by the templates,
//! and by [`chart`](crate::render::chart) for what stands in drawings. The page also forbids itself scripts and fetches
//! (`Content-Security-Policy`), so that a mistake here would show nothing more than odd text.
//!
//! Anchors, for links and for tests: `verdict`, `verdicts`, `comparisons`, `comparison-1`.. by the place in the report, `baseline`, `trends`,
//! `runs`, `run-1`.. by the place in the report's list of runs. The page shows the latest run first.

mod activity;
mod badge;
mod baseline;
mod choice;
mod comparison;
mod findings;
mod folds;
mod judgements;
mod measured;
mod phases;
mod run;
mod trends;

use askama::Template;
use sanlab_record::Outcome;

use crate::load::{LoadedComparison, LoadedRun};
use crate::render::moment;
use crate::render::number::{beginning, count, figure, seconds};
use crate::render::report::Report;
use crate::render::view::{BaselineView, ComparisonView, TrendView, settings};
use crate::verdict::Verdict;
use badge::Badge;
use baseline::BaselineSection;
use comparison::ComparisonSection;
use run::RunSection;
use trends::TrendsSection;

/// How many runs are shown in detail at most.
const DETAILS: usize = 40;

/// The charts that are as wide as the page, in CSS pixels: on a desk and on a phone. A page has both, and shows one.
const WIDTHS: (f64, f64) = (1086.0, 320.0);

#[derive(Template)]
#[template(path = "page.html")]
struct Page<'a> {
    title: String,
    word: String,
    badge: Badge,
    counts: String,
    made: String,
    style: &'static str,
    sections: Vec<(&'static str, &'static str)>,
    cards: Vec<Card>,
    comparisons: Vec<ComparisonSection<'a>>,
    baseline: Option<BaselineSection<'a>>,
    trends: Option<TrendsSection<'a>>,
    runs: Vec<RunRow>,
    others: Vec<RunRow>,
    most: usize,
    details: Vec<RunSection>,
}

/// What is said before everything else, with a link to what it rests on.
struct Card {
    badge: Badge,
    anchor: String,
    title: String,
    lines: Vec<String>,
}

/// A line in the list of runs.
struct RunRow {
    badge: Badge,
    /// Empty where it is not shown in detail.
    anchor: String,
    scenario: String,
    settings: String,
    began: String,
    took: String,
    rate: String,
    path: String,
}

/// What a page without runs shows.
const NOTHING: Outcome = Outcome::Skipped {
    reason: String::new(),
};

/// The page's text.
pub fn render(report: &Report) -> String {
    let compared: Vec<_> = by_gravity(report)
        .into_iter()
        .map(|(number, loaded)| (number, loaded, ComparisonView::new(&loaded.comparison)))
        .collect();
    let against = report.baseline.as_ref().map(BaselineView::new);
    let trends = TrendView::all(&report.trends);
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
    let trends = TrendsSection::new(&trends);
    let page = Page {
        title: report.title.clone(),
        word: headline(report),
        badge: badge(report),
        counts: counts(report),
        made: moment::utc(report.made),
        style: include_str!("../../../templates/page.css"),
        sections: sections(report, trends.is_some()),
        cards: cards(report, &compared, against.as_ref()),
        baseline: against.as_ref().map(BaselineSection::new),
        most: DETAILS,
        details: chosen
            .iter()
            .rev()
            .map(|number| RunSection::new(anchor(*number), &report.runs[*number].record))
            .collect(),
        comparisons: compared
            .iter()
            .map(|(number, loaded, view)| ComparisonSection::new(*number, loaded, view))
            .collect(),
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
    for (number, word) in [(outcomes.failed, "failed"), (outcomes.broken, "broken")] {
        if number > 0 {
            parts.push(format!("{} {word}", count(number, "run")));
        }
    }
    if parts.is_empty() && outcomes.passed > 0 {
        parts.push("passed".to_owned());
    }
    if outcomes.known_failures > 0 {
        parts.push(count(outcomes.known_failures, "known failure"));
    }
    if parts.is_empty() {
        parts.push("nothing was run".to_owned());
    }
    parts.join(", ")
}

/// The gravest of it.
fn badge(report: &Report) -> Badge {
    if report.verdict == Some(Verdict::Regressed) {
        return Verdict::Regressed.into();
    }
    let outcomes = || report.runs.iter().map(|run| &run.record.outcome);
    let of = |is: fn(&&Outcome) -> bool| outcomes().find(is).map(Badge::from);
    let failed = of(|outcome| matches!(outcome, Outcome::Failed(_)));
    failed
        .or_else(|| of(|outcome| matches!(outcome, Outcome::Broken(_))))
        .or_else(|| report.verdict.map(Badge::from))
        .or_else(|| of(|outcome| matches!(outcome, Outcome::Passed)))
        .or_else(|| of(|outcome| matches!(outcome, Outcome::KnownFailure { .. })))
        .unwrap_or_else(|| Badge::from(&NOTHING))
}

fn counts(report: &Report) -> String {
    let runs = format!("runs: {}", report.outcomes());
    match report.comparisons.len() {
        0 => runs,
        compared => format!("{} · {runs}", count(compared, "comparison")),
    }
}

fn sections(report: &Report, trends: bool) -> Vec<(&'static str, &'static str)> {
    let all = [
        (!report.comparisons.is_empty(), "comparisons", "Comparisons"),
        (report.baseline.is_some(), "baseline", "Baseline"),
        (trends, "trends", "Trends"),
        (!report.runs.is_empty(), "runs", "Runs"),
    ];
    let mut sections: Vec<_> = all
        .into_iter()
        .filter(|(is_there, ..)| *is_there)
        .map(|(_, anchor, name)| (anchor, name))
        .collect();
    // One place needs no signs.
    if sections.len() < 2 {
        sections.clear();
    }
    sections
}

/// Comparisons from the gravest to the mildest, with their numbers in the report.
fn by_gravity(report: &Report) -> Vec<(usize, &LoadedComparison)> {
    let mut compared: Vec<_> = (1..).zip(&report.comparisons).collect();
    compared.sort_by_key(|(_, loaded)| loaded.comparison.verdict);
    compared
}

/// Comparisons from the gravest to the mildest, the baseline, runs that failed or were broken, the latest first, and then those
/// that failed as is known.
fn cards(
    report: &Report,
    compared: &[(usize, &LoadedComparison, ComparisonView<'_>)],
    against: Option<&BaselineView<'_>>,
) -> Vec<Card> {
    let mut cards: Vec<Card> = compared
        .iter()
        .map(|(number, _, view)| comparison::card(*number, view))
        .collect();
    cards.extend(against.map(baseline::card));
    let mut known = Vec::new();
    for number in choice::in_detail(&report.runs, DETAILS).into_iter().rev() {
        let record = &report.runs[number].record;
        let (cards, message) = match &record.outcome {
            Outcome::Failed(failure) | Outcome::Broken(failure) => {
                // Two lines, for the first is often but the head of a list.
                let message: Vec<&str> = failure.message.lines().take(2).map(str::trim).collect();
                let message = format!("{}: {}", failure.phase, message.join(" "));
                (&mut cards, message)
            }
            Outcome::KnownFailure { known: by, .. } => (&mut known, by.because.clone()),
            Outcome::Passed | Outcome::Skipped { .. } => continue,
        };
        cards.push(Card {
            badge: Badge::from(&record.outcome),
            anchor: format!("run-{}", number + 1),
            title: record.title.clone(),
            lines: vec![record.scenario.clone(), beginning(&message, 220)],
        });
    }
    cards.append(&mut known);
    cards
}

fn row(run: &LoadedRun, anchor: String) -> RunRow {
    let record = &run.record;
    RunRow {
        badge: Badge::from(&record.outcome),
        anchor,
        scenario: record.scenario.clone(),
        settings: settings(&record.settings).join(" "),
        began: moment::utc(record.started),
        took: seconds(record.seconds()),
        rate: run::median_rate(record).map_or_else(|| "-".to_owned(), figure),
        path: run.path.display().to_string(),
    }
}
