//! Series over time.

use askama::Template;

use super::word;
use crate::change_point::ChangePoint;
use crate::chart::trend::{Level, Point, Trend as Drawing, draw};
use crate::moment;
use crate::number;
use crate::telling::telling;
use crate::trend::Trend;

#[derive(Template)]
#[template(path = "trends.html")]
pub(super) struct TrendsSection {
    series: Vec<SeriesView>,
    /// Those with one run: scenario and step, and what tells them from others.
    lone: Vec<(String, String)>,
}

struct SeriesView {
    anchor: String,
    scenario: String,
    step: String,
    /// What tells it from the other series of its step.
    telling: Vec<String>,
    dimensions: Vec<(String, String)>,
    charts: Vec<ChartView>,
}

struct ChartView {
    measure: &'static str,
    unit: &'static str,
    drawing: String,
    says: String,
    changes: Vec<String>,
}

impl TrendsSection {
    /// Nothing where there are no series.
    pub(super) fn new(trends: &[Trend]) -> Option<Self> {
        let mut series: Vec<SeriesView> = Vec::new();
        let mut lone: Vec<(String, String)> = Vec::new();
        // Trends stand in the order of their series.
        for group in trends.chunk_by(|one, other| one.series == other.series) {
            let (first, told) = (
                &group[0].series,
                group.iter().any(|one| one.points.len() > 1),
            );
            let telling = telling(first, trends.iter().map(|trend| &trend.series));
            if !told {
                let name = format!("{} {}", first.scenario, first.step);
                lone.push((name, telling.join(" ")));
                continue;
            }
            series.push(SeriesView {
                anchor: format!("trend-{}", series.len() + 1),
                scenario: first.scenario.clone(),
                step: first.step.clone(),
                telling,
                dimensions: first.dimensions.clone().into_iter().collect(),
                charts: group.iter().map(chart).collect(),
            });
        }
        (!trends.is_empty()).then_some(Self { series, lone })
    }
}

fn chart(trend: &Trend) -> ChartView {
    const WIDTH: f64 = 310.0;
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
        label: &format!(
            "{} of {}, run by run",
            trend.measure.title(),
            trend.series.step
        ),
        unit: trend.measure.unit(),
        points: &points,
        window,
        levels: &levels(&trend.changes, points.len()),
    };
    ChartView {
        measure: trend.measure.title(),
        unit: trend.measure.unit(),
        drawing: draw(&drawing, WIDTH),
        says: word::minus(&trend.says()),
        changes: trend
            .changes
            .iter()
            .map(|change| told(trend, change))
            .collect(),
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

/// When it changed, from what to what, and what else was new in that run.
fn told(trend: &Trend, change: &ChangePoint) -> String {
    let mut text = format!(
        "{} → {} {} ({}, p {})",
        word::figure(change.before),
        word::figure(change.after),
        trend.measure.unit(),
        word::change(change.after / change.before),
        number::probability(change.p)
    );
    let Some(now) = trend.points.get(change.index) else {
        return text;
    };
    text = format!("{}: {text}", moment::utc(now.started));
    let before = change
        .index
        .checked_sub(1)
        .and_then(|index| trend.points.get(index));
    let news: Vec<String> = before
        .into_iter()
        .flat_map(|before| {
            now.origin.iter().filter_map(|(key, value)| {
                let old = before.origin.get(key).map_or("nothing", String::as_str);
                (old != value && key != "seed").then(|| format!("{key} {old} → {value}"))
            })
        })
        .collect();
    if !news.is_empty() {
        text.push_str("; new in that run: ");
        text.push_str(&news.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{levels, told};
    use crate::change_point::ChangePoint;
    use crate::chart::trend::Level;
    use crate::measure::Measure;
    use crate::series::Series;
    use crate::trend::{Point, Trend};

    const CHANGE: ChangePoint = ChangePoint {
        index: 1,
        before: 40.0,
        after: 30.0,
        p: 0.002,
    };

    #[test]
    fn levels_lie_between_changes() {
        let level = |from, to, value| Level { from, to, value };
        assert_eq!(levels(&[CHANGE], 4), [level(0, 1, 40.0), level(1, 4, 30.0)]);
        assert_eq!(levels(&[], 4).len(), 1);
    }

    #[test]
    fn a_change_names_what_was_new_then() {
        let point = |mean, kernel: &str, seed: &str| Point {
            started: 0.0,
            mean,
            low: mean,
            high: mean,
            origin: BTreeMap::from([
                ("kernel.x86".to_owned(), kernel.to_owned()),
                ("qemu".to_owned(), "7.2".to_owned()),
                ("seed".to_owned(), seed.to_owned()),
            ]),
        };
        let trend = Trend {
            series: Series {
                scenario: "s".to_owned(),
                step: "dd".to_owned(),
                dimensions: BTreeMap::new(),
            },
            measure: Measure::Throughput,
            points: vec![point(40.0, "6.1.0-49", "1"), point(30.0, "6.1.0-50", "2")],
            changes: vec![CHANGE],
            standing: None,
        };
        assert_eq!(
            told(&trend, &CHANGE),
            "1970-01-01 00:00 UTC: 40.0 → 30.0 MiB/s (−25 %, p 0.002); new in that run: \
             kernel.x86 6.1.0-49 → 6.1.0-50"
        );
    }
}
