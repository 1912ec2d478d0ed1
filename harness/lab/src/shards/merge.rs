//! Which records of several run folders make up the run of the whole suite. The result does not depend on the order of the folders, nor on how often
//! one is named, nor on whether some were merged before.
//!
//! Of several records of the same scenario and attempt, as of a shard that was started again, the one counts that ended last; but one that
//! came to its end counts before one that was interrupted, and that before one that was skipped.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};

use sanlab_record::{Failure, FailureKind, Outcome, PhaseName, RunRecord};
use sanlab_report::{ReportError, load};

use super::ShardError;
use super::folders::Folder;
use super::suite::{ShardRun, Suite, Wanted};
use crate::lab::runs;
use crate::terminal::quantity::took;

/// Shards of the same suite are started within that time, seconds.
const FAR_APART: f64 = 86_400.0;

/// One run of a merged suite.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Chosen {
    /// Its folder below the run's: `nbd/mount`, `nbd/mount-2`.
    pub(crate) name: String,
    /// Which shard should have run it, from 1.
    pub(crate) shard: usize,
    /// What it says. Of one that left no record: that.
    pub(crate) record: RunRecord,
    /// Where the record lies, with its logs; `None`: there is none.
    pub(crate) folder: Option<PathBuf>,
}

/// A whole suite.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Merged {
    pub(crate) suite: Suite,
    /// Every run that the suite asks for, by scenario and attempt.
    pub(crate) runs: Vec<Chosen>,
    /// What was not taken, and why.
    pub(crate) told: Vec<String>,
}

/// A record that could be taken.
struct Candidate {
    record: RunRecord,
    folder: PathBuf,
}

/// Merges folders, of which there is one at least.
pub(crate) fn merge(folders: &[Folder]) -> Result<Merged, ShardError> {
    let Some((first, others)) = folders.split_first() else {
        return Err(ShardError::NothingToMerge { told: Vec::new() });
    };
    let mut suite = first.suite.clone();
    for other in others {
        if let Some(difference) = first.suite.difference(&other.suite) {
            return Err(ShardError::OtherDivision {
                first: first.path.clone(),
                second: other.path.clone(),
                difference,
            });
        }
        suite.add(&other.suite);
    }
    let mut told: Vec<String> = apart(&suite).into_iter().collect();
    let mut runs = Vec::new();
    for wanted in suite.wanted() {
        let candidates = candidates(&wanted, folders, &mut told);
        let (record, folder) = match choose(&wanted, candidates, &mut told) {
            Some(Candidate { record, folder }) => (record, Some(folder)),
            None => (missing(&wanted, &suite), None),
        };
        runs.push(Chosen {
            name: wanted.folder(),
            shard: wanted.shard,
            record,
            folder,
        });
    }
    Ok(Merged { suite, runs, told })
}

/// What is said where the runs cannot well be of one night.
fn apart(suite: &Suite) -> Option<String> {
    let by_time = |one: &&ShardRun, other: &&ShardRun| one.started.total_cmp(&other.started);
    let first = suite.runs.iter().min_by(by_time)?;
    let last = suite.runs.iter().max_by(by_time)?;
    let seconds = last.started - first.started;
    (seconds > FAR_APART).then(|| {
        format!(
            "{} and {} began {} apart: an earlier run may stand in for what is missing",
            first.run,
            last.run,
            took(seconds)
        )
    })
}

/// All records of a run that can be read. Those that only say that there was none are not among them.
fn candidates(wanted: &Wanted<'_>, folders: &[Folder], told: &mut Vec<String>) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    for folder in folders {
        let folder = folder.path.join(wanted.folder());
        let path = folder.join("record.json");
        if !path.exists() {
            continue;
        }
        match read(&path, wanted.id) {
            Ok(record) if is_missing(&record.outcome) => {}
            Ok(record) => candidates.push(Candidate { record, folder }),
            Err(why) => told.push(format!("left out: {why}")),
        }
    }
    candidates
}

