//! Figures over time, brought onto common stretches so that they can be put on top of each other.

use super::activity::Stretch;

/// The borders of the stretches that `lanes` have together, within `from..to`; where that were more than `most`, as many equal
/// ones.
pub(super) fn borders<'a>(
    lanes: impl Iterator<Item = &'a [Stretch]>,
    (from, to): (f64, f64),
    most: usize,
) -> Vec<f64> {
    let mut borders = vec![from, to];
    for lane in lanes {
        for stretch in lane.iter().filter(|stretch| is_sound(stretch)) {
            borders.extend([stretch.from, stretch.to].map(|border| border.clamp(from, to)));
        }
    }
    borders.sort_by(f64::total_cmp);
    // A thousandth of a second apart is the same: clocks are read one after another.
    borders.dedup_by(|later, earlier| *later - *earlier < 1e-3);
    if borders.len() > most.max(2) {
        let step = (to - from) / most.max(2) as f64;
        return (0..=most.max(2))
            .map(|number| from + number as f64 * step)
            .collect();
    }
    borders
}

/// What a lane has between each border and the next: the mean over time, and 0 where it has nothing.
pub(super) fn between(stretches: &[Stretch], borders: &[f64]) -> Vec<f64> {
    let cells = borders.len().saturating_sub(1);
    let mut sums = vec![0.0; cells];
    for stretch in stretches.iter().filter(|stretch| is_sound(stretch)) {
        let first = borders.partition_point(|border| *border <= stretch.from);
        for cell in first.saturating_sub(1)..cells {
            let (low, high) = (borders[cell], borders[cell + 1]);
            if low >= stretch.to {
                break;
            }
            let shared = stretch.to.min(high) - stretch.from.max(low);
            sums[cell] += stretch.value * shared.max(0.0) / (high - low);
        }
    }
    sums
}

fn is_sound(stretch: &Stretch) -> bool {
    let numbers = [stretch.from, stretch.to, stretch.value];
    numbers.iter().all(|number| number.is_finite()) && stretch.to > stretch.from
}

#[cfg(test)]
mod tests {
    use super::{between, borders};
    use crate::render::chart::activity::Stretch;

    fn lane(stretches: &[(f64, f64, f64)]) -> Vec<Stretch> {
        let stretch = |&(from, to, value): &(f64, f64, f64)| Stretch { from, to, value };
        stretches.iter().map(stretch).collect()
    }

    #[test]
    fn lanes_are_cut_at_each_others_borders() {
        let one = lane(&[(0.0, 1.0, 4.0), (1.0, 2.0, 8.0)]);
        let other = lane(&[(0.5, 1.5, 2.0)]);
        let borders = borders([&one[..], &other[..]].into_iter(), (0.0, 3.0), 100);
        assert_eq!(borders, [0.0, 0.5, 1.0, 1.5, 2.0, 3.0]);
        assert_eq!(between(&one, &borders), [4.0, 4.0, 8.0, 8.0, 0.0]);
        assert_eq!(between(&other, &borders), [0.0, 2.0, 2.0, 0.0, 0.0]);
    }

    #[test]
    fn more_than_can_be_seen_is_averaged() {
        let many: Vec<_> = (0..1000)
            .map(|number| {
                (
                    f64::from(number),
                    f64::from(number + 1),
                    f64::from(number % 2),
                )
            })
            .collect();
        let many = lane(&many);
        let borders = borders(std::iter::once(&many[..]), (0.0, 1000.0), 10);
        assert_eq!(borders.len(), 11);
        assert!(
            between(&many, &borders)
                .iter()
                .all(|mean| (mean - 0.5).abs() < 1e-9)
        );
    }

    #[test]
    fn what_makes_no_sense_is_left_out() {
        let odd = lane(&[
            (1.0, 1.0, 5.0),
            (2.0, 1.0, 5.0),
            (0.0, f64::INFINITY, 5.0),
            (0.0, 1.0, f64::NAN),
        ]);
        let borders = borders(std::iter::once(&odd[..]), (0.0, 2.0), 10);
        assert_eq!(borders, [0.0, 2.0]);
        assert_eq!(between(&odd, &borders), [0.0]);
    }
}
