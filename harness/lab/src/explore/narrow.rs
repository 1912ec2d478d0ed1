//! From a run that failed to the least that still fails: without the faults that it does not need, and between the values of each
//! dimension beyond which it passes.

use std::sync::Arc;

use sanlab_plan::{FaultRole, Plan};

use super::course::{Explored, Runner, Trial, all};
use super::kind::{Ended, Kind};
use super::space::{Point, Space};
use crate::LabError;

/// How often what is tried is run: a race does not come every time.
pub(crate) const TRIES: usize = 3;

/// How often the failure is run again at last, for how often it comes.
const AGAIN: usize = 5;

/// How many runs look for a failure near one that did not come again: on a host with other work a moment is not met exactly.
pub(crate) const NEIGHBOURS: u32 = 16;

/// How far from it they are at most, as a share of each dimension.
const NEIGHBOURHOOD: f64 = 1.0 / 16.0;

/// An edge is as near as this share of its dimension.
const NEAR: f64 = 1.0 / 64.0;

/// What is left of a failure.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Narrowed {
    /// What was run again, and of how many runs it came in how many.
    pub(crate) trial: Trial,
    pub(crate) again: (usize, usize),
    /// Labels of faults that it does not need, with what is left out with each.
    pub(crate) needless: Vec<Vec<String>>,
    /// By key: the first and the last value at which it was seen to fail, and whether others pass before and behind them.
    pub(crate) edges: Vec<Edge>,
}

/// Between which values it fails, where one dimension alone changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edge {
    pub(crate) key: String,
    pub(crate) from: String,
    pub(crate) to: String,
}

/// Does the runs that narrow a failure.
pub(crate) struct Narrower<'a, R> {
    pub(crate) runner: &'a Arc<R>,
    pub(crate) space: &'a Space,
    pub(crate) jobs: usize,
    /// All runs so far, of which some are nearer than the edges.
    pub(crate) runs: &'a [Explored],
    /// The number of the next run.
    pub(crate) next: u32,
}

