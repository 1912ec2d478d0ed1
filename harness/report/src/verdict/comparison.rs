//! Two sides of a scenario, run in turns and compared.
//!
//! Runs go AB BA AB ..., and are judged after every pair until nothing is undecided or the budget is spent. What a clock reads is
//! compared pair by pair, for whatever else the host does it does to both runs of a pair; what is counted hardly depends on that,
//! and all runs of a side stand together, which needs fewer of them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::load::measure::Measure;
use crate::load::series::{Figures, Series};
use crate::statistics::{self, Estimate};
use crate::verdict::{Judgement, Limits, Verdict};

/// Version of a comparison's shape, its field `format`.
pub const FORMAT: u32 = 1;

/// Fewer runs of a side are not judged where all of a side stand together.
pub const FEWEST_RUNS: usize = 4;

/// Fewer pairs are not judged where pairs count.
pub const FEWEST_PAIRS: usize = 5;

/// How coarsely it may be said that a figure did not change which the host's speed is part of, where the same step has one
/// without it: within 15 %, of which no more than a tenth may be a loss. That other one, CPU-normalised throughput, is held to its own limit, and is the one that finds what is
/// smaller; to bring the noise of those with the host's speed in them below the equivalence margin takes a hundred pairs on a shared host.
const COARSE: f64 = 0.15;

/// What stands for a figure of 0, whose ratio to anything is none: less than any that is measured.
const NOTHING: f64 = 1e-9;

/// How verdicts are reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rules {
    /// The equivalence margin by measure, as a share: 0.05 is 5 %.
    pub margins: BTreeMap<Measure, f64>,
    /// What A/A comparisons on this class of host were seen to differ by, by measure.
    pub noise_floors: BTreeMap<Measure, f64>,
    /// Measures whose margin was asked for: `no change` means within just that.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub exacting: BTreeSet<Measure>,
    /// What the permutation test and the bootstrap draw from.
    pub seed: u64,
}

/// One side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Side {
    /// What it was given in place of what the scenario says: `mtu` -> `1500`. Empty: the scenario as it is.
    pub settings: BTreeMap<String, String>,
    /// Its records, relative to the comparison's folder, in the order of the pairs; the first prepared the others.
    pub records: Vec<String>,
}

/// All of it: `comparison.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// [`FORMAT`] of the harness that wrote it.
    pub format: u32,
    /// The scenario's identifier.
    pub scenario: String,
    /// The scenario's name for people.
    pub title: String,
    /// When it began, seconds since 1970.
    pub started: f64,
    /// How long it took, seconds.
    pub seconds: f64,
    /// What was compared with.
    pub a: Side,
    /// What was compared.
    pub b: Side,
    /// How many pairs count: those after the first.
    pub pairs: usize,
    /// How verdicts were reached.
    pub rules: Rules,
    /// By step and measure.
    pub judgements: Vec<Judgement>,
    /// The whole: regressed if any measure is, else undecided if any is, else improved if any is, else no change.
    pub verdict: Verdict,
}

/// Why two sides cannot be compared.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CompareError {
    /// There is nothing yet.
    #[error("compare: no pair of runs was done")]
    NoRuns,
    /// A run is missing its other.
    #[error("compare: side A has {a} runs and side B {b}: they must come in pairs")]
    Unpaired {
        /// Runs of A.
        a: usize,
        /// Runs of B.
        b: usize,
    },
    /// No step was measured on both sides.
    #[error("compare: no step was measured on both sides: A has {a}; B has {b}")]
    NoCommonSeries {
        /// What A has, for people.
        a: String,
        /// What B has, for people.
        b: String,
    },
    /// Figures of two hosts or accelerators are never mixed.
    #[error(
        "compare: step {step} ran with {dimension} {a} on side A and {b} on side B: figures of the two do not compare"
    )]
    OtherHost {
        /// The step's label.
        step: String,
        /// `host` or `accelerator`.
        dimension: String,
        /// A's.
        a: String,
        /// B's.
        b: String,
    },
}

