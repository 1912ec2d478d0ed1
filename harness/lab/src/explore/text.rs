//! An exploration as a person reads it.

use std::fmt::Write;

use sanlab_report::number::share;
use sanlab_report::table::Table;

use super::course::{End, Exploration, Explored, Trial};
use super::kind::{Ended, Kind};
use super::narrow::{NEIGHBOURS, Narrowed, TRIES};
use crate::lab::runs::shown;
use crate::terminal::quantity::{count, took};

/// The line of a run that failed; of one that passed, nothing.
pub(crate) fn line(run: &Explored) -> Option<String> {
    let Trial {
        number,
        seed,
        settings,
    } = &run.trial;
    let where_it_is = || {
        let mut words = settings.clone();
        words.push(format!("seed {seed}"));
        words.join(", ")
    };
    match &run.ran.ended {
        Ended::Passed => None,
        Ended::Failed(kind) => Some(format!(
            "run {number} failed: {}; {}",
            words(kind),
            where_it_is()
        )),
        Ended::Broken(why) => Some(format!("run {number} is broken: {why}; {}", where_it_is())),
    }
}

fn words(kind: &Kind) -> String {
    let known = if kind.known { " (known)" } else { "" };
    format!("{}: {}{known}", kind.phase, kind.what)
}

/// A line for each kind of failure, and one for what passed.
pub(crate) fn table(exploration: &Exploration) -> String {
    let mut table = Table::new(&["outcome", ">runs", ">share", "first seen with", "record"]);
    let all = exploration.runs.len();
    let part = |runs: usize| share(runs as f64 / all.max(1) as f64);
    for (kind, runs) in exploration.kinds() {
        let first = runs.first();
        table.row([
            words(kind),
            runs.len().to_string(),
            part(runs.len()),
            first.map_or_else(String::new, |run| {
                let settings = run.trial.settings.first().cloned();
                settings.unwrap_or_else(|| format!("seed {}", run.trial.seed))
            }),
            first.map_or_else(String::new, |run| {
                shown(&run.ran.path).display().to_string()
            }),
        ]);
    }
    let passed = exploration.passed();
    let none = String::new();
    table.row([
        "passed".to_owned(),
        passed.to_string(),
        part(passed),
        none.clone(),
        none,
    ]);
    format!("\n{}", table.render(0))
}

/// How many runs there were, how long they took, and why there were no more.
pub(crate) fn end(exploration: &Exploration) -> String {
    let runs = count(exploration.runs.len(), "run");
    let seconds = took(exploration.seconds);
    let why = match exploration.end {
        End::Runs => "as many as were wanted",
        End::Budget => "the budget is spent; a larger --budget allows more",
        End::Failure => "one failed; --all goes on",
        End::Broken => "the lab could not do one of them",
        End::Interrupted => "interrupted",
    };
    format!("{runs} in {seconds}: {why}\n")
}

/// What is left of a failure, and the command that repeats it.
pub(crate) fn narrowed(kind: &Kind, narrowed: &Narrowed, command: &str) -> String {
    let mut text = format!("\n{}\n", words(kind));
    // Writing to a String cannot fail.
    for edge in &narrowed.edges {
        let _ = writeln!(
            text,
            "  fails with {} from {} to {}",
            edge.key, edge.from, edge.to
        );
    }
    for group in &narrowed.needless {
        let _ = writeln!(text, "  fails without {}", group.join(", "));
    }
    let (failed, of) = narrowed.again;
    let _ = writeln!(
        text,
        "  failed again in {failed} of {of} runs of\n  {command}"
    );
    text
}

/// A failure that did not come again.
pub(crate) fn not_again(kind: &Kind, command: &str) -> String {
    format!(
        "\n{}\n  failed neither in {TRIES} further runs nor in {NEIGHBOURS} near by; it was\n  {command}\n",
        words(kind),
    )
}
