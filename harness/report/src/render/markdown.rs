//! A report as a comment on a pull request: the verdict first, then a table with intervals, then what failed, what is known to
//! fail, what was excused, then trends.
//!
//! Records are not trusted: nothing that stands in them can make a heading, a link, a mention or a tag.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use sanlab_record::{Failure, FindingKind, Outcome, RunRecord};

use crate::load::LoadedRun;
use crate::render::findings;
use crate::render::moment;
use crate::render::number::count;
use crate::render::report::Report;
use crate::render::sparkline::sparkline;
use crate::render::view::{
    AS_IT_IS, BaselineView, ComparisonView, JudgementView, TrendView, failures, head,
    known_failures, settings, web_address,
};
use crate::verdict::{Judgement, Verdict};

/// How many of the last runs a trend's line shows: as many as a phone has room for.
const LINE: usize = 30;

/// How many of a node's last console lines are shown.
const CONSOLE_TAIL: usize = 12;

/// How many lines of a run's message are shown.
const MESSAGE: usize = 40;

/// What the whole should not exceed, characters: GitHub takes 65536 in a comment. Tables of comparisons are never left out.
const ROOM: usize = 60_000;

/// The Markdown, as GitHub, GitLab and Forgejo understand it.
pub fn render(report: &Report) -> String {
    let mut text = format!("## {}\n\n{}\n", escape(&report.title), headline(report));
    for loaded in &report.comparisons {
        comparison(&mut text, &ComparisonView::new(&loaded.comparison));
    }
    if let Some(against) = report.baseline.as_ref().map(BaselineView::new) {
        let _ = write!(
            text,
            "\n### against the baseline: {}\n\nA is the baseline {}, B these runs. They were not run in turns: what is timed may differ because the host does.\n\n",
            signed(against.verdict),
            escape(against.name),
        );
        table(&mut text, &against.rows);
        for (what, series) in &against.others {
            let _ = writeln!(text, "\n{} {what}", count(series.len(), "series"));
        }
    }
    did_not_pass(&mut text, report);
    let parts = [
        ("known failures", known(report)),
        ("what was excused", excused(report)),
        ("the trends", trends(&TrendView::all(&report.trends))),
    ];
    for (name, part) in parts {
        if fits(&text, &part) {
            text.push_str(&part);
        } else {
            let _ = writeln!(text, "\n*{name}: too long for a comment*");
        }
    }
    let _ = writeln!(text, "\n<sub>{}</sub>", moment::utc(report.made));
    text
}

/// The verdict and how the runs ended, in one line.
fn headline(report: &Report) -> String {
    let verdict = match report.verdict {
        Some(verdict) => signed(verdict),
        None => "nothing was compared".to_owned(),
    };
    if report.runs.is_empty() {
        return verdict;
    }
    format!("{verdict} · runs: {}", report.outcomes())
}

fn signed(verdict: Verdict) -> String {
    let sign = match verdict {
        Verdict::Regressed => "❌",
        Verdict::Undecided => "❔",
        Verdict::Improved => "⬆️",
        Verdict::NoChange => "✅",
    };
    format!("{sign} **{verdict}**")
}

fn comparison(text: &mut String, view: &ComparisonView<'_>) {
    let _ = write!(
        text,
        "\n### {}: {}\n\nA: {} · B: {} · {}\n\n",
        escape(view.title),
        signed(view.verdict),
        side(&view.a),
        side(&view.b),
        view.took,
    );
    table(text, &view.rows);
    for sentence in &view.contradictions {
        let _ = writeln!(text, "\n{}", escape(sentence));
    }
}

fn side(settings: &[String]) -> String {
    if settings.is_empty() {
        return AS_IT_IS.to_owned();
    }
    codes(settings)
}

/// Each in the type of code, on one line.
fn codes(texts: &[String]) -> String {
    let codes = texts.iter();
    let codes = codes.map(|text| format!("<code>{}</code>", escape(text)));
    codes.collect::<Vec<_>>().join(" ")
}

/// A step, and what tells its series from others in the same table.
fn step(step: &str, apart: &[String]) -> String {
    if apart.is_empty() {
        return escape(step);
    }
    format!("{} {}", escape(step), codes(apart))
}

