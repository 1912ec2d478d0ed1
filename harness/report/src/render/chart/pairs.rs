//! The ratios of a comparison's pairs, in the order in which they were run: drift and odd pairs show.

use super::scale::RatioScale;
use super::svg::{Anchor, Area, Svg, whole};
use crate::render::number::change;

/// Ratios B by A, pair by pair.
#[derive(Debug, Clone, PartialEq)]
pub struct Pairs<'a> {
    /// What it is about.
    pub label: &'a str,
    /// The class of its marks.
    pub class: &'a str,
    /// One a pair.
    pub ratios: &'a [f64],
    /// That of all.
    pub interval: (f64, f64),
    /// The equivalence margin, as a share.
    pub margin: f64,
}

/// Draws a dot a pair, over a band of what would be no change and one of the interval of all.
pub fn draw(pairs: &Pairs<'_>, width: f64) -> String {
    const HEIGHT: f64 = 104.0;
    const LEFT: f64 = 40.0;
    let (top, bottom) = (6.0, HEIGHT - 18.0);
    let mut svg = Svg::new(width, HEIGHT, "pairs", pairs.label);
    let (low, high) = pairs.interval;
    let bounds = [low, high, 1.0 - pairs.margin, 1.0 + pairs.margin];
    let scale = RatioScale::new(pairs.ratios.iter().copied().chain(bounds), (bottom, top));
    let right = width - 6.0;
    let mut band = |class: &str, (low, high): (f64, f64), title: &str| {
        let (low, high) = (scale.at(low), scale.at(high));
        let area = Area {
            x: LEFT,
            y: high,
            width: right - LEFT,
            height: (low - high).max(1.0),
        };
        svg.rect(class, area, title);
    };
    band(
        "least",
        (1.0 - pairs.margin, 1.0 + pairs.margin),
        "smaller than the equivalence margin",
    );
    band(
        &format!("reach-band {}", pairs.class),
        pairs.interval,
        "the interval of all pairs",
    );
    for (ratio, text) in scale.ticks() {
        let y = scale.at(ratio);
        let class = if text == "0" { "none" } else { "grid" };
        svg.line(class, (LEFT, y), (right, y));
        svg.text("tick", (LEFT - 5.0, y + 3.5), Anchor::End, &text);
    }
    let count = pairs.ratios.len();
    let step = (right - LEFT) / count.max(1) as f64;
    // As many numbers as have room.
    let every = whole((24.0 / step.max(0.1)).ceil()).max(1);
    for (number, ratio) in pairs.ratios.iter().enumerate() {
        let x = LEFT + (number as f64 + 0.5) * step;
        let title = format!("pair {}: {}", number + 1, change(*ratio));
        svg.line("stem", (x, scale.at(1.0)), (x, scale.at(*ratio)));
        svg.circle(
            &format!("point {}", pairs.class),
            (x, scale.at(*ratio)),
            3.2,
            &title,
        );
        if number % every == 0 {
            let text = (number + 1).to_string();
            svg.text("tick", (x, HEIGHT - 5.0), Anchor::Middle, &text);
        }
    }
    svg.text("tick", (LEFT - 5.0, HEIGHT - 5.0), Anchor::End, "pair");
    svg.finish()
}

#[cfg(test)]
mod tests {
    use super::{Pairs, draw};

    #[test]
    fn a_dot_a_pair() {
        let pairs = Pairs {
            label: "throughput",
            class: "regressed",
            ratios: &[0.81, 0.79, 0.84, f64::NAN],
            interval: (0.79, 0.83),
            margin: 0.05,
        };
        let text = draw(&pairs, 340.0);
        assert_eq!(text.matches("<circle").count(), 4);
        insta::assert_snapshot!(text);
        let none = Pairs {
            ratios: &[],
            ..pairs
        };
        assert!(!draw(&none, 340.0).contains("<circle"));
    }
}
