//! A report as a comment on a pull request: the verdict first, then a table with intervals, then what failed, then trends.
//!
//! Records are not trusted: nothing that stands in them can make a heading, a link, a mention or a tag.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use sanlab_record::{Failure, Outcome, RunRecord};

use crate::benchmark::apart;
use crate::comparison::{Comparison, Side, contradictions};
use crate::load::LoadedRun;
use crate::moment;
use crate::number::{change, figure, probability, seconds, share};
use crate::report::{Outcomes, Report};
use crate::series::Series;
use crate::sparkline::sparkline;
use crate::statistics::median;
use crate::trend::Trend;
use crate::verdict::{Judgement, Verdict};

/// How many of the last runs a trend's line shows: as many as a phone has room for.
const LINE: usize = 30;

/// How many of a node's last console lines are shown.
const CONSOLE_TAIL: usize = 12;

/// How many lines of a run's message are shown: the first, where the cause stands.
const MESSAGE: usize = 40;

/// How many characters of a value are shown in a table.
const VALUE: usize = 48;

/// What the whole should not exceed, characters: GitHub takes 65536 in a comment. Tables of comparisons are never left out.
const ROOM: usize = 60_000;

/// The Markdown, as GitHub, GitLab and Forgejo understand it.
pub fn render(report: &Report) -> String {
    let mut text = format!("## {}\n\n{}\n", escape(&report.title), headline(report));
    for loaded in &report.comparisons {
        comparison(&mut text, &loaded.comparison);
    }
    if let Some(baseline) = &report.baseline {
        let _ = write!(
            text,
            "\n### against the baseline: {}\n\nA is the baseline {}, B these runs. They were not run in turns: what is timed may differ because the host does.\n\n",
            said(baseline.verdict),
            escape(&baseline.name),
        );
        let rows = baseline.series.iter();
        let rows = rows.map(|one| (Some(&one.series), &one.judgement));
        table(&mut text, &rows.collect::<Vec<_>>());
        for (what, series) in [
            ("not in the baseline", &baseline.unknown),
            ("in the baseline only", &baseline.missing),
        ] {
            if !series.is_empty() {
                let _ = writeln!(
                    text,
                    "\n{}: {what}",
                    count(series.len(), "series", "series")
                );
            }
        }
    }
    failures(&mut text, &report.runs);
    let mut table = String::new();
    trends(&mut table, &report.trends);
    if fits(&text, &table) {
        text.push_str(&table);
    } else {
        text.push_str("\n*the trends: too long for a comment*\n");
    }
    let _ = writeln!(text, "\n<sub>{}</sub>", moment::utc(report.made));
    text
}

/// The verdict and how the runs ended, in one line.
fn headline(report: &Report) -> String {
    let verdict = match report.verdict {
        Some(verdict) => said(verdict),
        None => "nothing was compared".to_owned(),
    };
    let Outcomes {
        passed,
        failed,
        broken,
        skipped,
    } = report.outcomes();
    let runs: Vec<_> = [
        (passed, "passed"),
        (failed, "failed"),
        (broken, "broken"),
        (skipped, "skipped"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, word)| format!("{count} {word}"))
    .collect();
    if runs.is_empty() {
        verdict
    } else {
        format!("{verdict} · runs: {}", runs.join(", "))
    }
}

fn said(verdict: Verdict) -> String {
    let sign = match verdict {
        Verdict::Regressed => "❌",
        Verdict::Undecided => "❔",
        Verdict::Improved => "⬆️",
        Verdict::NoChange => "✅",
    };
    format!("{sign} **{}**", verdict.as_str())
}

/// With how small no change is.
fn judged(judgement: &Judgement) -> String {
    let word = said(judgement.verdict);
    match judgement.within {
        Some(within) => format!("{word} within {}", share(within)),
        None => word,
    }
}

fn comparison(text: &mut String, comparison: &Comparison) {
    let _ = write!(
        text,
        "\n### {}: {}\n\nA: {} · B: {} · {} in {}\n\n",
        escape(&comparison.title),
        said(comparison.verdict),
        side(&comparison.a),
        side(&comparison.b),
        count(comparison.pairs, "pair", "pairs"),
        seconds(comparison.seconds),
    );
    let rows: Vec<_> = comparison
        .judgements
        .iter()
        .map(|judgement| (None, judgement))
        .collect();
    table(text, &rows);
    for told in contradictions(&comparison.judgements) {
        let _ = writeln!(text, "\n{}", escape(&told));
    }
}

