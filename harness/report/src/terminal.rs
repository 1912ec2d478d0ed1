//! Comparisons and reports as tables for a terminal: plain text, no colours, lines as wide as their figures need.

mod table;

use std::collections::BTreeMap;
use std::fmt::Write;

use sanlab_record::Outcome;

use crate::comparison::{Comparison, Side, contradictions};
use crate::load::LoadedRun;
use crate::moment;
use crate::number::{change, figure, probability, seconds, share};
use crate::report::Report;
use crate::statistics::{CONFIDENCE, median};
use crate::telling::telling;
use crate::trend::Trend;
use crate::verdict::Judgement;
use table::Table;

/// A comparison: its sides, every measure of every step, and the verdict at the end, where a terminal shows it.
///
/// A and B are medians of the runs, in the unit that stands beside them. The change is B by A, with its interval.
pub fn comparison_table(comparison: &Comparison) -> String {
    let mut text = format!("\n{}\n", table::plain(&comparison.scenario));
    for (name, side) in [("A", &comparison.a), ("B", &comparison.b)] {
        line(&mut text, &format!("  {name}  {}", given(side)));
    }
    text.push('\n');
    let judgements = comparison.judgements.iter();
    text.push_str(&judged(judgements.map(|one| (one.step.as_str(), one))));
    for told in contradictions(&comparison.judgements) {
        line(&mut text, &format!("\n  {}", table::plain(&told)));
    }
    let pairs = comparison.pairs;
    line(
        &mut text,
        &format!(
            "\n{}: {pairs} {} in {}, seed {}",
            comparison.verdict.as_str(),
            if pairs == 1 { "pair" } else { "pairs" },
            seconds(comparison.seconds),
            comparison.rules.seed
        ),
    );
    text
}

/// All of a report: comparisons, the baseline, what stands out of the trends, the runs, and what it comes to.
pub fn report_table(report: &Report) -> String {
    let mut text = String::new();
    for loaded in &report.comparisons {
        text.push_str(&comparison_table(&loaded.comparison));
    }
    if let Some(baseline) = &report.baseline {
        line(
            &mut text,
            &format!("\nagainst the baseline {}\n", baseline.name),
        );
        let names: Vec<String> = baseline
            .series
            .iter()
            .map(|one| format!("{} {}", one.series.scenario, one.series.step))
            .collect();
        let judgements = baseline.series.iter().map(|one| &one.judgement);
        text.push_str(&judged(names.iter().map(String::as_str).zip(judgements)));
        for (series, what) in [
            (&baseline.unknown, "that the baseline does not have"),
            (&baseline.missing, "of the baseline that were not run"),
        ] {
            if !series.is_empty() {
                line(&mut text, &format!("  and {} series {what}", series.len()));
            }
        }
        line(&mut text, &format!("\n{}", baseline.verdict.as_str()));
    }
    text.push_str(&trends(&report.trends));
    text.push_str(&runs(report));
    let outcomes = report.outcomes();
    let mut said: Vec<String> = [
        (outcomes.passed, "passed"),
        (outcomes.failed, "failed"),
        (outcomes.broken, "broken"),
        (outcomes.skipped, "skipped"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, word)| format!("{count} {word}"))
    .collect();
    if said.is_empty() {
        said.push("no runs".to_owned());
    }
    let runs = said.join(", ");
    let whole = match report.verdict {
        Some(verdict) => format!("\n{}; runs: {runs}", verdict.as_str()),
        None => format!("\n{runs}"),
    };
    line(&mut text, &whole);
    text
}

fn judged<'a>(judgements: impl Iterator<Item = (&'a str, &'a Judgement)>) -> String {
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
    let middle = |runs: &[f64]| median(runs).map_or_else(|| "-".to_owned(), figure);
    for (step, judgement) in judgements {
        let (low, high) = judgement.interval;
        let least = match judgement.noise_floor {
            Some(floor) if floor >= judgement.margin => {
                format!("{} (noise floor)", share(judgement.margin))
            }
            _ => share(judgement.margin),
        };
        table.row(vec![
            step.to_owned(),
            judgement.measure.title().to_owned(),
            judgement.measure.unit().to_owned(),
            middle(&judgement.a),
            middle(&judgement.b),
            change(judgement.ratio),
            format!("{} to {}", change(low), change(high)),
            probability(judgement.p),
            judgement.said(),
            least,
        ]);
    }
    table.render(2)
}

