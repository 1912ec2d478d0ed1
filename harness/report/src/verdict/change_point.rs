//! Where a series' level changed for good.
//!
//! The series is cut in two where the means of both sides differ most, or, if that tells nothing, a stretch is cut out of its
//! middle (binary segmentation, and circular: A. Olshen and others, Biostatistics 5, 2004). A cut stands if hardly any seeded
//! shuffle of the same figures can be cut as well, and its parts are cut further. At last every boundary is moved to where it
//! parts the two levels next to it best, and must stand between these alone. One wild figure is one odd point and no more than
//! that; and no level is shorter than [`SHORTEST_LEVEL`].

use std::ops::Range;

use fastrand::Rng;
use serde::{Deserialize, Serialize};

use crate::statistics;

/// A change of level.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ChangePoint {
    /// The first run of the new level.
    pub index: usize,
    /// The level before: the median of its runs.
    pub before: f64,
    /// The level since, or until the next change: the median of its runs.
    pub after: f64,
    /// The probability of a change as great as this if there were none.
    pub p: f64,
}

/// Fewer runs than this are odd ones and no level.
pub const SHORTEST_LEVEL: usize = 3;

/// How unlikely a change must be to be reported. Every part of a series is asked twice.
const ALPHA: f64 = 0.005;

/// How far out a figure may be, by what neighbours usually differ by.
const REACH: f64 = 5.0;

/// Shuffles that a cut is held against.
const SHUFFLES: u32 = 999;

/// The changes of level in a series of run means, in order. Figures must be finite.
pub fn find(means: &[f64], seed: u64) -> Vec<ChangePoint> {
    let mut rng = Rng::with_seed(seed);
    let mut cuts = Vec::new();
    segment(means, 0..means.len(), &mut rng, &mut cuts);
    cuts.sort_unstable_by_key(|cut: &Cut| cut.index);
    // The weakest goes first: without it the levels beside it are one, and longer.
    loop {
        settle(means, &mut cuts);
        let changes = changes(means, &cuts, seed);
        let weakest = (0..changes.len()).max_by(|a, b| changes[*a].p.total_cmp(&changes[*b].p));
        match weakest {
            Some(weakest) if changes[weakest].p > ALPHA => {
                cuts.remove(weakest);
            }
            _ => return changes,
        }
    }
}

/// Where to cut, and what the shuffles say of it.
#[derive(Clone, Copy)]
struct Cut {
    index: usize,
    p: f64,
}

/// Which stretches of a series differ from its rest.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stretch {
    /// One that begins with it: the series is cut in two.
    First,
    /// One with something before and behind it.
    Middle,
}

fn segment(means: &[f64], range: Range<usize>, rng: &mut Rng, cuts: &mut Vec<Cut>) {
    let figures = tempered(&means[range.clone()]);
    let found = [Stretch::First, Stretch::Middle]
        .into_iter()
        .find_map(|stretch| {
            let (best, inside) = best_cut(&figures, stretch)?;
            Some((inside, shuffled(&figures, stretch, best, rng)?))
        });
    let Some((inside, p)) = found else {
        return;
    };
    let (from, to) = (range.start + inside.start, range.start + inside.end);
    for index in [from, to] {
        if index != range.start {
            cuts.push(Cut { index, p });
        }
    }
    for part in [range.start..from, from..to, to..range.end] {
        segment(means, part, rng, cuts);
    }
}

/// The stretch that differs most from the rest, and by how much; None where there is no difference.
fn best_cut(figures: &[f64], stretch: Stretch) -> Option<(f64, Range<usize>)> {
    let count = figures.len();
    let mean = figures.iter().sum::<f64>() / count as f64;
    let mut sums = vec![0.0];
    for figure in figures {
        sums.push(sums[sums.len() - 1] + figure - mean);
    }
    let starts = match stretch {
        Stretch::First => 0..1,
        Stretch::Middle => SHORTEST_LEVEL..count,
    };
    let mut best: Option<(f64, Range<usize>)> = None;
    for from in starts {
        // A level is long enough, and so is what is left behind it.
        for to in from + SHORTEST_LEVEL..(count + 1).saturating_sub(SHORTEST_LEVEL) {
            let inside = (to - from) as f64;
            let outside = count as f64 - inside;
            let far = (sums[to] - sums[from]).abs() / (inside * outside).sqrt();
            // Strictly more, and not by rounding: of equals, the first.
            if far > best.as_ref().map_or(1e-9, |(most, _)| most * (1.0 + 1e-9)) {
                best = Some((far, from..to));
            }
        }
    }
    best
}

/// Moves each cut to where it parts the levels next to it best, by how far figures lie from the median of their level. A cut
/// that was found in a stair of several levels may stand a little beside it.
fn settle(means: &[f64], cuts: &mut [Cut]) {
    // Each round can only part levels better; that it ends is made sure of all the same.
    for _ in 0..=cuts.len() {
        let mut moved = false;
        for at in 0..cuts.len() {
            let (start, end) = neighbours(cuts, at, means.len());
            let apart = |at: &usize| scatter(&means[start..*at]) + scatter(&means[*at..end]);
            let places = start + SHORTEST_LEVEL..=end - SHORTEST_LEVEL;
            let best = places.min_by(|one, other| apart(one).total_cmp(&apart(other)));
            if let Some(best) = best.filter(|best| apart(best) < apart(&cuts[at].index)) {
                cuts[at].index = best;
                moved = true;
            }
        }
        if !moved {
            break;
        }
    }
}

