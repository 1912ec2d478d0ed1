//! A series as one line of text.

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// One block a figure, from the lowest of them to the highest; what is no number is a space. The whole height is at least
/// `span`, a share of the figures, so that what hardly differs looks alike: figures that are all the same are drawn halfway up.
pub fn sparkline(figures: &[f64], span: f64) -> String {
    let finite = || figures.iter().copied().filter(|figure| figure.is_finite());
    let low = finite().fold(f64::INFINITY, f64::min);
    let high = finite().fold(f64::NEG_INFINITY, f64::max);
    let size = high.abs().max(low.abs());
    // A difference in the last digits is how numbers are kept, and nothing to see.
    let height = (high - low).max(size * span.max(1e-9));
    let bottom = f64::midpoint(low, high) - height / 2.0;
    let blocks = BLOCKS.len() as f64;
    figures
        .iter()
        .map(|figure| {
            if !figure.is_finite() {
                return ' ';
            }
            // Figures that are all 0 have no height.
            let share = if height > 0.0 {
                (figure - bottom) / height
            } else {
                0.5
            };
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "between 0 and 8"
            )]
            // Of the two blocks at the middle the lower.
            let step = (share * blocks - 1e-6).max(0.0) as usize;
            BLOCKS[step.min(BLOCKS.len() - 1)]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lowest_and_highest_are_the_ends() {
        assert_eq!(
            sparkline(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], 0.0),
            "▁▂▃▄▅▆▇█"
        );
        assert_eq!(sparkline(&[100.0, 101.0, 100.5], 0.0), "▁█▄");
        assert_eq!(sparkline(&[100.0, 101.0, 100.5], 0.01), "▁█▄");
    }

    #[test]
    fn what_hardly_differs_looks_alike() {
        assert_eq!(sparkline(&[100.0, 101.0, 100.5], 0.1), "▄▅▄");
        assert_eq!(sparkline(&[0.754, 0.7541, 0.754], 0.04), "▄▅▄");
        assert_eq!(sparkline(&[1.0, 1.0001, 1.3], 0.1), "▁▁█");
    }

    #[test]
    fn what_has_no_range_or_no_number_is_drawn_too() {
        assert_eq!(sparkline(&[], 0.1), "");
        assert_eq!(sparkline(&[5.0], 0.1), "▄");
        assert_eq!(sparkline(&[5.0, f64::NAN, 5.0], 0.1), "▄ ▄");
        assert_eq!(sparkline(&[0.3, 0.1 + 0.2], 0.0), "▄▄");
        assert_eq!(sparkline(&[0.0, 0.0], 0.1), "▄▄");
        assert_eq!(sparkline(&[-1.0, 1.0], 0.1), "▁█");
    }
}