/// Of what was measured in more than one run: where the level changed, and what is out of the range of the runs before.
fn trends(trends: &[Trend]) -> String {
    let followed: Vec<&Trend> = trends
        .iter()
        .filter(|trend| trend.points.len() > 1)
        .collect();
    if followed.is_empty() {
        return String::new();
    }
    let told: Vec<&&Trend> = followed.iter().filter(|trend| trend.is_telling()).collect();
    let usual = followed.len() - told.len();
    let mut table = Table::new(&[
        "series", "measure", ">runs", ">latest", "unit", "changed", "stands",
    ]);
    for trend in told {
        let all = trends.iter().map(|trend| &trend.series);
        let mut series = vec![trend.series.scenario.clone(), trend.series.step.clone()];
        series.extend(telling(&trend.series, all));
        let latest = trend.points.last().map(|point| figure(point.mean));
        let changed = trend.changes.last().and_then(|found| {
            let point = trend.points.get(found.index)?;
            let when = moment::utc(point.started);
            Some(format!("{} on {when}", change(found.after / found.before)))
        });
        table.row(vec![
            series.join(" "),
            trend.measure.title().to_owned(),
            trend.points.len().to_string(),
            latest.unwrap_or_default(),
            trend.measure.unit().to_owned(),
            changed.unwrap_or_else(|| "-".to_owned()),
            trend.says(),
        ]);
    }
    let rest = format!(
        "  {usual} of {} followed figures are as usual\n",
        followed.len()
    );
    if table.is_empty() {
        return format!("\ntrends\n{rest}");
    }
    format!("\ntrends\n{}{rest}", table.render(2))
}

/// A line a scenario with its settings, and below them why runs did not pass, the latest last.
fn runs(report: &Report) -> String {
    const REASONS: usize = 10;
    const LINES: usize = 8;
    if report.runs.is_empty() {
        return String::new();
    }
    let mut scenarios: BTreeMap<_, Vec<&LoadedRun>> = BTreeMap::new();
    for run in &report.runs {
        let name = (&run.record.scenario, &run.record.settings);
        scenarios.entry(name).or_default().push(run);
    }
    let mut table = Table::new(&["scenario", ">runs", ">passed", "latest", "began"]);
    for ((scenario, settings), runs) in scenarios {
        let passed = |run: &&&LoadedRun| run.record.outcome == Outcome::Passed;
        let settings = settings
            .iter()
            .map(|(key, value)| format!(" {key}={value}"));
        let latest = runs.last().map(|run| &run.record);
        table.row([
            std::iter::once(scenario.clone()).chain(settings).collect(),
            runs.len().to_string(),
            runs.iter().filter(passed).count().to_string(),
            latest.map_or_else(String::new, |record| record.outcome.as_str().to_owned()),
            latest.map_or_else(String::new, |record| moment::utc(record.started)),
        ]);
    }
    let mut text = format!("\nruns\n{}", table.render(2));
    let told: Vec<_> = report
        .runs
        .iter()
        .filter_map(|run| match &run.record.outcome {
            Outcome::Failed(failure) | Outcome::Broken(failure) => Some((run, failure)),
            _ => None,
        })
        .collect();
    let earlier = told.len().saturating_sub(REASONS);
    if earlier > 0 {
        line(
            &mut text,
            &format!("\n{earlier} earlier ones that did not pass are not told here"),
        );
    }
    for (run, failure) in &told[earlier..] {
        let outcome = run.record.outcome.as_str();
        let place = run.path.display().to_string();
        line(&mut text, &format!("\n{}", table::plain(&place)));
        line(
            &mut text,
            &format!("  {outcome} in {}:", table::plain(&failure.phase)),
        );
        for said in failure.message.lines().take(LINES) {
            line(&mut text, &format!("    {}", table::plain(said)));
        }
        let more = failure.message.lines().count().saturating_sub(LINES);
        if more > 0 {
            line(
                &mut text,
                &format!("    and {more} more lines in the record"),
            );
        }
    }
    text
}

fn given(side: &Side) -> String {
    let settings: Vec<String> = side
        .settings
        .iter()
        .map(|(key, value)| table::plain(&format!("{key}={value}")))
        .collect();
    if settings.is_empty() {
        "as the scenario says".to_owned()
    } else {
        settings.join(" ")
    }
}

fn line(text: &mut String, line: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{line}");
}