impl<R: Runner> Narrower<'_, R> {
    /// Narrows it. `groups` are what [`groups`] gives. `None`: it came neither again nor near by, so that there is nothing to compare
    /// with.
    pub(crate) async fn narrow(
        &mut self,
        failed: &Explored,
        kind: &Kind,
        groups: &[Vec<String>],
    ) -> Result<Option<Narrowed>, LabError> {
        let same = vec![failed.trial.settings.clone(); TRIES];
        let seed = failed.trial.seed;
        let near;
        let failed = if self.count(&same, seed, kind).await? > 0 {
            failed
        } else if let Some(neighbour) = self.neighbour(failed, kind).await? {
            // What the runs have shown holds only about.
            self.runs = &[];
            near = neighbour;
            &near
        } else {
            return Ok(None);
        };
        let mut left_out: Vec<String> = Vec::new();
        let mut needless = Vec::new();
        for group in groups {
            let skip = group.iter().map(|label| format!("step.{label}.skip=true"));
            let without: Vec<String> = left_out.iter().cloned().chain(skip).collect();
            if self
                .fails(&[with(&failed.trial.settings, &without)], seed, kind)
                .await?[0]
            {
                left_out = without;
                needless.push(group.clone());
            }
        }
        let mut edges = Vec::new();
        for dimension in 0..self.space.dimensions.len() {
            edges.push(self.edge(failed, dimension, &left_out, kind).await?);
        }
        let trial = Trial {
            settings: with(&failed.trial.settings, &left_out),
            ..failed.trial.clone()
        };
        let same = vec![trial.settings.clone(); AGAIN];
        let again = self.count(&same, seed, kind).await?;
        Ok(Some(Narrowed {
            trial,
            again: (again, AGAIN),
            needless,
            edges,
        }))
    }

    /// A run near that one that fails alike.
    async fn neighbour(
        &mut self,
        failed: &Explored,
        kind: &Kind,
    ) -> Result<Option<Explored>, LabError> {
        let near = |number: u32| -> Point {
            let spread = self.space.point(failed.trial.seed, number);
            let places = failed.point.iter().zip(spread);
            let near = |(place, offset): (&f64, f64)| {
                (2.0 * offset - 1.0)
                    .mul_add(NEIGHBOURHOOD, *place)
                    .clamp(0.0, 1.0)
            };
            places.map(near).collect()
        };
        let points: Vec<Point> = (0..NEIGHBOURS).map(near).collect();
        let settings: Vec<_> = points
            .iter()
            .map(|point| self.space.settings(point))
            .collect();
        let fails = self.run(settings.clone(), failed.trial.seed, kind).await?;
        let found = fails.iter().position(|fails| *fails);
        Ok(found.map(|place| Explored {
            trial: Trial {
                settings: settings[place].clone(),
                ..failed.trial.clone()
            },
            point: points[place].clone(),
            ran: failed.ran.clone(),
        }))
    }

    /// The outermost places at which it fails, found by bisecting both sides at once.
    async fn edge(
        &mut self,
        failed: &Explored,
        dimension: usize,
        left_out: &[String],
        kind: &Kind,
    ) -> Result<Edge, LabError> {
        let place = failed.point[dimension];
        let mut sides = [Side::new(place, 0.0), Side::new(place, 1.0)];
        if self.space.dimensions.len() == 1 && left_out.is_empty() {
            for side in &mut sides {
                side.learn(self.runs, kind);
            }
        }
        loop {
            let places = sides.each_ref().map(Side::next);
            let wanted: Vec<f64> = places.iter().flatten().copied().collect();
            if wanted.is_empty() {
                break;
            }
            let settings = wanted.iter().map(|place| {
                let mut point: Point = failed.point.clone();
                point[dimension] = *place;
                with(&self.space.settings(&point), left_out)
            });
            let settings: Vec<Vec<String>> = settings.collect();
            let fails = self.fails(&settings, failed.trial.seed, kind).await?;
            let mut fails = fails.into_iter();
            for (side, place) in sides.iter_mut().zip(places) {
                if let Some(place) = place {
                    side.tried(place, fails.next().unwrap_or_default());
                }
            }
        }
        let it = &self.space.dimensions[dimension];
        let [from, to] = sides.map(|side| it.range.at(side.fails));
        Ok(Edge {
            key: it.key.clone(),
            from,
            to,
        })
    }

    /// Whether each of these fails in one of a few runs.
    async fn fails(
        &mut self,
        tried: &[Vec<String>],
        seed: u64,
        kind: &Kind,
    ) -> Result<Vec<bool>, LabError> {
        let each = tried
            .iter()
            .flat_map(|settings| vec![settings.clone(); TRIES]);
        let failed = self.run(each.collect(), seed, kind).await?;
        let one = |runs: &[bool]| runs.iter().any(|failed| *failed);
        Ok(failed.chunks(TRIES).map(one).collect())
    }

    /// How many of these fail.
    async fn count(
        &mut self,
        tried: &[Vec<String>],
        seed: u64,
        kind: &Kind,
    ) -> Result<usize, LabError> {
        let failed = self.run(tried.to_vec(), seed, kind).await?;
        Ok(failed.iter().filter(|failed| **failed).count())
    }

    async fn run(
        &mut self,
        tried: Vec<Vec<String>>,
        seed: u64,
        kind: &Kind,
    ) -> Result<Vec<bool>, LabError> {
        let (first, mut trials) = (self.next, Vec::new());
        for settings in tried {
            trials.push(Trial {
                number: self.next,
                seed,
                settings,
            });
            self.next += 1;
        }
        let ran = all(self.runner, trials, self.jobs).await?;
        if self.runner.is_cancelled() {
            return Err(LabError::Interrupted);
        }
        for (ran, number) in ran.iter().zip(first..) {
            if let Ended::Broken(why) = &ran.ended {
                return Err(LabError::NarrowingBroken {
                    number,
                    why: why.clone(),
                    path: ran.path.clone(),
                });
            }
        }
        let is_it =
            |kind: &Kind, other: &Kind| (&kind.phase, &kind.what) == (&other.phase, &other.what);
        let failed = ran.iter().map(|ran| ran.ended.failed());
        Ok(failed
            .map(|failed| failed.is_some_and(|it| is_it(it, kind)))
            .collect())
    }
}

