//! Series over time.

use askama::Template;

use crate::render::chart::trend::{Level, Point, Trend as Drawing, draw};
use crate::render::moment;
use crate::render::view::TrendView;
use crate::verdict::change_point::ChangePoint;

#[derive(Template)]
#[template(path = "trends.html")]
pub(super) struct TrendsSection<'a> {
    series: Vec<SeriesView<'a>>,
    /// Those with one run: scenario, step and what tells them from others.
    lone: Vec<String>,
}

struct SeriesView<'a> {
    anchor: String,
    first: &'a TrendView<'a>,
    charts: Vec<ChartView<'a>>,
}

struct ChartView<'a> {
    view: &'a TrendView<'a>,
    drawing: String,
}

impl<'a> TrendsSection<'a> {
    /// Nothing where there are no series.
    pub(super) fn new(views: &'a [TrendView<'a>]) -> Option<Self> {
        let mut series: Vec<SeriesView<'_>> = Vec::new();
        let mut lone = Vec::new();
        // Trends stand in the order of their series.
        for group in views.chunk_by(|one, other| one.trend.series == other.trend.series) {
            if group.iter().all(|one| one.trend.points.len() < 2) {
                lone.push(group[0].name());
                continue;
            }
            series.push(SeriesView {
                anchor: format!("trend-{}", series.len() + 1),
                first: &group[0],
                charts: group.iter().map(chart).collect(),
            });
        }
        (!views.is_empty()).then_some(Self { series, lone })
    }
}

fn chart<'a>(view: &'a TrendView<'a>) -> ChartView<'a> {
    const WIDTH: f64 = 310.0;
    let trend = view.trend;
    let points: Vec<Point> = trend
        .points
        .iter()
        .map(|point| Point {
            value: point.mean,
            when: moment::utc(point.started)
                .trim_end_matches(" UTC")
                .to_owned(),
        })
        .collect();
    let window = trend.standing.map(|standing| {
        let first = points.len().saturating_sub(1 + standing.runs);
        (first, standing.low, standing.high)
    });
    let drawing = Drawing {
        label: &format!("{} of {}, run by run", view.measure, trend.series.step),
        unit: view.unit,
        points: &points,
        window,
        levels: &levels(&trend.changes, points.len()),
    };
    ChartView {
        view,
        drawing: draw(&drawing, WIDTH),
    }
}

/// The stretches between the changes.
fn levels(changes: &[ChangePoint], runs: usize) -> Vec<Level> {
    let mut levels = Vec::new();
    let (mut from, mut value) = (0, changes.first().map_or(0.0, |change| change.before));
    for change in changes {
        let to = change.index.min(runs);
        levels.push(Level { from, to, value });
        (from, value) = (to, change.after);
    }
    levels.push(Level {
        from,
        to: runs,
        value,
    });
    levels
}

#[cfg(test)]
mod tests {
    use super::levels;
    use crate::render::chart::trend::Level;
    use crate::verdict::change_point::ChangePoint;

    #[test]
    fn levels_lie_between_changes() {
        let change = ChangePoint {
            index: 1,
            before: 40.0,
            after: 30.0,
            p: 0.002,
        };
        let level = |from, to, value| Level { from, to, value };
        assert_eq!(levels(&[change], 4), [level(0, 1, 40.0), level(1, 4, 30.0)]);
        assert_eq!(levels(&[], 4).len(), 1);
    }
}
