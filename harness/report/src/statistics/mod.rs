//! What two sets of run means show: how far apart they are, within which bounds, and by what chance.
//!
//! All of it works with logarithms, so that a ratio and its inverse weigh the same, and nothing assumes a distribution.
//! Three things go together:
//!
//! - the **middle** of the differences is the mean of their middle half ([`trimmed_mean`]): a run in which something
//!   else had the machine moves it little;
//! - the **chance** is a permutation test's: of the signs of the pairs' differences where runs come in pairs (what a clock reads
//!   drifts, and a pair's two runs stand next to each other), of the sides' labels where they do not. No difference weighs more
//!   than twice the middling one, for the same reason. Exact where that can be counted out, else from seeded draws;
//! - the **interval** is the bootstrap's, seeded, at 90 % ([`CONFIDENCE`]): if it lies within 1 ± x, a difference of x either way
//!   is excluded at 5 % each (two one-sided tests). The plain bootstrap is too narrow for few runs; it is stretched by
//!   `sqrt(n/(n-1))`, which undoes that it divides by n, and by Student's quantile over the normal one (T. Hesterberg, What Teachers
//!   Should Know About the Bootstrap, 2015).
//!
//! What all this is worth under noise of four kinds stands as tables in `tests/statistics/snapshots`.

mod bootstrap;
mod clipping;
mod labels;
mod location;
mod signs;
mod student;

use std::sync::LazyLock;

pub use location::{
    coefficient_of_variation, mean, mean_of_lower_half, median, quantile, trimmed_mean,
};

/// The confidence of [`Estimate::interval`].
pub const CONFIDENCE: f64 = 0.90;

/// What lies outside of the interval at either end.
const TAIL: f64 = (1.0 - CONFIDENCE) / 2.0;

/// The normal quantile of the interval's end. It takes as long as the rest of an estimate, so it is computed once.
static NORMAL: LazyLock<f64> = LazyLock::new(|| student::normal_quantile(1.0 - TAIL));

/// How sure a look must be of a difference. Looks and measures are many: with this for each, 0.3 % of comparisons of a thing with
/// itself report any difference, at most 0.7 % of one kind of noise (`tests/statistics/family.rs`).
pub const ALPHA: f64 = 0.002;

/// How sure of a difference a look must be that ends a comparison before everything else is decided.
const ALPHA_OF_CERTAIN: f64 = ALPHA / 10.0;

/// How B stands to A.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// B by A.
    pub ratio: f64,
    /// The bootstrap's interval of that at [`CONFIDENCE`].
    pub interval: (f64, f64),
    /// The same at 1 - [`ALPHA`].
    pub wide: (f64, f64),
    /// The same at 1 - a tenth of [`ALPHA`].
    pub widest: (f64, f64),
    /// The probability of a difference as great as this if there were none, by the permutation test.
    pub p: f64,
    /// The least that `p` can be with so few runs.
    pub least_p: f64,
}

impl Estimate {
    /// Whether the difference is not by chance: `p` below [`ALPHA`]. With so few runs that `p` cannot get there it must be the
    /// least there is, and the wide interval must exclude 1 as well.
    pub fn is_significant(&self) -> bool {
        self.is_significant_at(ALPHA, self.wide)
    }

    /// The same at a tenth of [`ALPHA`].
    pub fn is_certain(&self) -> bool {
        self.is_significant_at(ALPHA_OF_CERTAIN, self.widest)
    }

    fn is_significant_at(&self, alpha: f64, wide: (f64, f64)) -> bool {
        let excludes = |(low, high): (f64, f64)| low > 1.0 || high < 1.0;
        if self.least_p <= alpha {
            self.p <= alpha && excludes(self.interval)
        } else {
            self.p <= self.least_p * (1.0 + 1e-9) && excludes(wide)
        }
    }
}

/// Of runs that come in pairs, `a[i]` beside `b[i]`: for what drifts. Figures must be greater than 0.
///
/// None with fewer than two pairs, or when the sides are not equally long.
pub fn paired(a: &[f64], b: &[f64], seed: u64) -> Option<Estimate> {
    if a.len() != b.len() || a.len() < 2 {
        return None;
    }
    let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| (b / a).ln()).collect();
    let pairs = differences.len();
    let middle = trimmed_mean(&differences)?;
    let deviations = bootstrap::of_one(&differences, seed);
    let clipped = clipping::around_zero(&differences);
    Some(Estimate::new(
        middle,
        &deviations,
        small_sample(pairs),
        pairs - 1,
        signs::p(&clipped, seed),
        signs::least_p(pairs),
    ))
}

/// Of runs that do not: for what is counted, and for runs of other days. The sides may differ in length. Figures must be
/// greater than 0.
///
/// None with fewer than two runs on a side.
pub fn unpaired(a: &[f64], b: &[f64], seed: u64) -> Option<Estimate> {
    if a.len() < 2 || b.len() < 2 {
        return None;
    }
    let a: Vec<f64> = a.iter().copied().map(f64::ln).collect();
    let b: Vec<f64> = b.iter().copied().map(f64::ln).collect();
    let middle = trimmed_mean(&b)? - trimmed_mean(&a)?;
    let deviations = bootstrap::of_two(&a, &b, seed);
    let pooled = clipping::around_median(&[a.as_slice(), b.as_slice()].concat());
    Some(Estimate::new(
        middle,
        &deviations,
        small_sample(a.len().min(b.len())),
        a.len() + b.len() - 2,
        labels::p(&pooled, b.len(), seed),
        labels::least_p(a.len(), b.len()),
    ))
}

