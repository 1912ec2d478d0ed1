//! Where figures lie, and how far they spread.

/// The mean; None of nothing.
pub fn mean(figures: &[f64]) -> Option<f64> {
    (!figures.is_empty()).then(|| figures.iter().sum::<f64>() / figures.len() as f64)
}

/// The mean of the lower half, with the one in the middle; None of nothing.
pub fn mean_of_lower_half(figures: &[f64]) -> Option<f64> {
    mean(&sorted(figures)[..figures.len().div_ceil(2)])
}

/// The median; None of nothing.
pub fn median(figures: &[f64]) -> Option<f64> {
    quantile(figures, 0.5)
}

/// The figure below which the share `q` of them lies, between two of them in proportion; None of nothing.
pub fn quantile(figures: &[f64], q: f64) -> Option<f64> {
    (!figures.is_empty()).then(|| quantile_of_sorted(&sorted(figures), q))
}

/// The standard deviation (of a sample) by the mean; None of fewer than two, or of a mean of 0.
pub fn coefficient_of_variation(figures: &[f64]) -> Option<f64> {
    let mean = mean(figures).filter(|mean| *mean != 0.0 && figures.len() > 1)?;
    let squares: f64 = figures.iter().map(|figure| (figure - mean).powi(2)).sum();
    Some((squares / (figures.len() as f64 - 1.0)).sqrt() / mean.abs())
}

/// The mean of the middle half: without the quarter of them at either end, rounded down. None of nothing.
pub fn trimmed_mean(figures: &[f64]) -> Option<f64> {
    let sorted = sorted(figures);
    mean(&sorted[trimmed(sorted.len())..sorted.len() - trimmed(sorted.len())])
}

/// How many are left out at either end.
pub(super) const fn trimmed(count: usize) -> usize {
    count / 4
}

pub(super) fn sorted(figures: &[f64]) -> Vec<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// Of a list in order that has at least one.
pub(super) fn quantile_of_sorted(sorted: &[f64], q: f64) -> f64 {
    let at = q.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    // A share of a list's length, within it.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let below = at as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (sorted[above] - sorted[below]) * (at - below as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_small_lists() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(quantile(&[0.0, 10.0], 0.25), Some(2.5));
        assert_eq!(trimmed_mean(&[1.0, 2.0, 3.0, 4.0, 1000.0]), Some(3.0));
        assert_eq!(trimmed_mean(&[6.0, 3.0, 2.0, 1.0]), Some(2.5));
        assert_eq!(trimmed_mean(&[1.0, 2.0, 6.0]), Some(3.0));
        assert_eq!(mean_of_lower_half(&[9.0, 1.0, 2.0, 3.0]), Some(1.5));
        assert_eq!(mean_of_lower_half(&[9.0, 2.0, 1.0]), Some(1.5));
        assert_eq!(mean_of_lower_half(&[9.0]), Some(9.0));
        assert_eq!(
            coefficient_of_variation(&[9.0, 11.0]),
            Some(2f64.sqrt() / 10.0)
        );
    }

    #[test]
    fn nothing_has_no_place() {
        assert_eq!(mean(&[]), None);
        assert_eq!(mean_of_lower_half(&[]), None);
        assert_eq!(median(&[]), None);
        assert_eq!(trimmed_mean(&[]), None);
        assert_eq!(coefficient_of_variation(&[1.0]), None);
        assert_eq!(coefficient_of_variation(&[0.0, 0.0]), None);
    }
}