impl Rules {
    /// The usual margins, and no noise floors.
    pub fn new(seed: u64) -> Self {
        Self {
            margins: Measure::ALL
                .map(|measure| (measure, measure.margin()))
                .into(),
            noise_floors: BTreeMap::new(),
            exacting: BTreeSet::new(),
            seed,
        }
    }

    /// With a margin that somebody asked for.
    pub fn ask(&mut self, measure: Measure, margin: f64) {
        self.margins.insert(measure, margin);
        self.exacting.insert(measure);
    }

    /// Margins that somebody asked for and that are below this host's noise: measure, margin, noise floor.
    pub fn below_noise(&self) -> Vec<(Measure, f64, f64)> {
        let asked = self.exacting.iter();
        asked
            .filter_map(|measure| {
                let floor = *self.noise_floors.get(measure)?;
                let margin = self.margin(*measure);
                (margin < floor).then_some((*measure, margin, floor))
            })
            .collect()
    }

    /// `has_cpu_normalised`: whether the same step has [`Measure::CpuNormalisedThroughput`].
    fn limits(&self, measure: Measure, has_cpu_normalised: bool) -> Limits {
        let margin = self.margin(measure);
        let may_be_coarse = has_cpu_normalised
            && measure.includes_host_speed()
            && !self.exacting.contains(&measure);
        Limits {
            margin,
            coarse_margin: if may_be_coarse {
                margin.max(COARSE)
            } else {
                margin
            },
        }
    }

    /// The equivalence margin: what somebody asked for; else the usual one, or the noise floor if that is greater.
    pub fn margin(&self, measure: Measure) -> f64 {
        let wish = self
            .margins
            .get(&measure)
            .copied()
            .unwrap_or_else(|| measure.margin());
        if self.exacting.contains(&measure) {
            return wish;
        }
        self.noise_floors
            .get(&measure)
            .map_or(wish, |floor| wish.max(*floor))
    }
}

/// What all pairs so far say, `a[i]` beside `b[i]`, each with everything that one run measured. By step in the order of the
/// runs, then by measure; a measure that no pair has on both sides is left out. To be asked after every pair: as long as
/// there are too few of them ([`FEWEST_RUNS`], [`FEWEST_PAIRS`]), everything is undecided.
pub fn judge(
    rules: &Rules,
    a: &[Vec<Figures>],
    b: &[Vec<Figures>],
) -> Result<Vec<Judgement>, CompareError> {
    if a.len() != b.len() {
        return Err(CompareError::Unpaired {
            a: a.len(),
            b: b.len(),
        });
    }
    if a.is_empty() {
        return Err(CompareError::NoRuns);
    }
    let mut judgements = Vec::new();
    for (scenario, step) in steps(a) {
        let pairs: Vec<(&Figures, &Figures)> = a
            .iter()
            .zip(b)
            .filter_map(|(a, b)| Some((of(a, scenario, step)?, of(b, scenario, step)?)))
            .collect();
        for (a, b) in &pairs {
            same_host(&a.series, &b.series)?;
        }
        let of_both = |measure: Measure| -> (Vec<f64>, Vec<f64>) {
            let both =
                |(a, b): &(&Figures, &Figures)| Some((a.figure(measure)?, b.figure(measure)?));
            pairs.iter().filter_map(both).unzip()
        };
        // Another QEMU may take longer for each instruction, which the normalisation would take for the host's speed.
        let has_cpu_normalised = pairs.iter().all(|(a, b)| same_qemu(a, b))
            && !of_both(Measure::CpuNormalisedThroughput).0.is_empty();
        judgements.extend(Measure::ALL.into_iter().filter_map(|measure| {
            let (a, b) = of_both(measure);
            let limits = rules.limits(measure, has_cpu_normalised);
            (!a.is_empty()).then(|| {
                let paired = measure.is_timed();
                judgement(rules, step, measure, limits, &a, &b, paired)
            })
        }));
    }
    if judgements.is_empty() {
        return Err(CompareError::NoCommonSeries {
            a: told(a),
            b: told(b),
        });
    }
    Ok(judgements)
}