fn side(side: &Side) -> String {
    if side.settings.is_empty() {
        return "the scenario as it is".to_owned();
    }
    settings(&side.settings)
}

fn settings(settings: &BTreeMap<String, String>) -> String {
    let pairs: Vec<_> = settings
        .iter()
        .map(|(key, value)| code(&format!("{key}={value}")))
        .collect();
    pairs.join(" ")
}

/// Judgements, each with its scenario where they are of series. Medians of the runs stand for the sides.
fn table(text: &mut String, rows: &[(Option<&Series>, &Judgement)]) {
    let all: Vec<_> = rows.iter().filter_map(|(series, _)| *series).collect();
    let scenarios = !all.is_empty();
    let (head, rule) = if scenarios {
        ("| scenario ", "|---")
    } else {
        ("", "")
    };
    let _ = writeln!(
        text,
        "{head}| step | measure | verdict | A | B | change | interval | p | equivalence margin | runs | |\n\
         {rule}|---|---|---|--:|--:|--:|:-:|--:|--:|--:|---|",
    );
    for (series, judgement) in rows {
        if let Some(series) = series {
            let _ = write!(text, "| {} ", escape(&series.scenario));
        }
        let _ = writeln!(
            text,
            "| {step} | {measure}, {unit} | {verdict} | {a} | {b} | {change} | {low} to {high} | {p} | {margin} | {runs} | {line} |",
            step = series.map_or_else(|| escape(&judgement.step), |series| step(series, &all)),
            measure = judgement.measure.title(),
            unit = judgement.measure.unit(),
            verdict = judged(judgement),
            a = middle(&judgement.a),
            b = middle(&judgement.b),
            change = change(judgement.ratio),
            low = change(judgement.interval.0),
            high = change(judgement.interval.1),
            p = escape(&probability(judgement.p)),
            margin = share(judgement.margin),
            runs = format_args!("{} + {}", judgement.a.len(), judgement.b.len()),
            line = pairs(judgement),
        );
    }
}

/// Pair by pair, B by A; where there are no pairs, both sides one after the other.
fn pairs(judgement: &Judgement) -> String {
    let Judgement { a, b, margin, .. } = judgement;
    // From the equivalence margin one way to that the other.
    let span = 2.0 * margin;
    if a.len() == b.len() {
        let ratios: Vec<_> = a.iter().zip(b).map(|(a, b)| b / a).collect();
        return sparkline(&ratios, span);
    }
    // A gap between the two, on one scale.
    let runs: Vec<_> = a
        .iter()
        .copied()
        .chain([f64::NAN])
        .chain(b.iter().copied())
        .collect();
    sparkline(&runs, span)
}

fn middle(figures: &[f64]) -> String {
    figure(median(figures).unwrap_or(f64::NAN))
}

fn failures(text: &mut String, runs: &[LoadedRun]) {
    let failed: Vec<_> = runs
        .iter()
        .filter_map(|run| match &run.record.outcome {
            Outcome::Failed(failure) | Outcome::Broken(failure) => Some((run, failure)),
            Outcome::Passed | Outcome::Skipped { .. } => None,
        })
        .collect();
    if failed.is_empty() {
        return;
    }
    text.push_str("\n### Runs that did not pass\n");
    let mut left_out = 0;
    for (run, failure) in failed {
        let mut one = String::new();
        one_failure(&mut one, &run.record, failure);
        if fits(text, &one) {
            text.push_str(&one);
        } else {
            left_out += 1;
        }
    }
    if left_out > 0 {
        let more = count(left_out, "more run", "more runs");
        let _ = writeln!(text, "\n*{more}: too long for a comment*");
    }
}

