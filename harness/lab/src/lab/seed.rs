//! Where the random moments of runs come from.

use std::hash::{BuildHasher as _, RandomState};

use crate::LabError;

/// The variable that a run's seed is taken from.
const VARIABLE: &str = "SANLAB_SEED";

/// The seed that the environment asks for, else one that nobody chose. A record tells which it was.
pub(crate) fn of_environment() -> Result<u64, LabError> {
    std::env::var(VARIABLE).map_or_else(|_| Ok(drawn()), |text| parse(&text))
}

fn parse(text: &str) -> Result<u64, LabError> {
    text.parse().map_err(|_| LabError::Seed {
        text: text.to_owned(),
    })
}

/// One that nobody chose: short enough to be typed, and a number for every reader of JSON.
pub(crate) fn drawn() -> u64 {
    RandomState::new().hash_one(VARIABLE) >> 40
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_is_refused_and_draws_differ() {
        assert_eq!(parse("4711").ok(), Some(4711));
        let refused = parse("dice").expect_err("no number").to_string();
        assert_eq!(refused, "SANLAB_SEED is `dice`, which is no whole number");
        let drawn: std::collections::BTreeSet<u64> = (0..20).map(|_| drawn()).collect();
        assert!(drawn.len() > 10, "{drawn:?}");
        assert!(drawn.iter().all(|seed| *seed < 1 << 24));
    }
}
