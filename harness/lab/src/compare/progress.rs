//! A comparison as a person follows it: a line a run, a line a pair.

use std::fmt::Write;

use sanlab_record::{EventKind, RunRecord};
use sanlab_report::comparison;
use sanlab_report::measure::Measure;
use sanlab_report::number::change;
use sanlab_report::series::figures;
use sanlab_report::verdict::{Judgement, Verdict};

use super::course::{Letter, News, Turn};
use crate::terminal::quantity::{count, took};
use crate::terminal::summary::not_counted;

/// The line that stays.
pub(crate) fn line(news: &News<'_>) -> String {
    match news {
        News::Ran { turn, record } => ran(*turn, record),
        News::Judged { pairs, judgements } => judged(*pairs, judgements),
    }
}

/// `pair 3, B: passed in 3.2 s; write 41.2 MiB/s, 9.84 M instructions/MiB`.
fn ran(turn: Turn, record: &RunRecord) -> String {
    let Turn { side, pair } = turn;
    let which = match pair {
        0 => format!("preparation, {}", side.as_str()),
        _ => format!("pair {pair}, {}", side.as_str()),
    };
    let seconds = took(record.seconds());
    let mut text = format!("{which}: {} in {seconds}", record.outcome.as_str());
    for figures in figures(record) {
        let mut parts = Vec::new();
        if let Some(rate) = figures.figure(Measure::Throughput) {
            parts.push(format!("{rate:.1} MiB/s"));
        }
        if let Some(instructions) = figures.figure(Measure::Instructions) {
            parts.push(format!("{:.2} M instructions/MiB", instructions / 1e6));
        }
        if !parts.is_empty() {
            // Writing to a String cannot fail.
            let _ = write!(text, "; {} {}", figures.series.step, parts.join(", "));
        }
    }
    let proved = record.events.iter().map(|event| &event.kind);
    for proof in proved.filter(|kind| matches!(kind, EventKind::ProvedBefore { .. })) {
        let _ = write!(text, "; {proof}");
    }
    // Once a side: it is the same in all its runs.
    for line in not_counted(record).filter(|_| pair == 0) {
        let _ = write!(text, "; {line}");
    }
    text
}

/// `after 4 pairs: undecided (2 regressed, 3 no change, 1 undecided); worst: write: throughput -9.8 %`.
fn judged(pairs: usize, judgements: &[Judgement]) -> String {
    let counts: Vec<String> = [
        Verdict::Regressed,
        Verdict::Undecided,
        Verdict::Improved,
        Verdict::NoChange,
    ]
    .into_iter()
    .filter_map(|verdict| {
        let count = judgements.iter().filter(|it| it.verdict == verdict).count();
        (count > 0).then(|| format!("{count} {}", verdict.as_str()))
    })
    .collect();
    let mut text = format!(
        "after {}: {}",
        count(pairs, "pair"),
        comparison::overall(judgements).as_str()
    );
    if !counts.is_empty() {
        let _ = write!(text, " ({})", counts.join(", "));
    }
    let regressed = judgements
        .iter()
        .filter(|it| it.verdict == Verdict::Regressed);
    let furthest = regressed.max_by(|one, other| {
        let by = |it: &Judgement| it.ratio.max(1e-9).ln().abs();
        by(one).total_cmp(&by(other))
    });
    if let Some(it) = furthest {
        let _ = write!(
            text,
            "; {}: {} {}",
            it.step,
            it.measure.title(),
            change(it.ratio)
        );
    }
    text
}

/// `A is ..., B is ...`: what is compared, before anything runs.
pub(crate) fn sides(a: &str, b: &str) -> String {
    let name = Letter::as_str;
    format!("{}: {a}\n{}: {b}", name(Letter::A), name(Letter::B))
}
