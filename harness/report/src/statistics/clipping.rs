//! No run weighs more than twice the middling one.
//!
//! Both ways are blind to what a permutation changes (signs here, labels there), so that the tests stay exact.

use super::location;

/// A figure may be so many times as far out as the middling one.
const REACH: f64 = 2.0;

/// Pairs' differences, none further from 0 than twice the median of their distances.
pub(super) fn around_zero(differences: &[f64]) -> Vec<f64> {
    let distances: Vec<f64> = differences.iter().map(|one| one.abs()).collect();
    let reach = reach(&distances);
    differences
        .iter()
        .map(|one| one.clamp(-reach, reach))
        .collect()
}

/// Figures of both sides as distances from their common median, none further than twice the median of those.
pub(super) fn around_median(pooled: &[f64]) -> Vec<f64> {
    let middle = location::median(pooled).unwrap_or_default();
    let centred: Vec<f64> = pooled.iter().map(|one| one - middle).collect();
    around_zero(&centred)
}

/// Where most are alike there is no middling distance, and what differs is not to be cut down to nothing.
fn reach(distances: &[f64]) -> f64 {
    match location::median(distances) {
        Some(middling) if middling > 0.0 => REACH * middling,
        _ => f64::INFINITY,
    }
}