/// How far figures lie from their median, all together.
fn scatter(level: &[f64]) -> f64 {
    let median = statistics::median(level).unwrap_or_default();
    level.iter().map(|one| (one - median).abs()).sum()
}

/// Where the levels on both sides of a cut begin and end.
fn neighbours(cuts: &[Cut], at: usize, end: usize) -> (usize, usize) {
    let before = at.checked_sub(1).map_or(0, |before| cuts[before].index);
    (before, cuts.get(at + 1).map_or(end, |behind| behind.index))
}

/// The share of shuffles that can be cut as well; None as soon as they are too many.
fn shuffled(figures: &[f64], stretch: Stretch, best: f64, rng: &mut Rng) -> Option<f64> {
    let mut figures = figures.to_vec();
    let mut as_good = 1;
    for _ in 0..SHUFFLES {
        rng.shuffle(&mut figures);
        let again = best_cut(&figures, stretch);
        as_good += u32::from(again.is_some_and(|(far, _)| far >= best * (1.0 - 1e-9)));
        if f64::from(as_good) > ALPHA * f64::from(SHUFFLES + 1) {
            return None;
        }
    }
    Some(f64::from(as_good) / f64::from(SHUFFLES + 1))
}

/// Each cut with the levels on both sides of it.
fn changes(means: &[f64], cuts: &[Cut], seed: u64) -> Vec<ChangePoint> {
    let change = |(at, cut): (usize, &Cut)| {
        let (start, end) = neighbours(cuts, at, means.len());
        let figures = tempered(&means[start..end]);
        let beside = statistics::chance(&figures, end - cut.index, seed);
        Some(ChangePoint {
            index: cut.index,
            before: statistics::median(&means[start..cut.index])?,
            after: statistics::median(&means[cut.index..end])?,
            p: cut.p.max(beside),
        })
    };
    cuts.iter().enumerate().filter_map(change).collect()
}

/// Figures as distances from their median, none further than [`REACH`] times what neighbours usually differ by: a new level
/// stands out, and a wild figure is one odd point and no more than that.
fn tempered(figures: &[f64]) -> Vec<f64> {
    let steps: Vec<f64> = figures
        .windows(2)
        .map(|two| (two[1] - two[0]).abs())
        .collect();
    let usual = statistics::median(&steps).unwrap_or_default();
    let reach = if usual > 0.0 {
        REACH * usual
    } else {
        f64::INFINITY
    };
    let middle = statistics::median(figures).unwrap_or_default();
    figures
        .iter()
        .map(|one| (one - middle).clamp(-reach, reach))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Levels with a small ripple, which never repeats within a level.
    fn series(levels: &[(usize, f64)]) -> Vec<f64> {
        let mut rng = Rng::with_seed(12);
        let mut series = Vec::new();
        for (runs, level) in levels {
            series.extend((0..*runs).map(|_| level * (1.0 + 0.02 * (rng.f64() - 0.5))));
        }
        series
    }

    fn indices(means: &[f64]) -> Vec<usize> {
        find(means, 5).iter().map(|change| change.index).collect()
    }

    #[test]
    fn a_step_is_found_where_it_is() {
        let found = find(&series(&[(12, 40.0), (9, 36.0)]), 5);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].index, 12);
        assert!((found[0].before - 40.0).abs() < 0.4 && (found[0].after - 36.0).abs() < 0.4);
        assert!(found[0].p <= ALPHA);
    }

    #[test]
    fn so_are_a_stair_and_a_bump_that_went_away() {
        assert_eq!(
            indices(&series(&[(10, 40.0), (10, 36.0), (10, 30.0)])),
            [10, 20]
        );
        assert_eq!(
            indices(&series(&[(12, 40.0), (8, 36.0), (12, 40.0)])),
            [12, 20]
        );
    }

    #[test]
    fn three_runs_of_a_new_level_are_enough_after_many_of_the_old() {
        assert_eq!(indices(&series(&[(20, 40.0), (3, 36.0)])), [20]);
    }

    #[test]
    fn odd_points_are_none() {
        for odd in [0, 7, 19] {
            let mut means = series(&[(20, 40.0)]);
            means[odd] = 4.0;
            assert_eq!(indices(&means), [0; 0], "{odd}");
        }
        assert_eq!(indices(&series(&[(18, 40.0), (2, 4.0)])), [0; 0]);
    }

    #[test]
    fn an_odd_point_does_not_hide_a_step() {
        let mut means = series(&[(12, 40.0), (12, 36.0)]);
        means[5] = 400.0;
        means[17] = 400.0;
        assert_eq!(indices(&means), [12]);
    }

    #[test]
    fn noise_has_hardly_any() {
        let mut rng = Rng::with_seed(2);
        let alarms = (0..200)
            .filter(|_| {
                let means: Vec<f64> = (0..30).map(|_| rng.f64()).collect();
                !find(&means, rng.u64(..)).is_empty()
            })
            .count();
        assert!(alarms <= 4, "{alarms} of 200");
    }

    #[test]
    fn short_and_constant_series_have_none() {
        for means in [
            vec![],
            vec![1.0],
            vec![1.0, 2.0],
            vec![1.0, 1.0, 1.0, 9.0, 9.0, 9.0],
        ] {
            assert_eq!(find(&means, 1), []);
        }
        assert_eq!(find(&[3.0; 30], 1), []);
    }
}
