//! Two sides of a scenario, run in turns and compared.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::measure::Measure;
use crate::verdict::{Judgement, Verdict};

/// Version of a comparison's shape, its field `format`.
pub const FORMAT: u32 = 1;

/// How verdicts are reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rules {
    /// The least effect of interest by measure, as a share: 0.05 is 5 %.
    pub effects: BTreeMap<Measure, f64>,
    /// What A/A comparisons on this class of host were seen to differ by, by measure.
    pub noise_floors: BTreeMap<Measure, f64>,
    /// What the permutation test and the bootstrap draw from.
    pub seed: u64,
}

/// One side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Side {
    /// What it was given in place of what the scenario says: `mtu` -> `1500`. Empty: the scenario as it is.
    pub settings: BTreeMap<String, String>,
    /// Its records, relative to the comparison's folder, in the order of the pairs; the first is discarded.
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
