//! An outcome as a badge: a word in a colour, with a sign before it, so that no one needs to distinguish colours.

use sanlab_record::Outcome;

use crate::verdict::Verdict;

#[derive(Debug, Clone, Copy)]
pub(super) struct Badge {
    /// Its class in the style.
    pub(super) class: &'static str,
    pub(super) sign: &'static str,
    pub(super) word: &'static str,
}

impl From<Verdict> for Badge {
    fn from(verdict: Verdict) -> Self {
        let (class, sign) = match verdict {
            Verdict::Regressed => ("regressed", "✗"),
            Verdict::Undecided => ("undecided", "?"),
            Verdict::Improved => ("improved", "▲"),
            Verdict::NoChange => ("same", "="),
        };
        let word = verdict.as_str();
        Self { class, sign, word }
    }
}

impl From<&Outcome> for Badge {
    fn from(outcome: &Outcome) -> Self {
        let sign = match outcome {
            Outcome::Passed => "✓",
            Outcome::Failed(_) => "✗",
            Outcome::Broken(_) => "!",
            Outcome::KnownFailure { .. } => "≈",
            Outcome::Skipped { .. } => "–",
        };
        let word = outcome.as_str();
        Self {
            class: outcome.key(),
            sign,
            word,
        }
    }
}
