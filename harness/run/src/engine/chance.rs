//! What is left to chance, drawn from a run's seed: the same seed and name draw the same.

use std::time::Duration;

use sha2::{Digest as _, Sha256};

/// What a generator of random numbers starts from. `name` keeps the draws of a run apart.
pub(crate) fn seed(seed: u64, name: &str) -> u64 {
    let digest = Sha256::new()
        .chain_update(seed.to_be_bytes())
        .chain_update(name)
        .finalize();
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(bytes)
}

/// A moment within `span`, evenly distributed. `name` keeps the draws of a run apart.
pub(crate) fn moment(seed: u64, name: &str, span: Duration) -> Duration {
    // The upper half, so that the moments of a seed stay what they were.
    let upper = self::seed(seed, name) >> 32;
    span.mul_f64(upper as f64 / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_spread_over_the_span_and_come_again() {
        let span = Duration::from_secs(8);
        let drawn: Vec<Duration> = (0..400).map(|seed| moment(seed, "crash", span)).collect();
        for eighth in 0..8 {
            let (from, to) = (Duration::from_secs(eighth), Duration::from_secs(eighth + 1));
            let here = drawn.iter().filter(|one| **one >= from && **one < to);
            let here = here.count();
            assert!(
                (25..=80).contains(&here),
                "{here} of 400 in {from:?} to {to:?}"
            );
        }
        assert_eq!(moment(7, "crash", span), moment(7, "crash", span));
        assert_ne!(moment(7, "crash", span), moment(7, "crash again", span));
        assert_eq!(moment(7, "crash", Duration::ZERO), Duration::ZERO);
    }
}
