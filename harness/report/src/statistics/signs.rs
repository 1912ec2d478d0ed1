//! The permutation test of pairs: if A and B are alike, each pair's difference could as well have had the other sign.

use fastrand::Rng;

use super::location::sorted;

/// Up to here all `2^pairs` signs are counted, as sums of two halves.
const EXACT: usize = 28;

/// Beyond: so many seeded draws.
const DRAWS: u32 = 10_000;

/// The share of all signs with a sum at least as far from 0 as the one seen.
pub(super) fn p(differences: &[f64], seed: u64) -> f64 {
    // Sums of the same numbers in another order differ in their last bits.
    let slack = 1e-9 * differences.iter().map(|one| one.abs()).sum::<f64>();
    let distance = differences.iter().sum::<f64>().abs() - slack;
    if distance <= 0.0 {
        return 1.0;
    }
    if differences.len() > EXACT {
        return drawn(differences, distance, seed);
    }
    let (left, right) = differences.split_at(differences.len() / 2);
    let (left, right) = (sorted(&sums(left)), sorted(&sums(right)));
    // Signs come in opposites: those far above are as many as those far below.
    let mut above = 0;
    let mut from = right.len();
    for one in &left {
        while from > 0 && one + right[from - 1] >= distance {
            from -= 1;
        }
        above += right.len() - from;
    }
    (2.0 * above as f64 / (left.len() * right.len()) as f64).min(1.0)
}

/// What it is when all differences have one sign.
pub(super) fn least_p(pairs: usize) -> f64 {
    if pairs > EXACT {
        return 1.0 / f64::from(DRAWS + 1);
    }
    0.5f64.powi(i32::try_from(pairs).unwrap_or(i32::MAX) - 1)
}

/// The sums of all signs of a half, `2^len` of them.
fn sums(half: &[f64]) -> Vec<f64> {
    let mut sums = vec![0.0];
    for one in half {
        sums = sums.iter().flat_map(|sum| [sum - one, sum + one]).collect();
    }
    sums
}

fn drawn(differences: &[f64], distance: f64, seed: u64) -> f64 {
    let mut rng = Rng::with_seed(seed);
    let far = (0..DRAWS)
        .filter(|_| {
            let sum: f64 = differences
                .iter()
                .map(|one| if rng.bool() { *one } else { -one })
                .sum();
            sum.abs() >= distance
        })
        .count();
    // What was seen is one of the draws: p is never 0.
    (far + 1) as f64 / f64::from(DRAWS + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_count_what_enumeration_counts() {
        let mut rng = Rng::with_seed(3);
        for pairs in 1..12 {
            let differences: Vec<f64> = (0..pairs).map(|_| rng.f64() - 0.3).collect();
            let distance = differences.iter().sum::<f64>().abs() - 1e-9;
            let far = (0..1u32 << pairs)
                .filter(|mask| {
                    let sum: f64 = differences
                        .iter()
                        .enumerate()
                        .map(|(i, one)| if mask >> i & 1 == 1 { -one } else { *one })
                        .sum();
                    sum.abs() >= distance
                })
                .count();
            let expected = far as f64 / f64::from(1u32 << pairs);
            assert!(
                (p(&differences, 1) - expected).abs() < 1e-12,
                "{pairs} pairs"
            );
        }
    }

    #[test]
    fn known_cases() {
        assert!((p(&[0.0; 6], 1) - 1.0).abs() < 1e-12);
        assert!((p(&[0.1; 8], 1) - 2.0 / 256.0).abs() < 1e-12);
        assert!((least_p(8) - 2.0 / 256.0).abs() < 1e-12);
        // All sixteen sums are even, and but for 1 + 4 - 2 - 3 and its opposite none is 0.
        assert!((p(&[1.0, 2.0, 3.0, -4.0], 1) - 14.0 / 16.0).abs() < 1e-12);
    }

    #[test]
    fn draws_agree_with_counting() {
        let mut rng = Rng::with_seed(8);
        let differences: Vec<f64> = (0..24).map(|_| rng.f64() - 0.42).collect();
        let distance = differences.iter().sum::<f64>().abs() - 1e-9;
        let (counted, drawn) = (p(&differences, 1), drawn(&differences, distance, 1));
        assert!((counted - drawn).abs() < 0.02, "{counted} against {drawn}");
        assert!(p(&[1.0; 40], 1) > 0.0 && p(&[1.0; 40], 1) <= least_p(40));
    }
}
