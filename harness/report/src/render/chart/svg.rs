//! The elements that charts are made of.

use std::fmt::Write;

/// Text as it may stand between tags and in quoted attributes. Control characters, which XML forbids, become U+FFFD.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\t' | '\n' => escaped.push(' '),
            control if control.is_control() => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

/// Where a text begins, or what of it stands at the given place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// An upright rectangle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Area {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// A chart under way.
#[derive(Debug)]
pub(super) struct Svg {
    text: String,
}

impl Svg {
    /// So many CSS pixels wide and high; `label` says what it shows to those who do not see it.
    pub(super) fn new(width: f64, height: f64, class: &str, label: &str) -> Self {
        let (w, h) = (coordinate(width), coordinate(height));
        let text = format!(
            "<svg class=\"chart {class}\" viewBox=\"0 0 {w} {h}\" width=\"{w}\" height=\"{h}\" role=\"img\" aria-label=\"{}\">",
            escape(label)
        );
        Self { text }
    }

    pub(super) fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        // Writing to a String cannot fail.
        let _ = write!(
            self.text,
            "<line class=\"{class}\" x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\"/>",
            coordinate(from.0),
            coordinate(from.1),
            coordinate(to.0),
            coordinate(to.1)
        );
    }

    /// `title` is what a pointer that rests on it is told; empty: nothing.
    pub(super) fn rect(&mut self, class: &str, area: Area, title: &str) {
        let _ = write!(
            self.text,
            "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"",
            coordinate(area.x),
            coordinate(area.y),
            coordinate(area.width.max(0.0)),
            coordinate(area.height.max(0.0))
        );
        self.close("rect", title);
    }

    pub(super) fn circle(&mut self, class: &str, (x, y): (f64, f64), radius: f64, title: &str) {
        let _ = write!(
            self.text,
            "<circle class=\"{class}\" cx=\"{}\" cy=\"{}\" r=\"{}\"",
            coordinate(x),
            coordinate(y),
            coordinate(radius)
        );
        self.close("circle", title);
    }

    /// `way` is a path's description as [`Way`] writes it.
    pub(super) fn path(&mut self, class: &str, way: &Way, title: &str) {
        let _ = write!(self.text, "<path class=\"{class}\" d=\"{}\"", way.0);
        self.close("path", title);
    }

    pub(super) fn text(&mut self, class: &str, (x, y): (f64, f64), anchor: Anchor, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let _ = write!(
            self.text,
            "<text class=\"{class}\" x=\"{}\" y=\"{}\" text-anchor=\"{anchor}\">{}</text>",
            coordinate(x),
            coordinate(y),
            escape(text)
        );
    }

    pub(super) fn finish(mut self) -> String {
        self.text.push_str("</svg>");
        self.text
    }

    fn close(&mut self, element: &str, title: &str) {
        if title.is_empty() {
            self.text.push_str("/>");
        } else {
            let _ = write!(self.text, "><title>{}</title></{element}>", escape(title));
        }
    }
}

/// A path's description, piece by piece.
#[derive(Debug, Default)]
pub(super) struct Way(String);

impl Way {
    pub(super) fn go(&mut self, x: f64, y: f64) -> &mut Self {
        let _ = write!(self.0, "M{} {}", coordinate(x), coordinate(y));
        self
    }

    pub(super) fn line(&mut self, x: f64, y: f64) -> &mut Self {
        let _ = write!(self.0, "L{} {}", coordinate(x), coordinate(y));
        self
    }

    pub(super) fn across(&mut self, x: f64) -> &mut Self {
        let _ = write!(self.0, "H{}", coordinate(x));
        self
    }

    pub(super) fn up(&mut self, y: f64) -> &mut Self {
        let _ = write!(self.0, "V{}", coordinate(y));
        self
    }

    pub(super) fn close(&mut self) -> &mut Self {
        self.0.push('Z');
        self
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A tenth of a pixel is finer than anyone sees; what is no number is at the edge.
fn coordinate(value: f64) -> String {
    const FARTHEST: f64 = 100_000.0;
    if !value.is_finite() {
        return "0".to_owned();
    }
    let rounded = (value.clamp(-FARTHEST, FARTHEST) * 10.0).round() / 10.0;
    // Neither `-0` nor `3.0`.
    if rounded == 0.0 {
        "0".to_owned()
    } else {
        rounded.to_string()
    }
}

/// The whole part of a number that counts things in a chart; nothing below zero.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to what a chart can hold"
)]
pub(super) fn whole(value: f64) -> usize {
    value.clamp(0.0, 1e6) as usize
}

/// About as wide as a text of that size is in the fonts that pages use: for what must fit, not for what must align.
pub(super) fn text_width(text: &str, size: f64) -> f64 {
    text.chars().count() as f64 * size * 0.58
}

/// As much of a text as fits.
pub(super) fn fitting(text: &str, size: f64, width: f64) -> String {
    if text_width(text, size) <= width {
        return text.to_owned();
    }
    let room = whole(width / (size * 0.58) - 1.0);
    let mut shown: String = text.chars().take(room).collect();
    if shown.is_empty() {
        return shown;
    }
    shown.truncate(shown.trim_end().len());
    shown.push('…');
    shown
}

#[cfg(test)]
mod tests {
    use super::{Anchor, Area, Svg, Way, coordinate, escape, fitting};

    #[test]
    fn texts_cannot_leave_their_place() {
        assert_eq!(
            escape("</text><script>alert(\"1\" & '2')\u{0}\u{1b}[31m"),
            "&lt;/text&gt;&lt;script&gt;alert(&quot;1&quot; &amp; &#39;2&#39;)\u{fffd}\u{fffd}[31m"
        );
    }

    #[test]
    fn coordinates_are_short_and_always_numbers() {
        assert_eq!(
            [
                0.0,
                -0.04,
                3.0,
                12.345,
                f64::NAN,
                f64::INFINITY,
                1e300,
                -1e300
            ]
            .map(coordinate),
            ["0", "0", "3", "12.3", "0", "0", "100000", "-100000"]
        );
    }

    #[test]
    fn a_text_that_does_not_fit_is_cut() {
        assert_eq!(fitting("step load", 10.0, 100.0), "step load");
        assert_eq!(fitting("step load", 10.0, 40.0), "step…");
        assert_eq!(fitting("step load", 10.0, 5.0), "");
    }

    #[test]
    fn elements_of_a_chart() {
        let mut svg = Svg::new(100.0, 20.0, "small", "a \"label\"");
        svg.line("axis", (0.0, 1.0), (2.5, 1.0));
        let area = Area {
            x: 0.0,
            y: 0.0,
            width: -1.0,
            height: 3.25,
        };
        svg.rect("bar", area, "");
        svg.circle("dot", (1.0, 2.0), 3.0, "1 < 2");
        let mut way = Way::default();
        way.go(0.0, 0.0).across(4.0).up(5.0).line(1.0, 1.0).close();
        svg.path("area", &way, "");
        svg.text("name", (1.0, 2.0), Anchor::End, "<b>");
        insta::assert_snapshot!(svg.finish());
    }
}