fn one_failure(text: &mut String, record: &RunRecord, failure: &Failure) {
    let _ = write!(
        text,
        "\n**{}** {} {}, in {}\n\n{}",
        escape(&record.scenario),
        settings(&record.settings),
        record.outcome.as_str(),
        escape(&failure.phase),
        fenced(&first_lines(&failure.message)),
    );
    for (node, lines) in &record.console_tail {
        let last = &lines[lines.len().saturating_sub(CONSOLE_TAIL)..];
        if !last.is_empty() {
            let _ = write!(
                text,
                "\n<details><summary>the last lines of {}'s console</summary>\n\n{}\n</details>\n",
                escape(node),
                fenced(&last.join("\n")),
            );
        }
    }
}

/// The first lines of a message, and how many more there are.
fn first_lines(message: &str) -> String {
    let mut lines: Vec<_> = message.lines().take(MESSAGE).map(str::to_owned).collect();
    let more = message.lines().count() - lines.len();
    if more > 0 {
        lines.push(format!("... and {}", count(more, "line", "lines")));
    }
    lines.join("\n")
}

fn fits(text: &str, part: &str) -> bool {
    text.chars().count() + part.chars().count() <= ROOM
}

fn trends(text: &mut String, trends: &[Trend]) {
    if trends.is_empty() {
        return;
    }
    let _ = write!(
        text,
        "\n<details><summary>Trends: {}</summary>\n\nNot a verdict: a run that is out of line is noise until more runs say the same.\n\n\
         | scenario | step | measure | latest | | runs | changes of level |\n|---|---|---|--:|---|---|---|\n",
        count(trends.len(), "line", "lines"),
    );
    let all: Vec<_> = trends.iter().map(|trend| &trend.series).collect();
    for trend in trends {
        let means: Vec<_> = trend.points.iter().map(|point| point.mean).collect();
        let _ = writeln!(
            text,
            "| {} | {} | {}, {} | {} | {} | {} {} | {} |",
            escape(&trend.series.scenario),
            step(&trend.series, &all),
            trend.measure.title(),
            trend.measure.unit(),
            figure(means.last().copied().unwrap_or(f64::NAN)),
            trend.says(),
            sparkline(
                &means[means.len().saturating_sub(LINE)..],
                2.0 * trend.measure.margin()
            ),
            means.len(),
            changes(trend),
        );
    }
    text.push_str("\n</details>\n");
}

/// A step, and what tells its series from others in the same table.
fn step(series: &Series, all: &[&Series]) -> String {
    let apart = apart(series, all.iter().copied());
    apart
        .into_iter()
        .fold(escape(&series.step), |text, (key, value)| {
            let mut short: String = value.chars().take(VALUE).collect();
            if short.len() < value.len() {
                short.push('…');
            }
            format!("{text} {}", code(&format!("{key}={short}")))
        })
}

fn changes(trend: &Trend) -> String {
    let changes: Vec<_> = trend
        .changes
        .iter()
        .filter_map(|found| {
            let point = trend.points.get(found.index)?;
            Some(format!(
                "{} since {}",
                change(found.after / found.before),
                moment::utc(point.started)
            ))
        })
        .collect();
    if changes.is_empty() {
        "none".to_owned()
    } else {
        changes.join("; ")
    }
}

fn count(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Text as text: on one line, and without a meaning for Markdown, HTML or a forge.
fn escape(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, character| {
        match character {
            // Entities, since a backslash does not stop a forge from finding a mention or an issue.
            '&' | '<' | '>' | '@' | '#' | '|' | '`' | '*' | '_' | '[' | ']' | '~' | '\\' | '!' => {
                let _ = write!(out, "&#{};", u32::from(character));
            }
            character if character.is_control() => out.push(' '),
            character => out.push(character),
        }
        out
    })
}

/// Text in the type of code, on one line.
fn code(text: &str) -> String {
    format!("<code>{}</code>", escape(text))
}

/// Lines in the type of code, whatever they hold.
fn fenced(text: &str) -> String {
    let longest = text
        .split(|character| character != '`')
        .map(str::len)
        .max()
        .unwrap_or_default();
    let fence = "`".repeat(3.max(longest + 1));
    let lines: String = text
        .chars()
        .filter(|character| !character.is_control() || matches!(character, '\n' | '\t'))
        .collect();
    format!("{fence}text\n{}\n{fence}\n", lines.trim_end())
}
