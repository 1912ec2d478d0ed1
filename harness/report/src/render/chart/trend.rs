//! A series over time, run by run.

use super::scale::Scale;
use super::svg::{Anchor, Area, Svg, Way};
use crate::render::number::figure;

/// One run of the series.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Its figure.
    pub value: f64,
    /// When it was, for people.
    pub when: String,
}

/// A stretch of runs that lie around one level, between two change points.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Level {
    /// The first run of it, from 0.
    pub from: usize,
    /// The first run that is not of it any more.
    pub to: usize,
    /// The level.
    pub value: f64,
}

/// The whole series.
#[derive(Debug, Clone, PartialEq)]
pub struct Trend<'a> {
    /// What it is about.
    pub label: &'a str,
    /// The figures' unit.
    pub unit: &'a str,
    /// Run by run.
    pub points: &'a [Point],
    /// What the latest run is held against: the first run of the window, the least and the greatest usual figure.
    pub window: Option<(usize, f64, f64)>,
    /// The stretches between change points; one alone is not drawn.
    pub levels: &'a [Level],
}

/// Draws a dot a run, all equally far apart, the latest filled; change points as upright lines with the levels beside them.
pub fn draw(trend: &Trend<'_>, width: f64) -> String {
    const HEIGHT: f64 = 132.0;
    const LEFT: f64 = 46.0;
    let (top, bottom, right) = (8.0, HEIGHT - 20.0, width - 8.0);
    let mut svg = Svg::new(width, HEIGHT, "trend", trend.label);
    let bounds = trend
        .window
        .into_iter()
        .flat_map(|(_, low, high)| [low, high]);
    let values = || {
        let points = trend.points.iter().map(|point| point.value);
        points
            .chain(bounds.clone())
            .filter(|value| value.is_finite())
    };
    let domain = (
        values().fold(f64::INFINITY, f64::min),
        values().fold(f64::NEG_INFINITY, f64::max),
    );
    let scale = Scale::round(domain, (bottom, top), 4);
    for (value, text) in scale.ticks(4) {
        let y = scale.at(value);
        svg.line("grid", (LEFT, y), (right, y));
        svg.text("tick", (LEFT - 5.0, y + 3.5), Anchor::End, &text);
    }
    let step = (right - LEFT) / trend.points.len().max(1) as f64;
    let at = |number: usize| LEFT + (number as f64 + 0.5) * step;
    if let Some((first, low, high)) = trend.window {
        let x = at(first) - step / 2.0;
        let band = Area {
            x,
            y: scale.at(high),
            width: right - x,
            height: (scale.at(low) - scale.at(high)).max(1.0),
        };
        svg.rect(
            "window",
            band,
            "the window that the latest run is held against",
        );
    }
    let mut way = Way::default();
    for (number, point) in trend.points.iter().enumerate() {
        let (x, y) = (at(number), scale.at(point.value));
        if number == 0 {
            way.go(x, y);
        } else {
            way.line(x, y);
        }
    }
    if !way.is_empty() {
        svg.path("curve", &way, "");
    }
    if trend.levels.len() > 1 {
        for (number, level) in trend.levels.iter().enumerate() {
            let (from, to) = (at(level.from) - step / 2.0, at(level.to) - step / 2.0);
            let y = scale.at(level.value);
            svg.line("level", (from, y), (to, y));
            if number > 0 {
                svg.line("break", (from, top - 4.0), (from, bottom));
            }
        }
    }
    for (number, point) in trend.points.iter().enumerate() {
        let latest = number + 1 == trend.points.len();
        let class = if latest { "run latest" } else { "run" };
        let title = format!("{}: {} {}", point.when, figure(point.value), trend.unit);
        let radius = if latest { 4.0 } else { 2.6 };
        svg.circle(class, (at(number), scale.at(point.value)), radius, &title);
    }
    if let (Some(first), Some(last)) = (trend.points.first(), trend.points.last()) {
        let y = HEIGHT - 5.0;
        if trend.points.len() > 1 {
            svg.text("tick", (LEFT, y), Anchor::Start, &first.when);
        }
        svg.text("tick", (right, y), Anchor::End, &last.when);
    }
    svg.finish()
}

#[cfg(test)]
mod tests {
    use super::{Level, Point, Trend, draw};

    #[test]
    fn a_series_with_a_change_point() {
        let points: Vec<Point> = [40.0, 41.0, 40.5, 30.0, 30.5]
            .into_iter()
            .enumerate()
            .map(|(day, value)| Point {
                value,
                when: format!("2026-11-{:02}", day + 1),
            })
            .collect();
        let levels =
            [(0, 3, 40.5), (3, 5, 30.25)].map(|(from, to, value)| Level { from, to, value });
        let trend = Trend {
            label: "throughput of dd",
            unit: "MiB/s",
            points: &points,
            window: Some((0, 29.0, 42.0)),
            levels: &levels,
        };
        let text = draw(&trend, 340.0);
        assert_eq!(text.matches("class=\"break\"").count(), 1);
        assert_eq!(
            text.matches("latest").count(),
            2,
            "the dot and the window's title"
        );
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_series_with_one_point() {
        let points = [Point {
            value: 5.0,
            when: "now".to_owned(),
        }];
        let trend = Trend {
            label: "",
            unit: "",
            points: &points,
            window: None,
            levels: &[],
        };
        assert_eq!(draw(&trend, 340.0).matches("<circle").count(), 1);
    }
}