/// The label permutation's probability for figures of two sides as they are, the last `of_b` of them one side's.
pub(crate) fn chance(figures: &[f64], of_b: usize, seed: u64) -> f64 {
    labels::p(figures, of_b, seed)
}

impl Estimate {
    /// `deviations` are the bootstrap's, from the middle, in order.
    fn new(
        middle: f64,
        deviations: &[f64],
        small_sample: f64,
        freedom: usize,
        p: f64,
        least_p: f64,
    ) -> Self {
        let reach = |tail: f64| student::quantile(1.0 - tail, freedom) / *NORMAL * small_sample;
        let low = location::quantile_of_sorted(deviations, TAIL);
        let high = location::quantile_of_sorted(deviations, 1.0 - TAIL);
        // The far tails of a bootstrap of few runs are their extremes and nothing else: the wide interval is the narrow one, drawn out.
        let within = |reach: f64| {
            (
                bounded_exp(middle + low.min(0.0) * reach),
                bounded_exp(middle + high.max(0.0) * reach),
            )
        };
        Self {
            ratio: middle.exp(),
            interval: within(reach(TAIL)),
            wide: within(reach(ALPHA / 2.0)),
            widest: within(reach(ALPHA_OF_CERTAIN / 2.0)),
            p,
            least_p,
        }
    }
}

/// So that an interval of two wild runs stays a number.
fn bounded_exp(logarithm: f64) -> f64 {
    logarithm.clamp(-50.0, 50.0).exp()
}

/// What undoes the bootstrap's dividing by n.
fn small_sample(runs: usize) -> f64 {
    (runs as f64 / (runs as f64 - 1.0)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_and_its_inverse_are_judged_alike() {
        let a = [10.0, 10.2, 9.9, 10.1, 10.0, 9.8];
        let b = [9.0, 9.1, 9.2, 8.9, 9.0, 9.1];
        for estimate in [paired, unpaired] {
            let there = estimate(&a, &b, 7).unwrap();
            let back = estimate(&b, &a, 7).unwrap();
            assert!((there.ratio * back.ratio - 1.0).abs() < 1e-12);
            assert!((there.p - back.p).abs() < 1e-12);
            assert!(there.is_significant() && back.is_significant());
            assert!(there.interval.0 < there.ratio && there.ratio < there.interval.1);
            assert!(there.wide.0 < there.interval.0 && there.interval.1 < there.wide.1);
        }
    }

    #[test]
    fn to_be_certain_takes_more_than_to_be_significant() {
        let a = [10.0, 10.2, 9.9, 10.1, 10.0, 9.8];
        let by = |share: f64| paired(&a, &a.map(|one| one * share + (one - 10.0)), 7).unwrap();
        let (slight, great) = (by(0.95), by(0.5));
        assert!(slight.widest.0 < slight.wide.0 && slight.wide.1 < slight.widest.1);
        assert!(great.is_significant() && great.is_certain(), "{great:?}");
        assert!(
            slight.is_significant() && !slight.is_certain(),
            "{slight:?}"
        );
    }

    #[test]
    fn one_disturbed_run_does_not_carry_the_day() {
        let a = [10.0, 10.1, 9.9, 10.0, 10.1, 9.9, 10.0, 10.1];
        let b = [10.0, 9.9, 10.1, 10.0, 3.0, 10.1, 9.9, 10.0];
        for estimate in [paired, unpaired] {
            let found = estimate(&a, &b, 7).unwrap();
            assert!((found.ratio - 1.0).abs() < 0.01, "{found:?}");
            assert!(!found.is_significant(), "{found:?}");
        }
    }

    #[test]
    fn what_never_varies_is_known_exactly() {
        let same = unpaired(&[3.0; 4], &[3.0; 4], 1).unwrap();
        assert_eq!((same.ratio, same.interval, same.p), (1.0, (1.0, 1.0), 1.0));
        let other = unpaired(&[3.0; 4], &[3.3; 4], 1).unwrap();
        assert!((other.p - 2.0 / 70.0).abs() < 1e-12 && other.is_significant());
        let one_sided = unpaired(&[3.0; 9], &[3.3; 3], 1).unwrap();
        assert!((one_sided.p - 1.0 / 220.0).abs() < 1e-12, "{one_sided:?}");
    }

    #[test]
    fn too_few_say_nothing() {
        assert_eq!(paired(&[1.0], &[1.0], 1), None);
        assert_eq!(paired(&[1.0, 2.0], &[1.0], 1), None);
        assert_eq!(unpaired(&[1.0, 2.0], &[1.0], 1), None);
        let two = paired(&[1.0, 1.1], &[2.0, 2.1], 1).unwrap();
        assert!(!two.is_significant(), "{two:?}");
    }
}
