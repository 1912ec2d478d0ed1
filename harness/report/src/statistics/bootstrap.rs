//! The bootstrap: how far the middle would move if the runs were drawn again from those there are.

use fastrand::Rng;

use super::location::{sorted, trimmed};

/// How often. The ends of a 90 % interval are then good to about a fifteenth of the standard error.
const RESAMPLES: usize = 1000;

/// Deviations from the middle of one sample, in order.
pub(super) fn of_one(sample: &[f64], seed: u64) -> Vec<f64> {
    let mut rng = Rng::with_seed(seed);
    let mut urn = Urn::new(sample);
    let middle = urn.middle();
    deviations(|| urn.draw(&mut rng) - middle)
}

/// Deviations from the difference of two samples' middles, `b - a`, in order.
pub(super) fn of_two(a: &[f64], b: &[f64], seed: u64) -> Vec<f64> {
    let mut rng = Rng::with_seed(seed);
    let (mut a, mut b) = (Urn::new(a), Urn::new(b));
    let difference = b.middle() - a.middle();
    deviations(|| b.draw(&mut rng) - a.draw(&mut rng) - difference)
}

fn deviations(draw: impl FnMut() -> f64) -> Vec<f64> {
    let mut deviations: Vec<f64> = std::iter::repeat_with(draw).take(RESAMPLES).collect();
    deviations.sort_unstable_by(f64::total_cmp);
    deviations
}

/// A sample in order, and how often each of it was drawn: that needs no sorting to trim.
struct Urn {
    sample: Vec<f64>,
    times: Vec<usize>,
}

impl Urn {
    fn new(sample: &[f64]) -> Self {
        Self {
            sample: sorted(sample),
            times: vec![1; sample.len()],
        }
    }

    fn draw(&mut self, rng: &mut Rng) -> f64 {
        self.times.fill(0);
        for _ in 0..self.sample.len() {
            self.times[rng.usize(..self.sample.len())] += 1;
        }
        self.middle()
    }

    /// The trimmed mean of what was drawn.
    fn middle(&self) -> f64 {
        let count = self.sample.len();
        let (first, last) = (trimmed(count), count - trimmed(count));
        let (mut seen, mut sum) = (0, 0.0);
        for (figure, times) in self.sample.iter().zip(&self.times) {
            let kept = (seen + times).min(last).saturating_sub(seen.max(first));
            sum += figure * kept as f64;
            seen += times;
        }
        sum / (last - first) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::trimmed_mean;

    #[test]
    fn trimming_by_counts_is_trimming() {
        let mut rng = Rng::with_seed(5);
        for count in 2..25 {
            let sample: Vec<f64> = (0..count).map(|_| rng.f64()).collect();
            let mut urn = Urn::new(&sample);
            assert!((urn.middle() - trimmed_mean(&sample).unwrap()).abs() < 1e-12);
            let drawn = urn.draw(&mut rng);
            let expanded: Vec<f64> = urn
                .sample
                .iter()
                .zip(&urn.times)
                .flat_map(|(figure, times)| vec![*figure; *times])
                .collect();
            assert_eq!(expanded.len(), count);
            assert!((drawn - trimmed_mean(&expanded).unwrap()).abs() < 1e-12);
        }
    }

    #[test]
    fn the_spread_is_the_standard_error() {
        // Of three figures nothing is trimmed: the bootstrap's deviation is that of the mean, with n in place of n - 1.
        let deviations = of_one(&[1.0, 2.0, 3.0], 9);
        let square = deviations.iter().map(|one| one * one).sum::<f64>() / deviations.len() as f64;
        assert!((square.sqrt() - (2.0f64 / 3.0 / 3.0).sqrt()).abs() < 0.03);
        assert!(deviations.is_sorted());
        assert!(
            deviations == of_one(&[3.0, 1.0, 2.0], 9),
            "a seed draws the same again"
        );
    }
}
