//! Figures as small as a line of text.

use super::scale::Scale;
use super::svg::{Svg, Way};

/// A dot for each figure, in order, joined by a line; nothing but the curve. Alone in the middle: figures that are all equal.
pub fn draw(label: &str, values: &[f64], width: f64) -> String {
    const HEIGHT: f64 = 20.0;
    let mut svg = Svg::new(width, HEIGHT, "spark", label);
    let finite = || values.iter().copied().filter(|value| value.is_finite());
    let (low, high) = (
        finite().fold(f64::INFINITY, f64::min),
        finite().fold(f64::NEG_INFINITY, f64::max),
    );
    let scale = Scale::new((low, high), (HEIGHT - 4.0, 4.0));
    let step = (width - 8.0) / (finite().count().max(2) - 1) as f64;
    let mut way = Way::default();
    let mut places = Vec::new();
    for (number, value) in finite().enumerate() {
        let place = (4.0 + number as f64 * step, scale.at(value));
        if way.is_empty() {
            way.go(place.0, place.1);
        } else {
            way.line(place.0, place.1);
        }
        places.push(place);
    }
    if !way.is_empty() {
        svg.path("curve", &way, "");
    }
    for place in places {
        svg.circle("bead", place, 2.0, "");
    }
    svg.finish()
}

#[cfg(test)]
mod tests {
    use super::draw;

    #[test]
    fn a_bead_a_figure() {
        insta::assert_snapshot!(draw("repetitions", &[1.0, f64::NAN, 3.0, 2.0], 80.0));
        assert!(!draw("nothing", &[], 80.0).contains("bead"));
        assert_eq!(draw("one", &[5.0], 80.0).matches("bead").count(), 1);
    }
}