/// What runs say that do not come in pairs: those of today, `b`, against a window of earlier ones, `a`. Fewer than
/// [`FEWEST_RUNS`] on a side leave it undecided; a side without any says nothing.
///
/// Runs of one hour are more alike than runs of many days: what is timed should be held against windows of the same kind, or
/// read with that in mind.
pub fn judge_independent(
    rules: &Rules,
    step: &str,
    measure: Measure,
    a: &[f64],
    b: &[f64],
) -> Option<Judgement> {
    let limits = rules.limits(measure, false);
    (!a.is_empty() && !b.is_empty()).then(|| judgement(rules, step, measure, limits, a, b, false))
}

/// Whether nothing is left undecided, so that more runs would show nothing new.
pub fn is_firm(judgements: &[Judgement]) -> bool {
    overall(judgements) != Verdict::Undecided
        && judgements
            .iter()
            .all(|one| one.verdict != Verdict::Undecided)
}

/// Whether a comparison ends after so many pairs, of which at least `fewest` are wanted: nothing is left undecided; or a regression
/// is certain, so that nothing that is undecided could change the whole. One that is just significant is not enough for that: a
/// comparison that ended with the first of those would have raised a false alarm in 3 of 40 simulated cases where runs vary by 8 %.
///
/// A percentile of the repetitions never ends it: where a warm-up is too short, it shows how long the guests took to warm up.
pub fn is_enough(judgements: &[Judgement], pairs: usize, fewest: usize) -> bool {
    let is_certain =
        |one: &Judgement| one.verdict == Verdict::Regressed && one.certain && !one.measure.is_p60();
    let stands = pairs >= FEWEST_RUNS && judgements.iter().any(is_certain);
    pairs >= fewest && (stands || is_firm(judgements))
}

/// The gravest of all; of nothing, undecided.
pub fn overall(judgements: &[Judgement]) -> Verdict {
    judgements
        .iter()
        .map(|one| one.verdict)
        .min()
        .unwrap_or(Verdict::Undecided)
}

/// Of each step whose CPU-normalised throughput and whose instructions say the opposite of each other, a sentence. Either waiting
/// made the difference, or an average instruction takes longer on one side, which is not the host's speed but looks like it.
pub fn contradictions(judgements: &[Judgement]) -> Vec<String> {
    let change = |step: &str, measure: Measure| {
        let mut all = judgements.iter();
        let it = all.find(|one| one.step == step && one.measure == measure)?;
        it.verdict.is_difference().then_some(it.verdict)
    };
    let sentence = |step: &str| {
        let normalised = change(step, Measure::CpuNormalisedThroughput)?;
        let instructions = change(step, Measure::Instructions)?;
        (normalised != instructions).then(|| {
            format!(
                "{step}: {} {normalised}, but {} {instructions}. Either the waiting changed or the kind of instructions, which the \
                 normalisation cannot tell from the host's: go by {}.",
                Measure::CpuNormalisedThroughput.title(),
                Measure::Instructions.title(),
                Measure::Throughput.title(),
            )
        })
    };
    let normalised = judgements
        .iter()
        .filter(|one| one.measure == Measure::CpuNormalisedThroughput);
    normalised.filter_map(|one| sentence(&one.step)).collect()
}

/// What comparisons of a thing with itself, as they ended, differed by: by measure, what 95 of 100 stayed below, of all steps.
/// Differences as great as that are this host's noise.
pub fn noise_floors(comparisons: &[Vec<Judgement>]) -> BTreeMap<Measure, f64> {
    let mut differences: BTreeMap<Measure, Vec<f64>> = BTreeMap::new();
    for judgement in comparisons.iter().flatten() {
        let ratio = judgement.ratio.max(1.0 / judgement.ratio);
        differences
            .entry(judgement.measure)
            .or_default()
            .push(ratio - 1.0);
    }
    differences
        .into_iter()
        .filter_map(|(measure, all)| Some((measure, statistics::quantile(&all, 0.95)?)))
        .collect()
}