fn table(text: &mut String, rows: &[JudgementView<'_>]) {
    let (head, rule) = match rows.first().and_then(|row| row.scenario) {
        Some(_) => ("| scenario ", "|---"),
        None => ("", ""),
    };
    let _ = writeln!(
        text,
        "{head}| step | measure | verdict | A | B | change | interval | p | equivalence margin | runs | |\n\
         {rule}|---|---|---|--:|--:|--:|:-:|--:|--:|--:|---|",
    );
    for row in rows {
        if let Some(scenario) = row.scenario {
            let _ = write!(text, "| {} ", escape(scenario));
        }
        let within = row.within.iter().map(|share| format!(" within {share}"));
        let _ = writeln!(
            text,
            "| {} | {}, {} | {}{} | {} | {} | {} | {} | {} | {} | {} | {} |",
            step(row.step, &row.apart),
            row.measure,
            row.unit,
            signed(row.judgement.verdict),
            within.collect::<String>(),
            row.a,
            row.b,
            row.change,
            row.interval,
            escape(&row.p),
            row.margin,
            row.runs,
            pairs(row.judgement),
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
    sparkline(&[&a[..], &[f64::NAN], b].concat(), span)
}

fn did_not_pass(text: &mut String, report: &Report) {
    let failed = failures(report);
    if failed.is_empty() {
        return;
    }
    text.push_str("\n### Runs that failed or are broken\n");
    let mut left_out = 0;
    for (run, failure) in failed {
        let one = one_failure(&run.record, failure);
        if fits(text, &one) {
            text.push_str(&one);
        } else {
            left_out += 1;
        }
    }
    if left_out > 0 {
        let more = count(left_out, "more run");
        let _ = writeln!(text, "\n*{more}: too long for a comment*");
    }
}

fn one_failure(record: &RunRecord, failure: &Failure) -> String {
    let mut text = format!(
        "\n{} {}, in {}\n\n{}",
        scenario(record),
        record.outcome.as_str(),
        escape(&failure.phase.to_string()),
        fenced(&head(&failure.message, MESSAGE).join("\n")),
    );
    let mut found = findings::lines(record);
    found.extend(findings::traces(record));
    if !found.is_empty() {
        let _ = write!(text, "\n{}", fenced(&found.join("\n")));
    }
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
    text
}

/// Failures that are known, with the reason and where it is reported.
fn known(report: &Report) -> String {
    let known = known_failures(report);
    if known.is_empty() {
        return String::new();
    }
    let mut text = "\n### Known failures\n\n".to_owned();
    for (run, failure, known) in known {
        let source = match web_address(&known.source) {
            Some(address) => format!("<{address}>"),
            None => codes(std::slice::from_ref(&known.source)),
        };
        let _ = writeln!(
            text,
            "- {} in {}: {} ({source})",
            scenario(&run.record),
            escape(&failure.phase.to_string()),
            escape(&known.because),
        );
    }
    text
}

/// What was excused, of each scenario with its settings in the latest run that passed: how often which kind.
fn excused(report: &Report) -> String {
    let mut latest = BTreeMap::new();
    for LoadedRun { record, .. } in &report.runs {
        if record.outcome == Outcome::Passed {
            latest.insert((&record.scenario, &record.settings), record);
        }
    }
    let mut lines = String::new();
    for record in latest.into_values() {
        let mut kinds: BTreeMap<FindingKind, u64> = BTreeMap::new();
        for finding in &record.findings {
            *kinds.entry(finding.kind).or_default() += finding.count;
        }
        let kinds: Vec<_> = kinds
            .into_iter()
            .map(|(kind, times)| format!("{kind} ×\u{a0}{times}"))
            .collect();
        if !kinds.is_empty() {
            let _ = writeln!(lines, "- {}: {}", scenario(record), kinds.join(", "));
        }
    }
    if lines.is_empty() {
        return lines;
    }
    format!("\n<details><summary>Excused in runs that passed</summary>\n\n{lines}\n</details>\n")
}

/// A run's scenario and what it was given.
fn scenario(record: &RunRecord) -> String {
    let settings = settings(&record.settings);
    format!("**{}** {}", escape(&record.scenario), codes(&settings))
        .trim_end()
        .to_owned()
}

fn fits(text: &str, part: &str) -> bool {
    text.chars().count() + part.chars().count() <= ROOM
}

fn trends(views: &[TrendView<'_>]) -> String {
    if views.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "\n<details><summary>Trends: {}</summary>\n\nNot a verdict: a run that is out of line is noise until more runs say the same.\n\n\
         | scenario | step | measure | latest | | runs | changes of level |\n|---|---|---|--:|---|---|---|\n",
        count(views.len(), "line"),
    );
    for view in views {
        let trend = view.trend;
        let means: Vec<_> = trend.points.iter().map(|point| point.mean).collect();
        let last = &means[means.len().saturating_sub(LINE)..];
        let changes: Vec<_> = view.changes.iter().map(|one| one.short.as_str()).collect();
        let _ = writeln!(
            text,
            "| {} | {} | {}, {} | {} | {} | {} {} | {} |",
            escape(&trend.series.scenario),
            step(&trend.series.step, &view.apart),
            view.measure,
            view.unit,
            view.latest,
            view.stands,
            sparkline(last, 2.0 * trend.measure.margin()),
            means.len(),
            if changes.is_empty() {
                "none".to_owned()
            } else {
                changes.join("; ")
            },
        );
    }
    text.push_str("\n</details>\n");
    text
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
