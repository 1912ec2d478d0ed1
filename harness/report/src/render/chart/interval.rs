//! Ratios with their intervals, one a row, all on the same scale: what a table's rows say, to be seen at a glance.

use super::scale::RatioScale;
use super::svg::{Anchor, Area, Svg, Way};

/// The scale that all rows share.
#[derive(Debug, Clone, Copy)]
pub struct Axis {
    scale: RatioScale,
    width: f64,
}

impl Axis {
    /// Holds all of these ratios, as far as that is of use.
    pub fn new(ratios: impl IntoIterator<Item = f64>, width: f64) -> Self {
        Self {
            scale: RatioScale::new(ratios, (8.0, width - 8.0)),
            width,
        }
    }

    /// The scale's labels, for the head of the table.
    pub fn head(&self) -> String {
        let mut svg = Svg::new(self.width, 16.0, "axis", "change from A to B");
        // From the middle outwards, and only what leaves its neighbour free.
        let mut ticks = self.scale.ticks();
        ticks.sort_by(|one, other| one.0.ln().abs().total_cmp(&other.0.ln().abs()));
        let mut taken: Vec<f64> = Vec::new();
        for (ratio, text) in ticks {
            let x = self.scale.at(ratio);
            svg.line("grid", (x, 12.0), (x, 16.0));
            if taken.iter().all(|other| (other - x).abs() > 36.0) {
                taken.push(x);
                let (x, anchor) = match x {
                    x if x < 22.0 => (0.0, Anchor::Start),
                    x if x > self.width - 22.0 => (self.width, Anchor::End),
                    x => (x, Anchor::Middle),
                };
                svg.text("tick", (x, 9.0), anchor, &text);
            }
        }
        svg.finish()
    }

    /// One ratio: a dot in its interval, over a band of what would be no change. An end of the interval that is off the
    /// scale is an arrow.
    pub fn row(
        &self,
        class: &str,
        ratio: f64,
        interval: (f64, f64),
        margin: f64,
        label: &str,
    ) -> String {
        const MIDDLE: f64 = 12.0;
        const HEIGHT: f64 = 24.0;
        let mut svg = Svg::new(self.width, HEIGHT, "interval", label);
        let at = |ratio: f64| self.scale.at(ratio);
        let (low, high) = (at(1.0 - margin), at(1.0 + margin));
        let band = Area {
            x: low,
            y: 0.0,
            width: high - low,
            height: HEIGHT,
        };
        svg.rect("least", band, "smaller than the equivalence margin");
        svg.line("none", (at(1.0), 0.0), (at(1.0), HEIGHT));
        let (from, to) = (at(interval.0), at(interval.1));
        svg.line(&format!("reach {class}"), (from, MIDDLE), (to, MIDDLE));
        for (end, x, way) in [(interval.0, from, -1.0), (interval.1, to, 1.0)] {
            if self.scale.holds(end) {
                svg.line(
                    &format!("reach {class}"),
                    (x, MIDDLE - 4.0),
                    (x, MIDDLE + 4.0),
                );
            } else {
                let mut arrow = Way::default();
                arrow
                    .go(x + way * 5.0, MIDDLE)
                    .line(x - way, MIDDLE - 4.0)
                    .line(x - way, MIDDLE + 4.0)
                    .close();
                svg.path(&format!("arrow {class}"), &arrow, "");
            }
        }
        svg.circle(&format!("point {class}"), (at(ratio), MIDDLE), 4.0, "");
        svg.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::Axis;

    #[test]
    fn a_ratio_in_its_interval() {
        let axis = Axis::new([0.6, 1.05], 220.0);
        insta::assert_snapshot!(format!(
            "{}\n{}",
            axis.head(),
            axis.row("regressed", 0.62, (0.6, 1e9), 0.05, "−38 %")
        ));
    }
}
