//! A run's stretches as bars below each other, each with its name before it and how long it took behind it.

use super::number::moment;
use super::scale::Scale;
use super::svg::{Anchor, Area, Svg, fitting, text_width, whole};
use crate::render::number::seconds;

/// One stretch.
#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    /// What stands before it.
    pub name: String,
    /// The class of its mark.
    pub class: &'static str,
    /// When it began, seconds since the run began.
    pub from: f64,
    /// How long it took.
    pub seconds: f64,
    /// What stands behind it; empty: how long it took.
    pub note: String,
}

/// Draws them in the order given, on one axis in seconds.
pub fn draw(label: &str, bars: &[Bar], width: f64) -> String {
    const ROW: f64 = 19.0;
    const TEXT: f64 = 11.0;
    const TOP: f64 = 18.0;
    let height = TOP + ROW * bars.len() as f64 + 4.0;
    let mut svg = Svg::new(width, height, "phases", label);
    let longest = bars.iter().map(|bar| text_width(&bar.name, TEXT));
    let left = longest.fold(40.0, f64::max).min(width * 0.36) + 8.0;
    let right = width - 62.0;
    let ends = bars.iter().map(|bar| bar.from + bar.seconds);
    let end = ends.filter(|end| end.is_finite()).fold(0.1, f64::max);
    let scale = Scale::new((0.0, end), (left, right));
    let wanted = whole(((right - left) / 90.0).clamp(2.0, 8.0));
    for (value, text) in scale.ticks(wanted) {
        let x = scale.at(value);
        svg.line("grid", (x, TOP - 4.0), (x, height));
        svg.text("tick", (x, 9.0), Anchor::Middle, &format!("{text} s"));
    }
    for (number, bar) in bars.iter().enumerate() {
        let y = TOP + ROW * number as f64;
        let title = format!(
            "{}: from {} for {}",
            bar.name,
            moment(bar.from),
            seconds(bar.seconds)
        );
        svg.text(
            "name",
            (0.0, y + 13.0),
            Anchor::Start,
            &fitting(&bar.name, TEXT, left - 8.0),
        );
        let (from, to) = (scale.at(bar.from), scale.at(bar.from + bar.seconds));
        let area = Area {
            x: from,
            y: y + 3.0,
            width: (to - from).max(1.5),
            height: ROW - 6.0,
        };
        svg.rect(&format!("bar {}", bar.class), area, &title);
        let note = if bar.note.is_empty() {
            seconds(bar.seconds)
        } else {
            bar.note.clone()
        };
        // Behind the bar where it fits, else before it.
        let needed = text_width(&note, TEXT) + 6.0;
        if width - to >= needed {
            svg.text("tick", (to + 6.0, y + 13.0), Anchor::Start, &note);
        } else if from - left >= needed {
            svg.text("tick", (from - 6.0, y + 13.0), Anchor::End, &note);
        } else {
            let note = fitting(&note, TEXT, width - to - 6.0);
            svg.text("tick", (to + 6.0, y + 13.0), Anchor::Start, &note);
        }
    }
    svg.finish()
}

#[cfg(test)]
mod tests {
    use super::{Bar, draw};

    #[test]
    fn a_bar_a_phase() {
        let bars = [
            Bar {
                name: "fork".to_owned(),
                class: "fork",
                from: 0.0,
                seconds: 0.5,
                note: String::new(),
            },
            Bar {
                name: "step everybody writes".to_owned(),
                class: "step",
                from: 0.5,
                seconds: 19.5,
                note: "as <b>bold</b>".to_owned(),
            },
        ];
        insta::assert_snapshot!(draw("phases", &bars, 360.0));
    }
}
