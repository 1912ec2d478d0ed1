//! The permutation test of two sides: if A and B are alike, any of their runs could as well have been the other side's.

use fastrand::Rng;

use super::location::sorted;

/// Up to so many runs on both sides together all choices of a side are counted, as sums of two halves.
const EXACT: usize = 24;

/// Beyond: so many seeded draws.
const DRAWS: u32 = 10_000;

/// `pooled` holds A's figures and then the `of_b` of B: the share of all choices of so many whose sum is at least as far
/// from what is to be expected as the one seen.
pub(super) fn p(pooled: &[f64], of_b: usize, seed: u64) -> f64 {
    let mean = pooled.iter().sum::<f64>() / pooled.len() as f64;
    let centred: Vec<f64> = pooled.iter().map(|one| one - mean).collect();
    // Sums of the same numbers in another order differ in their last bits.
    let slack = 1e-9 * centred.iter().map(|one| one.abs()).sum::<f64>();
    let distance = centred[centred.len() - of_b..].iter().sum::<f64>().abs() - slack;
    if distance <= 0.0 {
        return 1.0;
    }
    if centred.len() > EXACT {
        return drawn(&centred, of_b, distance, seed);
    }
    let (left, right) = centred.split_at(centred.len() / 2);
    let (left, right) = (sums(left), sums(right));
    let (mut far, mut all) = (0, 0);
    for (chosen, left) in left.iter().enumerate() {
        let Some(right) = of_b.checked_sub(chosen).and_then(|rest| right.get(rest)) else {
            continue;
        };
        all += left.len() * right.len();
        far += beyond(left, right, distance);
    }
    far as f64 / all as f64
}

/// What it is when all of B lie on one side of all of A.
pub(super) fn least_p(of_a: usize, of_b: usize) -> f64 {
    if of_a + of_b > EXACT {
        return 1.0 / f64::from(DRAWS + 1);
    }
    let choices = (1..=of_b).fold(1.0, |choices, k| choices * (of_a + k) as f64 / k as f64);
    // Sides of one size can change places.
    (if of_a == of_b { 2.0 } else { 1.0 }) / choices
}

/// The sums of all choices from a half: by how many are chosen, in order.
fn sums(half: &[f64]) -> Vec<Vec<f64>> {
    let mut sums = vec![Vec::new(); half.len() + 1];
    sums[0].push(0.0);
    for (before, one) in half.iter().enumerate() {
        for chosen in (0..=before).rev() {
            let more: Vec<f64> = sums[chosen].iter().map(|sum| sum + one).collect();
            sums[chosen + 1].extend(more);
        }
    }
    sums.iter().map(|sums| sorted(sums)).collect()
}

/// How many sums of one of either list lie at least so far from 0.
fn beyond(left: &[f64], right: &[f64], far: f64) -> usize {
    let (mut above, mut below) = (right.len(), right.len());
    let mut count = 0;
    for one in left {
        while above > 0 && one + right[above - 1] >= far {
            above -= 1;
        }
        while below > 0 && one + right[below - 1] > -far {
            below -= 1;
        }
        count += right.len() - above + below;
    }
    count
}

fn drawn(centred: &[f64], of_b: usize, distance: f64, seed: u64) -> f64 {
    let mut rng = Rng::with_seed(seed);
    let mut urn = centred.to_vec();
    let far = (0..DRAWS)
        .filter(|_| {
            for i in 0..of_b {
                let j = rng.usize(i..urn.len());
                urn.swap(i, j);
            }
            urn[..of_b].iter().sum::<f64>().abs() >= distance
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
        let mut rng = Rng::with_seed(4);
        for (of_a, of_b) in [(2, 2), (4, 4), (3, 6), (6, 3), (1, 5), (5, 7)] {
            let pooled: Vec<f64> = (0..of_a + of_b).map(|_| rng.f64()).collect();
            let mean = pooled.iter().sum::<f64>() / pooled.len() as f64;
            let distance = pooled[of_a..]
                .iter()
                .map(|one| one - mean)
                .sum::<f64>()
                .abs()
                - 1e-9;
            let (mut far, mut all) = (0, 0);
            for mask in 0..1u32 << pooled.len() {
                if mask.count_ones() as usize == of_b {
                    let chosen = (0..pooled.len()).filter(|i| mask >> i & 1 == 1);
                    all += 1;
                    far += usize::from(
                        chosen.map(|i| pooled[i] - mean).sum::<f64>().abs() >= distance,
                    );
                }
            }
            let expected = f64::from(u32::try_from(far).unwrap()) / f64::from(all);
            assert!(
                (p(&pooled, of_b, 1) - expected).abs() < 1e-12,
                "{of_a} and {of_b}"
            );
        }
    }

    #[test]
    fn known_cases() {
        let apart = [1.0, 1.1, 1.2, 1.3, 2.0, 2.1, 2.2, 2.3];
        assert!((p(&apart, 4, 1) - 2.0 / 70.0).abs() < 1e-12);
        assert!((least_p(4, 4) - 2.0 / 70.0).abs() < 1e-12);
        assert!((least_p(5, 5) - 2.0 / 252.0).abs() < 1e-12);
        assert!((least_p(9, 3) - 1.0 / 220.0).abs() < 1e-12);
        assert!((p(&[5.0; 8], 4, 1) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn draws_agree_with_counting() {
        let mut rng = Rng::with_seed(8);
        let pooled: Vec<f64> = (0..22)
            .map(|i| rng.f64() + if i < 11 { 0.0 } else { 0.2 })
            .collect();
        let mean = pooled.iter().sum::<f64>() / 22.0;
        let centred: Vec<f64> = pooled.iter().map(|one| one - mean).collect();
        let distance = centred[11..].iter().sum::<f64>().abs() - 1e-9;
        let (counted, drawn) = (p(&pooled, 11, 1), drawn(&centred, 11, distance, 1));
        assert!((counted - drawn).abs() < 0.02, "{counted} against {drawn}");
    }
}
