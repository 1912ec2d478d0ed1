//! Figures as dots on one scale, side by side: how far they scatter, and how far the sides are apart.

use super::scale::Scale;
use super::svg::{Anchor, Area, Svg};
use crate::render::number::figure;
use crate::statistics::quantile;

/// One side: a row of the chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Row<'a> {
    /// What stands before it.
    pub name: &'a str,
    /// The class of its marks.
    pub class: &'a str,
    /// Its figures.
    pub values: &'a [f64],
}

/// Draws every figure as a dot, the middle half of them as a bar behind them, and the median as a line. `label` says
/// what it is about.
pub fn draw(label: &str, unit: &str, rows: &[Row<'_>], width: f64) -> String {
    const ROW: f64 = 40.0;
    const AXIS: f64 = 16.0;
    const LEFT: f64 = 20.0;
    let height = ROW * rows.len() as f64 + AXIS;
    let mut svg = Svg::new(width, height, "spread", label);
    let finite = || {
        let values = rows.iter().flat_map(|row| row.values);
        values.copied().filter(|value| value.is_finite())
    };
    let domain = (
        finite().fold(f64::INFINITY, f64::min),
        finite().fold(f64::NEG_INFINITY, f64::max),
    );
    let scale = Scale::round(domain, (LEFT + 14.0, width - 14.0), 4);
    let bottom = ROW * rows.len() as f64;
    for (value, text) in scale.ticks(4) {
        let x = scale.at(value);
        svg.line("grid", (x, 4.0), (x, bottom));
        svg.text("tick", (x, bottom + 13.0), Anchor::Middle, &text);
    }
    for (number, row) in rows.iter().enumerate() {
        let middle = ROW * number as f64 + ROW / 2.0 + 3.0;
        svg.text("name", (0.0, middle + 4.0), Anchor::Start, row.name);
        draw_row(&mut svg, row, unit, &scale, middle);
    }
    svg.finish()
}

fn draw_row(svg: &mut Svg, row: &Row<'_>, unit: &str, scale: &Scale, middle: f64) {
    const RADIUS: f64 = 3.2;
    // Dots that would cover each other stand above and below, as far as the row is high.
    const LEVELS: [f64; 5] = [0.0, -1.0, 1.0, -2.0, 2.0];
    let mut values: Vec<f64> = row
        .values
        .iter()
        .copied()
        .filter(|v| v.is_finite())
        .collect();
    values.sort_by(f64::total_cmp);
    let at = |share| quantile(&values, share).map(|value| scale.at(value));
    let (Some(low), Some(median), Some(high)) = (at(0.25), at(0.5), at(0.75)) else {
        return;
    };
    let half = Area {
        x: low,
        y: middle - 11.0,
        width: (high - low).max(1.0),
        height: 22.0,
    };
    svg.rect(
        &format!("half {}", row.class),
        half,
        "the middle half of the runs",
    );
    let mut ends = [f64::NEG_INFINITY; LEVELS.len()];
    for value in &values {
        let x = scale.at(*value);
        let free = ends.iter().position(|end| *end <= x).unwrap_or(0);
        ends[free] = x + RADIUS * 1.8;
        let y = middle + LEVELS[free] * RADIUS * 1.7;
        let title = format!("{}: {} {unit}", row.name, figure(*value));
        svg.circle(&format!("dot {}", row.class), (x, y), RADIUS, &title);
    }
    let class = format!("median {}", row.class);
    svg.line(&class, (median, middle - 15.0), (median, middle + 15.0));
}

#[cfg(test)]
mod tests {
    use super::{Row, draw};

    #[test]
    fn every_figure_is_a_dot() {
        let rows = [
            Row {
                name: "A",
                class: "a",
                values: &[41.0, 42.5, 42.5, f64::NAN],
            },
            Row {
                name: "B",
                class: "b",
                values: &[],
            },
        ];
        insta::assert_snapshot!(draw("throughput of <dd>", "MiB/s", &rows, 340.0));
    }
}
