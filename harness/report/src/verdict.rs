//! What is said of two sides in one measure.

use serde::{Deserialize, Serialize};

use crate::measure::Measure;

/// What came of a comparison, from the gravest to the mildest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// B is worse, by more than the least effect of interest, and not by chance.
    Regressed,
    /// The runs do not tell.
    Undecided,
    /// B is better.
    Improved,
    /// Whatever difference there may be is smaller than the least effect of interest.
    NoChange,
}

impl Verdict {
    /// For people: `regressed`, `improved`, `no change`, `undecided`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Regressed => "regressed",
            Self::Undecided => "undecided",
            Self::Improved => "improved",
            Self::NoChange => "no change",
        }
    }
}

/// One measure of one step, on both sides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// The step's label.
    pub step: String,
    /// Which measure.
    pub measure: Measure,
    /// What is said.
    pub verdict: Verdict,
    /// B by A: the geometric mean of the pairs' ratios for what is timed, the ratio of means for what is counted.
    pub ratio: f64,
    /// The bootstrap interval of that.
    pub interval: (f64, f64),
    /// The probability of a difference as great as this if there were none, by the permutation test.
    pub p: f64,
    /// The least effect of interest, as a share: the wish or the noise floor, whichever is greater. `no change` means within it.
    pub effect: f64,
    /// What A/A runs on this class of host were seen to differ by, if that is known.
    pub noise_floor: Option<f64>,
    /// The figure of each run of A, in the order of the pairs.
    pub a: Vec<f64>,
    /// The same for B.
    pub b: Vec<f64>,
}