/// One side of a dimension: where it still fails, and where it passes, if it does.
struct Side {
    fails: f64,
    passes: Option<f64>,
    end: f64,
}

impl Side {
    const fn new(fails: f64, end: f64) -> Self {
        Self {
            fails,
            passes: None,
            end,
        }
    }

    /// Takes what runs have shown: the nearest that passed, and the furthest before it that failed.
    fn learn(&mut self, runs: &[Explored], kind: &Kind) {
        let begin = self.fails;
        let outwards = (self.end - begin).signum();
        let beyond = |run: &&Explored| (run.point[0] - begin) * outwards > 0.0;
        let distance = |place: f64| (place - begin).abs();
        let passed = runs.iter().filter(beyond);
        let passed = passed.filter(|run| run.ran.ended == Ended::Passed);
        let nearest = passed.map(|run| run.point[0]);
        self.passes = nearest.min_by(|one, other| distance(*one).total_cmp(&distance(*other)));
        let failed = runs.iter().filter(beyond);
        let failed = failed.filter(|run| run.ran.ended.failed() == Some(kind));
        let failed = failed.map(|run| run.point[0]);
        let within = failed.filter(|place| {
            self.passes
                .is_none_or(|passes| distance(*place) < distance(passes))
        });
        if let Some(furthest) =
            within.max_by(|one, other| distance(*one).total_cmp(&distance(*other)))
        {
            self.fails = furthest;
        }
    }

    /// Where to try next; nothing where the edge is near enough.
    fn next(&self) -> Option<f64> {
        match self.passes {
            None if (self.fails - self.end).abs() < NEAR => None,
            None => Some(self.end),
            Some(passes) if (self.fails - passes).abs() < NEAR => None,
            Some(passes) => Some(f64::midpoint(self.fails, passes)),
        }
    }

    fn tried(&mut self, place: f64, failed: bool) {
        if failed {
            self.fails = place;
        } else {
            self.passes = Some(place);
        }
    }
}

/// Settings, and further ones behind them.
fn with(settings: &[String], further: &[String]) -> Vec<String> {
    settings.iter().chain(further).cloned().collect()
}

/// What can be left out of a plan at a time: a fault, and what mends it where the plan makes no sense without it. Nothing of a plan
/// with one fault. `is_sound` says whether the plan stands without these steps.
pub(crate) fn groups(plan: &Plan, is_sound: impl Fn(&[String]) -> bool) -> Vec<Vec<String>> {
    let has = |place: usize, role| plan.steps[place].action.fault_role() == role;
    let faults: Vec<usize> = (0..plan.steps.len())
        .filter(|place| has(*place, FaultRole::Breaks))
        .collect();
    if faults.len() < 2 {
        return Vec::new();
    }
    let label = |place: usize| plan.steps[place].label.to_string();
    let group = |place: usize| {
        let later = (place + 1..plan.steps.len()).filter(|later| has(*later, FaultRole::Mends));
        let later: Vec<String> = later.map(label).collect();
        let alone = [vec![]];
        let single = later.iter().map(|mending| vec![mending.clone()]);
        let several = (2..=later.len()).map(|count| later[..count].to_vec());
        let mut all = alone.into_iter().chain(single).chain(several);
        let group = |mending: Vec<String>| with(&[label(place)], &mending);
        all.find_map(|mending| Some(group(mending)).filter(|group| is_sound(group)))
    };
    faults.into_iter().filter_map(group).collect()
}

#[cfg(test)]
mod tests;