fn read(path: &Path, id: &str) -> Result<RunRecord, String> {
    let loaded = load::load(&[path.to_owned()]).map_err(|error| match error {
        ReportError::Unreadable(faults) => {
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            faults.join("\n")
        }
        other => other.to_string(),
    })?;
    let record = loaded.runs.into_iter().next().map(|run| run.record);
    record
        .filter(|record| record.scenario == id)
        .ok_or_else(|| format!("{}: it is no record of {id}", path.display()))
}

/// The one that counts. What was really run and does not count is told.
fn choose(
    wanted: &Wanted<'_>,
    mut candidates: Vec<Candidate>,
    told: &mut Vec<String>,
) -> Option<Candidate> {
    candidates.sort_by(|one, other| by_rank(&one.record, &other.record));
    // The same record from a shard and from what it was merged into before.
    candidates.dedup_by(|one, other| one.record == other.record);
    let chosen = candidates.pop()?;
    let shown = |one: &Candidate| {
        let outcome = &one.record.outcome;
        let how = if is_interrupted(outcome) {
            "interrupted"
        } else {
            outcome.as_str()
        };
        format!("{} ({how})", one.folder.display())
    };
    let was_run = |one: &&Candidate| rank(&one.record.outcome) > Rank::Skipped;
    let others: Vec<String> = candidates.iter().filter(was_run).map(shown).collect();
    if !others.is_empty() {
        told.push(format!(
            "{}: run more than once: the last that came to its end counts, {}; not {}",
            wanted.folder(),
            shown(&chosen),
            others.join(", ")
        ));
    }
    Some(chosen)
}

/// What counts more is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Skipped,
    Interrupted,
    Ended,
}

fn rank(outcome: &Outcome) -> Rank {
    match outcome {
        Outcome::Skipped { .. } => Rank::Skipped,
        _ if is_interrupted(outcome) => Rank::Interrupted,
        _ => Rank::Ended,
    }
}

fn by_rank(one: &RunRecord, other: &RunRecord) -> Ordering {
    let ended = |record: &RunRecord| record.started + record.seconds();
    rank(&one.outcome)
        .cmp(&rank(&other.outcome))
        .then_with(|| ended(one).total_cmp(&ended(other)))
        .then_with(|| one.to_json().cmp(&other.to_json()))
}

/// Whether somebody ended the run.
pub(crate) fn is_interrupted(outcome: &Outcome) -> bool {
    is_of_kind(outcome, FailureKind::Interrupted)
}

/// Whether the record stands for one that is not there.
pub(crate) fn is_missing(outcome: &Outcome) -> bool {
    is_of_kind(outcome, FailureKind::NoRecord)
}

fn is_of_kind(outcome: &Outcome, kind: FailureKind) -> bool {
    outcome
        .failure()
        .is_some_and(|failure| failure.kind == kind)
}

/// The record of a run that left none, so that every report of the merged folder has it: broken, since nothing is known of the stack. It
/// follows from the suite alone.
fn missing(wanted: &Wanted<'_>, suite: &Suite) -> RunRecord {
    let share = suite.share(wanted.shard);
    let mut runs = suite.runs.iter().filter(|run| run.shard == wanted.shard);
    let why = match runs.next() {
        None => format!("no record: shard {share} is not there"),
        Some(run) => {
            let names = runs.fold(run.run.clone(), |names, run| names + ", " + &run.run);
            format!("no record: shard {share} left none that can be read ({names})")
        }
    };
    let began = suite.runs.iter().map(|run| run.started);
    RunRecord {
        started: began.reduce(f64::min).unwrap_or_default(),
        ..runs::without_run(
            wanted.id,
            wanted.id,
            Outcome::Broken(Failure::new(PhaseName::Start, FailureKind::NoRecord, why)),
        )
    }
}
