//! A series as one line of text.

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// One block a figure, from the lowest of them to the highest. Figures that are all the same are drawn halfway up; what is no
/// number is a space.
pub fn sparkline(figures: &[f64]) -> String {
    let finite = || figures.iter().copied().filter(|figure| figure.is_finite());
    let low = finite().fold(f64::INFINITY, f64::min);
    let high = finite().fold(f64::NEG_INFINITY, f64::max);
    figures
        .iter()
        .map(|figure| {
            if !figure.is_finite() {
                return ' ';
            }
            // A difference in the last digits is how numbers are kept, and nothing to see.
            if high - low <= high.abs().max(low.abs()) * 1e-9 {
                return BLOCKS[BLOCKS.len() / 2 - 1];
            }
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "between 0 and 8"
            )]
            let step = ((figure - low) / (high - low) * BLOCKS.len() as f64) as usize;
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
            sparkline(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]),
            "▁▂▃▄▅▆▇█"
        );
        assert_eq!(sparkline(&[100.0, 101.0, 100.5]), "▁█▅");
    }

    #[test]
    fn what_has_no_range_or_no_number_is_drawn_too() {
        assert_eq!(sparkline(&[]), "");
        assert_eq!(sparkline(&[5.0]), "▄");
        assert_eq!(sparkline(&[5.0, f64::NAN, 5.0]), "▄ ▄");
        assert_eq!(sparkline(&[0.3, 0.1 + 0.2]), "▄▄");
        assert_eq!(sparkline(&[0.0, 0.0]), "▄▄");
        assert_eq!(sparkline(&[-1.0, 1.0]), "▁█");
    }
}
