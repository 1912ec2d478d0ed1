//! Values to places, and the values at which a scale is marked.

use super::number;

/// Beyond this no scale goes: sums of what is drawn stay finite.
const LARGEST: f64 = 1e15;

/// A straight scale.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    from: f64,
    to: f64,
    start: f64,
    end: f64,
}

impl Scale {
    /// `from..to` is drawn from `start` to `end`. A stretch without length is widened around its value.
    pub(super) fn new((from, to): (f64, f64), (start, end): (f64, f64)) -> Self {
        let tame = |value: f64| {
            if value.is_nan() {
                0.0
            } else {
                value.clamp(-LARGEST, LARGEST)
            }
        };
        let (from, to) = (tame(from), tame(to));
        let (low, high) = (from.min(to), from.max(to));
        let (from, to) = if high - low > high.abs().max(low.abs()).max(1e-9) * 1e-9 {
            (low, high)
        } else {
            let room = (low.abs() * 0.5).max(0.5);
            (low - room, high + room)
        };
        Self {
            from,
            to,
            start,
            end,
        }
    }

    /// The same, from and to round numbers, with about so many marks.
    pub(super) fn round(domain: (f64, f64), range: (f64, f64), marks: usize) -> Self {
        let exact = Self::new(domain, range);
        let step = exact.step(marks);
        Self {
            from: (exact.from / step).floor() * step,
            to: (exact.to / step).ceil() * step,
            ..exact
        }
    }

    /// Where a value is; what lies beyond the scale is at its end.
    pub(super) fn at(&self, value: f64) -> f64 {
        let value = if value.is_nan() { self.from } else { value };
        let share = (value.clamp(self.from, self.to) - self.from) / (self.to - self.from);
        self.start + share * (self.end - self.start)
    }

    /// Round values on the scale with their labels, about as many as wanted and never more than twice that.
    pub(super) fn ticks(&self, wanted: usize) -> Vec<(f64, String)> {
        let step = self.step(wanted);
        let first = (self.from / step - 1e-6).ceil();
        (0..=wanted.max(1) * 2)
            .map(|number| (first + number as f64) * step)
            .take_while(|value| *value <= self.to + step * 1e-6)
            .map(|value| (value, number::tick(value, step)))
            .collect()
    }

    /// 1, 2, 2.5 or 5 times a power of ten.
    fn step(&self, wanted: usize) -> f64 {
        let rough = (self.to - self.from) / wanted.max(1) as f64;
        let unit = 10_f64.powf(rough.log10().floor());
        let good = [1.0, 2.0, 2.5, 5.0, 10.0];
        let mantissa = good
            .into_iter()
            .find(|mantissa| mantissa * unit >= rough * 0.999)
            .unwrap_or(10.0);
        mantissa * unit
    }
}

/// A scale of ratios around 1: twice as much is as far from it as half.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct RatioScale {
    /// The logarithm of the largest ratio on it.
    reach: f64,
    straight: Scale,
}

impl RatioScale {
    /// Reaches as far as the farthest of `ratios`, but from 2 % at the least to 32 times at most.
    pub(super) fn new(ratios: impl IntoIterator<Item = f64>, range: (f64, f64)) -> Self {
        let farthest = ratios
            .into_iter()
            .filter(|ratio| ratio.is_finite() && *ratio > 0.0)
            .map(|ratio| ratio.ln().abs())
            .fold(0.02_f64, f64::max);
        let reach = (farthest * 1.12).min(32_f64.ln());
        Self {
            reach,
            straight: Scale::new((-reach, reach), range),
        }
    }

    /// Where a ratio is; what lies beyond the scale, zero included, is at its end.
    pub(super) fn at(&self, ratio: f64) -> f64 {
        let log = if ratio > 0.0 { ratio.ln() } else { -f64::MAX };
        self.straight.at(log)
    }

    /// Whether a ratio is on it.
    pub(super) fn holds(&self, ratio: f64) -> bool {
        ratio > 0.0 && ratio.ln().abs() <= self.reach
    }

