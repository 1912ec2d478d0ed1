//! What is said of two sides in one measure.

pub mod baseline;
pub mod change_point;
pub mod comparison;
mod drift;
pub mod trend;

use serde::{Deserialize, Serialize};

use crate::load::measure::Measure;
use crate::render::number;
use crate::statistics::Estimate;

/// What came of a comparison, from the gravest to the mildest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// B is worse, by more than the equivalence margin, and not by chance.
    Regressed,
    /// The runs do not show it.
    Undecided,
    /// B is better.
    Improved,
    /// Whatever difference there may be is smaller than what is of interest, or than what can be shown here.
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

    /// Whether it says that B differs.
    pub const fn is_difference(self) -> bool {
        matches!(self, Self::Regressed | Self::Improved)
    }

    /// What is to be said of an estimate. A difference is reported when it is not by chance **and** of interest: at least the
    /// limits' margin. "No change" is reported when the whole interval lies within 1 ± margin; or within 1 ± coarse margin and above
    /// the largest loss, unless it is all on one side of 1 with a difference of interest in its middle: that is a suspicion, and asks for more runs.
    pub fn of(estimate: &Estimate, limits: Limits, higher_is_better: bool) -> Self {
        let (low, high) = estimate.interval;
        let is_of_interest = (estimate.ratio - 1.0).abs() >= limits.margin;
        let is_suspect = is_of_interest && (low > 1.0 || high < 1.0);
        if is_of_interest && estimate.is_significant() {
            if (estimate.ratio > 1.0) == higher_is_better {
                Self::Improved
            } else {
                Self::Regressed
            }
        } else if lies_within(estimate.interval, limits.margin)
            || (limits.excludes_the_largest_loss(estimate.interval, higher_is_better)
                && lies_within(estimate.interval, limits.coarse_margin)
                && !is_suspect)
        {
            Self::NoChange
        } else {
            Self::Undecided
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a verdict is reached by, as shares.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// The equivalence margin: the smallest difference that is of interest.
    pub margin: f64,
    /// How wide an interval may be for `no change` where it is no narrower: at least `margin`.
    pub coarse_margin: f64,
}

/// A loss of that share of the rate is never called `no change`, however coarsely that is said.
const LARGEST_LOSS: f64 = 0.10;

impl Limits {
    fn excludes_the_largest_loss(self, (low, high): (f64, f64), higher_is_better: bool) -> bool {
        let loss = LARGEST_LOSS.max(self.margin);
        if higher_is_better {
            low >= 1.0 - loss
        } else {
            high <= 1.0 / (1.0 - loss)
        }
    }

    /// The narrower of the two that an interval lies within, for people: no change within that.
    pub(crate) fn around(self, interval: (f64, f64)) -> f64 {
        if lies_within(interval, self.margin) {
            self.margin
        } else {
            self.coarse_margin
        }
    }
}

fn lies_within((low, high): (f64, f64), share: f64) -> bool {
    low >= 1.0 - share && high <= 1.0 + share
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
    /// B by A: the geometric mean of the pairs' ratios for what is timed, of all runs' for what is counted; in either case
    /// of the middle half alone ([`trimmed_mean`](crate::statistics::trimmed_mean)).
    pub ratio: f64,
    /// The bootstrap interval of that at 90 %. A single run has none: both ends are the ratio, and nothing is decided.
    pub interval: (f64, f64),
    /// The probability of a difference as great as this if there were none, by the permutation test.
    pub p: f64,
    /// Whether a regression or an improvement is so sure that nothing else needs to be decided: significant at a tenth of what a
    /// look asks for.
    #[serde(default)]
    pub certain: bool,
    /// The equivalence margin, as a share: what somebody asked for; else the usual one or the noise floor, whichever is greater.
    pub margin: f64,
    /// For `no change`: within which share. The equivalence margin, or where only that could be shown, something coarser.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<f64>,
    /// What A/A runs on this class of host were seen to differ by, if that is known.
    pub noise_floor: Option<f64>,
    /// The figure of each run of A, in the order of the pairs.
    pub a: Vec<f64>,
    /// The same for B.
    pub b: Vec<f64>,
}

impl Judgement {
    /// For people: `regressed`, `no change within 5 %`.
    pub fn said(&self) -> String {
        match self.within {
            Some(share) => format!("{} within {}", self.verdict, number::share(share)),
            None => self.verdict.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(ratio: f64, interval: (f64, f64), p: f64, higher_is_better: bool) -> Verdict {
        let estimate = Estimate {
            ratio,
            interval,
            wide: interval,
            widest: interval,
            p,
            least_p: 0.001,
        };
        let limits = Limits {
            margin: 0.05,
            coarse_margin: 0.15,
        };
        Verdict::of(&estimate, limits, higher_is_better)
    }

    #[test]
    fn the_direction_is_the_measures() {
        assert_eq!(said(0.90, (0.88, 0.92), 0.001, true), Verdict::Regressed);
        assert_eq!(said(0.90, (0.88, 0.92), 0.001, false), Verdict::Improved);
        assert_eq!(said(1.10, (1.08, 1.12), 0.001, true), Verdict::Improved);
        assert_eq!(said(1.10, (1.08, 1.12), 0.001, false), Verdict::Regressed);
    }

    #[test]
    fn chance_and_interest_are_both_asked_for() {
        // Sure, but of no interest.
        assert_eq!(said(0.98, (0.97, 0.99), 0.001, true), Verdict::NoChange);
        // Of interest, but perhaps chance.
        assert_eq!(said(0.90, (0.80, 0.99), 0.02, true), Verdict::Undecided);
        assert_eq!(said(0.94, (0.89, 0.99), 0.02, true), Verdict::Undecided);
    }

    #[test]
    fn a_coarser_margin_will_do_where_nothing_is_suspected() {
        assert_eq!(said(0.96, (0.91, 1.01), 0.2, true), Verdict::NoChange);
        assert_eq!(said(1.06, (0.99, 1.14), 0.2, true), Verdict::NoChange);
        // A tenth may have been lost.
        assert_eq!(said(0.94, (0.87, 1.01), 0.2, true), Verdict::Undecided);
        assert_eq!(said(1.06, (0.99, 1.14), 0.2, false), Verdict::Undecided);
        assert_eq!(said(0.96, (0.93, 0.99), 0.001, true), Verdict::NoChange);
        assert_eq!(said(0.96, (0.84, 1.05), 0.5, true), Verdict::Undecided);
        let limits = Limits {
            margin: 0.05,
            coarse_margin: 0.15,
        };
        assert!((limits.around((0.96, 1.05)) - 0.05).abs() < 1e-12);
        assert!((limits.around((0.94, 1.05)) - 0.15).abs() < 1e-12);
    }

    #[test]
    fn the_gravest_comes_first() {
        let order = [
            Verdict::Regressed,
            Verdict::Undecided,
            Verdict::Improved,
            Verdict::NoChange,
        ];
        assert!(order.is_sorted());
    }
}