fn judgement(
    rules: &Rules,
    step: &str,
    measure: Measure,
    limits: Limits,
    a: &[f64],
    b: &[f64],
    paired: bool,
) -> Judgement {
    let above_nothing =
        |side: &[f64]| -> Vec<f64> { side.iter().map(|x| x.max(NOTHING)).collect() };
    let (positive_a, positive_b) = (above_nothing(a), above_nothing(b));
    let (estimate, enough) = if paired {
        let estimate = statistics::paired(&positive_a, &positive_b, rules.seed);
        (estimate, a.len() >= FEWEST_PAIRS)
    } else {
        let estimate = statistics::unpaired(&positive_a, &positive_b, rules.seed);
        (estimate, a.len().min(b.len()) >= FEWEST_RUNS)
    };
    let estimate = estimate.unwrap_or_else(|| single(&positive_a, &positive_b));
    let verdict = if enough {
        Verdict::of(&estimate, limits, measure.higher_is_better())
    } else {
        Verdict::Undecided
    };
    let is_no_change = verdict == Verdict::NoChange;
    Judgement {
        step: step.to_owned(),
        measure,
        verdict,
        ratio: estimate.ratio,
        interval: estimate.interval,
        p: estimate.p,
        certain: verdict.is_difference() && estimate.is_certain(),
        margin: limits.margin,
        within: is_no_change.then(|| limits.around(estimate.interval)),
        noise_floor: rules.noise_floors.get(&measure).copied(),
        a: a.to_vec(),
        b: b.to_vec(),
    }
}

/// Too few to estimate anything from.
fn single(a: &[f64], b: &[f64]) -> Estimate {
    let ratio = match (statistics::mean(a), statistics::mean(b)) {
        (Some(a), Some(b)) => b / a,
        _ => 1.0,
    };
    let interval = (ratio, ratio);
    Estimate {
        ratio,
        interval,
        wide: interval,
        widest: interval,
        p: 1.0,
        least_p: 1.0,
    }
}

/// What a run says of a step.
fn of<'r>(run: &'r [Figures], scenario: &str, step: &str) -> Option<&'r Figures> {
    let mine = |one: &&Figures| one.series.scenario == scenario && one.series.step == step;
    run.iter().find(mine)
}

/// Scenario and step of everything measured, in the order in which runs have it.
fn steps(runs: &[Vec<Figures>]) -> Vec<(&str, &str)> {
    let mut steps = Vec::new();
    for Series { scenario, step, .. } in runs.iter().flatten().map(|figures| &figures.series) {
        if !steps.contains(&(scenario.as_str(), step.as_str())) {
            steps.push((scenario, step));
        }
    }
    steps
}

fn same_qemu(a: &Figures, b: &Figures) -> bool {
    let keys = ["qemu", "set.qemu"];
    keys.iter()
        .all(|key| a.origin.get(*key) == b.origin.get(*key))
}

fn same_host(a: &Series, b: &Series) -> Result<(), CompareError> {
    for dimension in ["accelerator", "host"] {
        if let (Some(of_a), Some(of_b)) = (a.dimensions.get(dimension), b.dimensions.get(dimension))
            && of_a != of_b
        {
            return Err(CompareError::OtherHost {
                step: a.step.clone(),
                dimension: dimension.to_owned(),
                a: of_a.clone(),
                b: of_b.clone(),
            });
        }
    }
    Ok(())
}

/// What a side has, for people.
fn told(runs: &[Vec<Figures>]) -> String {
    let steps: Vec<String> = steps(runs)
        .into_iter()
        .map(|(scenario, step)| format!("step {step} of {scenario}"))
        .collect();
    if steps.is_empty() {
        "none (no step moved anything, or no run passed)".to_owned()
    } else {
        steps.join(", ")
    }
}