    /// The widest set of round changes that leaves room for their labels, with these.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        const FEW: [f64; 7] = [0.01, 0.02, 0.05, 0.10, 0.25, 0.50, 1.0];
        // Down and up by the largest change that fits, and by about half of that.
        let fits = |ratio: &f64| ratio.ln() <= self.reach;
        let mut up: Vec<f64> = FEW
            .iter()
            .map(|share| 1.0 + share)
            .chain([4.0, 8.0, 16.0, 32.0])
            .filter(fits)
            .collect();
        let last = up.pop();
        let middle = last.and_then(|last| {
            let half = last.ln() * 0.62;
            up.into_iter().rfind(|ratio| ratio.ln() <= half)
        });
        let mut ticks = vec![(1.0, "0".to_owned())];
        for ratio in [middle, last].into_iter().flatten() {
            ticks.push((ratio, percent(ratio)));
            // As far to the other side: half where that is twice. Of small changes that is as good as the same.
            let down = if ratio < 1.2 {
                2.0 - ratio
            } else {
                1.0 / ratio
            };
            if down > 0.0 && self.holds(down) {
                ticks.push((down, percent(down)));
            }
        }
        ticks.sort_by(|one, other| one.0.total_cmp(&other.0));
        ticks
    }
}

fn percent(ratio: f64) -> String {
    if ratio >= 1.99 {
        return format!("×{ratio:.0}");
    }
    if ratio <= 0.3 {
        return format!("÷{:.0}", 1.0 / ratio);
    }
    let percent = (ratio - 1.0) * 100.0;
    crate::render::number::signed(&format!("{percent:+.0} %"))
}

#[cfg(test)]
mod tests {
    use super::{RatioScale, Scale};

    fn labels(scale: &Scale, wanted: usize) -> Vec<String> {
        scale.ticks(wanted).into_iter().map(|tick| tick.1).collect()
    }

    #[test]
    fn marks_are_round_numbers() {
        let scale = Scale::round((0.0, 47.3), (0.0, 100.0), 4);
        assert_eq!(labels(&scale, 4), ["0", "20", "40", "60"]);
        let scale = Scale::new((42.7, 61.0), (0.0, 100.0));
        assert_eq!(labels(&scale, 4), ["45", "50", "55", "60"]);
        let scale = Scale::round((0.0, 0.9), (0.0, 100.0), 2);
        assert_eq!(labels(&scale, 2), ["0.0", "0.5", "1.0"]);
    }

    #[test]
    fn places_are_within_the_range_whatever_the_value() {
        let scale = Scale::new((10.0, 20.0), (100.0, 0.0));
        for (value, place) in [
            (10.0, 100.0),
            (15.0, 50.0),
            (20.0, 0.0),
            (-1e300, 100.0),
            (f64::INFINITY, 0.0),
            (f64::NAN, 100.0),
        ] {
            assert!((scale.at(value) - place).abs() < 1e-9, "{value}");
        }
    }

    #[test]
    fn no_domain_is_too_odd() {
        let odd = [
            0.0,
            -1.0,
            1e-300,
            1e300,
            f64::NAN,
            f64::INFINITY,
            5.0,
            5.000_000_000_001,
        ];
        for from in odd {
            for to in odd {
                for wanted in [0, 1, 5] {
                    let scale = Scale::round((from, to), (0.0, 100.0), wanted);
                    let ticks = scale.ticks(wanted);
                    assert!(
                        ticks.len() <= 2 * wanted.max(1) + 1,
                        "{from} {to} {ticks:?}"
                    );
                    let places = ticks.iter().map(|tick| scale.at(tick.0));
                    assert!(places.into_iter().all(f64::is_finite), "{from} {to}");
                    assert!((0.0..=100.0).contains(&scale.at(from)), "{from} {to}");
                }
            }
        }
    }

    #[test]
    fn a_ratio_and_its_inverse_are_equally_far_from_none() {
        let scale = RatioScale::new([0.5, 1.2, f64::NAN, 0.0], (0.0, 100.0));
        assert!((scale.at(1.0) - 50.0).abs() < 1e-9);
        assert!((scale.at(2.0) - 50.0 - (50.0 - scale.at(0.5))).abs() < 1e-9);
        assert!((scale.at(0.0)).abs() < 1e-9);
        assert!((scale.at(f64::INFINITY) - 100.0).abs() < 1e-9);
        assert!(!scale.holds(0.0) && !scale.holds(3.0) && scale.holds(0.6));
    }

    #[test]
    fn ratios_are_marked_as_changes() {
        let labels = |farthest: f64| -> Vec<String> {
            let scale = RatioScale::new([farthest], (0.0, 100.0));
            scale.ticks().into_iter().map(|tick| tick.1).collect()
        };
        assert_eq!(labels(1.0), ["−2 %", "−1 %", "0", "+1 %", "+2 %"]);
        assert_eq!(labels(0.9), ["−10 %", "−5 %", "0", "+5 %", "+10 %"]);
        assert_eq!(labels(0.5), ["−50 %", "−33 %", "0", "+50 %", "×2"]);
        assert_eq!(labels(20.0), ["÷16", "÷4", "0", "×4", "×16"]);
    }
}
