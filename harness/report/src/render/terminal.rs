//! Comparisons and reports as tables for a terminal: plain text, no colours, lines as wide as their figures need.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::load::LoadedRun;
use crate::render::findings;
use crate::render::moment;
use crate::render::number::{count, share};
use crate::render::report::{Outcomes, Report};
use crate::render::table::{Table, plain};
use crate::render::view::{
    BaselineView, ComparisonView, JudgementView, TrendView, failures, given, head, joined,
    known_failures, settings,
};
use crate::statistics::CONFIDENCE;
use crate::verdict::comparison::Comparison;

/// A comparison: its sides, every measure of every step, and the verdict at the end, where a terminal shows it.
///
/// A and B are medians of the runs, in the unit that stands beside them. The change is B by A, with its interval.
pub fn comparison_table(comparison: &Comparison) -> String {
    let view = ComparisonView::new(comparison);
    let mut text = format!(
        "\n{}\n  A  {}\n  B  {}\n\n{}",
        plain(view.scenario),
        plain(&given(&view.a)),
        plain(&given(&view.b)),
        judged(&view.rows)
    );
    for sentence in &view.contradictions {
        line(&mut text, &format!("\n  {}", plain(sentence)));
    }
    let (verdict, took, seed) = (view.verdict, view.took, view.seed);
    line(&mut text, &format!("\n{verdict}: {took}, seed {seed}"));
    text
}

/// All of a report: comparisons, the baseline, what stands out of the trends, the runs, and what it comes to.
pub fn report_table(report: &Report) -> String {
    let mut text = String::new();
    for loaded in &report.comparisons {
        text.push_str(&comparison_table(&loaded.comparison));
    }
    if let Some(baseline) = report.baseline.as_ref().map(BaselineView::new) {
        let name = plain(baseline.name);
        line(&mut text, &format!("\nagainst the baseline {name}\n"));
        text.push_str(&judged(&baseline.rows));
        for (what, series) in &baseline.others {
            line(&mut text, &format!("  and {} series {what}", series.len()));
        }
        line(&mut text, &format!("\n{}", baseline.verdict));
    }
    text.push_str(&trends(&TrendView::all(&report.trends)));
    text.push_str(&runs(report));
    let runs = report.outcomes();
    let whole = match report.verdict {
        Some(verdict) => format!("\n{verdict}; runs: {runs}"),
        None => format!("\n{runs}"),
    };
    line(&mut text, &whole);
    text
}

fn judged(rows: &[JudgementView<'_>]) -> String {
    let interval = format!(">{} interval", share(CONFIDENCE));
    let mut table = Table::new(&[
        "step",
        "measure",
        "unit",
        ">A",
        ">B",
        ">change",
        &interval,
        ">p",
        "verdict",
        "equivalence margin",
    ]);
    for row in rows {
        table.row([
            &row.name(),
            row.measure,
            row.unit,
            &row.a,
            &row.b,
            &row.change,
            &row.interval,
            &row.p,
            &row.judgement.said(),
            &row.margin,
        ]);
    }
    table.render(2)
}

/// Of what was measured in more than one run: where the level changed, and what is out of the range of the runs before.
fn trends(views: &[TrendView<'_>]) -> String {
    let followed = |view: &&TrendView<'_>| view.trend.points.len() > 1;
    let followed: Vec<_> = views.iter().filter(followed).collect();
    if followed.is_empty() {
        return String::new();
    }
    let told = followed.iter().filter(|view| view.trend.is_telling());
    let usual = followed.len() - told.clone().count();
    let mut table = Table::new(&[
        "series", "measure", ">runs", ">latest", "unit", "changed", "stands",
    ]);
    for view in told {
        let changed = view.changes.last().map_or("-", |change| &change.short);
        table.row([
            &view.name(),
            view.measure,
            &view.trend.points.len().to_string(),
            &view.latest,
            view.unit,
            changed,
            &view.stands,
        ]);
    }
    let rows = if table.is_empty() {
        String::new()
    } else {
        table.render(2)
    };
    let followed = followed.len();
    format!("\ntrends\n{rows}  {usual} of {followed} followed figures are as usual\n")
}

/// A line a scenario with its settings, and below them why runs failed or were broken, the latest last, and which failures are
/// known.
fn runs(report: &Report) -> String {
    const REASONS: usize = 10;
    const LINES: usize = 8;
    if report.runs.is_empty() {
        return String::new();
    }
    let mut scenarios: BTreeMap<_, Vec<&LoadedRun>> = BTreeMap::new();
    for run in &report.runs {
        let name = (&run.record.scenario, settings(&run.record.settings));
        scenarios.entry(name).or_default().push(run);
    }
    let mut table = Table::new(&[
        "scenario",
        ">runs",
        ">passed",
        ">known failures",
        "latest",
        "began",
    ]);
    for ((scenario, settings), runs) in scenarios {
        let outcomes = Outcomes::of(runs.iter().map(|run| &run.record));
        // A scenario without runs is not in the map.
        let Some(latest) = runs.last().map(|run| &run.record) else {
            continue;
        };
        table.row([
            joined(scenario, &settings),
            runs.len().to_string(),
            outcomes.passed.to_string(),
            outcomes.known_failures.to_string(),
            latest.outcome.as_str().to_owned(),
            moment::utc(latest.started),
        ]);
    }
    let mut text = format!("\nruns\n{}", table.render(2));
    let told = failures(report);
    let earlier = told.len().saturating_sub(REASONS);
    if earlier > 0 {
        let runs = count(earlier, "earlier run");
        line(
            &mut text,
            &format!("\n{runs} that failed or were broken: not shown here"),
        );
    }
    for (run, failure) in &told[earlier..] {
        let place = run.path.display().to_string();
        let outcome = run.record.outcome.as_str();
        line(
            &mut text,
            &format!(
                "\n{}\n  {outcome} in {}:",
                plain(&place),
                plain(&failure.phase.to_string())
            ),
        );
        let mut told = head(&failure.message, LINES);
        told.extend(findings::lines(&run.record));
        told.extend(findings::traces(&run.record));
        for said in told {
            line(&mut text, &format!("    {}", plain(&said)));
        }
    }
    let known = known_failures(report);
    if !known.is_empty() {
        text.push_str("\nknown failures\n");
    }
    for (run, failure, known) in known {
        let lines = [
            format!("  {}, in {}:", run.short_name(), failure.phase),
            format!("    because: {}", known.because),
            format!("    source: {}", known.source),
        ];
        for one in lines {
            line(&mut text, &plain(&one));
        }
    }
    text
}

fn line(text: &mut String, line: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{line}");
}
