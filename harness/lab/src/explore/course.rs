//! The course of an exploration: runs side by side until there is enough. Knows no guests.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::kind::{Ended, Kind};
use super::space::{Point, Space};
use crate::LabError;

/// A run that is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trial {
    /// From 1, in the order in which they were begun.
    pub(crate) number: u32,
    /// What chance draws from.
    pub(crate) seed: u64,
    /// `KEY=VALUE`.
    pub(crate) settings: Vec<String>,
}

/// A run that has ended.
#[derive(Debug, Clone)]
pub(crate) struct Ran {
    pub(crate) ended: Ended,
    /// Where its record is.
    pub(crate) path: PathBuf,
}

/// Does runs.
pub(crate) trait Runner: Send + Sync + 'static {
    /// Does one. A run that did not pass is no error.
    fn run(&self, trial: Trial) -> impl Future<Output = Result<Ran, LabError>> + Send;

    /// Whether somebody wants an end.
    fn is_cancelled(&self) -> bool;
}

/// When there is enough.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    /// At most so many runs.
    pub(crate) runs: u32,
    /// None is begun later than this.
    pub(crate) budget: Option<Duration>,
    /// So many side by side.
    pub(crate) jobs: usize,
    /// Goes on after a failure.
    pub(crate) all: bool,
}

/// A run of an exploration.
#[derive(Debug, Clone)]
pub(crate) struct Explored {
    pub(crate) trial: Trial,
    pub(crate) point: Point,
    pub(crate) ran: Ran,
}

/// Why it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// As many runs as were wanted.
    Runs,
    /// As much time as was allowed.
    Budget,
    /// A run that failed.
    Failure,
    /// A run that the lab could not do.
    Broken,
    /// Somebody wanted it.
    Interrupted,
}

/// An exploration that has ended.
#[derive(Debug)]
pub(crate) struct Exploration {
    /// In the order in which they ended.
    pub(crate) runs: Vec<Explored>,
    pub(crate) end: End,
    /// Why the first run that left no record has left none.
    pub(crate) error: Option<LabError>,
    pub(crate) seconds: f64,
}

impl Exploration {
    /// The runs of each kind of failure, the first to end first.
    pub(crate) fn kinds(&self) -> BTreeMap<&Kind, Vec<&Explored>> {
        let mut kinds: BTreeMap<&Kind, Vec<&Explored>> = BTreeMap::new();
        for run in &self.runs {
            if let Some(kind) = run.ran.ended.failed() {
                kinds.entry(kind).or_default().push(run);
            }
        }
        kinds
    }

    /// How many runs passed.
    pub(crate) fn passed(&self) -> usize {
        let passed = self.runs.iter();
        passed.filter(|run| run.ran.ended == Ended::Passed).count()
    }
}

/// Does runs at points of `space` until there is enough. Those that run when it ends are awaited, and count; also where the lab cannot do
/// one of them.
pub(crate) async fn explore<R: Runner>(
    runner: &Arc<R>,
    space: &Space,
    seed: u64,
    bounds: &Bounds,
    mut tell: impl FnMut(&Explored, usize),
) -> Exploration {
    let begin = Instant::now();
    let mut runs: Vec<Explored> = Vec::new();
    let mut flying = JoinSet::new();
    let mut number = 0;
    let mut end = None;
    let mut first_error = None;
    // What the lab cannot do takes nothing from a failure that was found.
    let broken = |end| match end {
        Some(End::Failure) => End::Failure,
        _ => End::Broken,
    };
    loop {
        if end.is_none() {
            let is_late = bounds
                .budget
                .is_some_and(|budget| begin.elapsed() >= budget);
            end = if runner.is_cancelled() {
                Some(End::Interrupted)
            } else if number >= bounds.runs {
                Some(End::Runs)
            } else if is_late {
                Some(End::Budget)
            } else {
                None
            };
        }
        if end.is_none() && flying.len() < bounds.jobs {
            let point = space.point(seed, number);
            let trial = Trial {
                number: number + 1,
                seed: seed.wrapping_add(u64::from(number)),
                settings: space.settings(&point),
            };
            number += 1;
            let runner = Arc::clone(runner);
            flying.spawn(async move {
                let ran = runner.run(trial.clone()).await;
                ran.map(|ran| Explored { trial, point, ran })
            });
            continue;
        }
        let Some(landed) = flying.join_next().await else {
            break;
        };
        let landed = landed.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        let run = match landed {
            Ok(run) => run,
            // An interrupted run may have no record.
            Err(_) if runner.is_cancelled() => continue,
            Err(error) => {
                end = Some(broken(end));
                first_error.get_or_insert(error);
                continue;
            }
        };
        match &run.ran.ended {
            // An interrupted run is broken too.
            Ended::Broken(_) if runner.is_cancelled() => continue,
            Ended::Broken(_) => end = Some(broken(end)),
            Ended::Failed(_) if !bounds.all && end.is_none() => end = Some(End::Failure),
            Ended::Failed(_) | Ended::Passed => {}
        }
        runs.push(run);
        if let Some(run) = runs.last() {
            tell(run, runs.len());
        }
    }
    Exploration {
        runs,
        end: end.unwrap_or(End::Runs),
        error: first_error,
        seconds: begin.elapsed().as_secs_f64(),
    }
}

/// Does these runs, so many side by side; in their order. Where one leaves no record no further one is begun, and those that run are awaited.
pub(crate) async fn all<R: Runner>(
    runner: &Arc<R>,
    trials: Vec<Trial>,
    jobs: usize,
) -> Result<Vec<Ran>, LabError> {
    let mut ended: Vec<Option<Ran>> = trials.iter().map(|_| None).collect();
    let mut waiting = trials.into_iter().enumerate();
    let mut flying = JoinSet::new();
    let mut first_error = None;
    loop {
        while first_error.is_none()
            && flying.len() < jobs
            && let Some((place, trial)) = waiting.next()
        {
            let runner = Arc::clone(runner);
            flying.spawn(async move { (place, runner.run(trial).await) });
        }
        let Some(landed) = flying.join_next().await else {
            break;
        };
        let (place, ran) =
            landed.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        match ran {
            Ok(ran) => ended[place] = Some(ran),
            Err(error) => {
                first_error.get_or_insert(error);
            }
        }
    }
    match first_error {
        Some(error) => Err(error),
        None => Ok(ended.into_iter().flatten().collect()),
    }
}

#[cfg(test)]
pub(crate) mod tests;
