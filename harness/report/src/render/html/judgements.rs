//! Judgements as a table with their intervals, and the figures below them as charts.

use askama::Template;

use super::badge::Badge;
use crate::render::chart::{interval, pairs, spread};
use crate::render::view::JudgementView;

#[derive(Template)]
#[template(path = "judgements.html")]
pub(super) struct Judgements<'a> {
    head: String,
    groups: Vec<Group<'a>>,
}

/// The measures of one step.
struct Group<'a> {
    step: String,
    rows: Vec<Row<'a>>,
}

struct Row<'a> {
    badge: Badge,
    view: &'a JudgementView<'a>,
    forest: String,
}

/// Charts side by side.
#[derive(Template)]
#[template(path = "charts.html")]
pub(super) struct Gallery {
    pub(super) charts: Vec<Charts>,
}

/// The figures of one judgement.
pub(super) struct Charts {
    class: &'static str,
    measure: &'static str,
    unit: &'static str,
    step: String,
    change: String,
    spread: String,
    /// Empty where runs are not in pairs.
    pairs: String,
}

impl<'a> Judgements<'a> {
    /// Those of a step stand together.
    pub(super) fn new(views: &'a [JudgementView<'a>]) -> Self {
        const WIDTH: f64 = 240.0;
        let of_interest = views.iter().flat_map(|view| {
            let judgement = view.judgement;
            let (low, high) = judgement.interval;
            let margin = judgement.margin;
            [judgement.ratio, low, high, 1.0 - margin, 1.0 + margin]
        });
        let axis = interval::Axis::new(of_interest, WIDTH);
        let groups = views.chunk_by(|one, other| one.name() == other.name());
        Self {
            head: axis.head(),
            groups: groups
                .map(|group| Group {
                    step: group[0].name(),
                    rows: group.iter().map(|view| row(view, &axis)).collect(),
                })
                .collect(),
        }
    }
}

fn row<'a>(view: &'a JudgementView<'a>, axis: &interval::Axis) -> Row<'a> {
    let judgement = view.judgement;
    let badge = Badge::from(judgement.verdict);
    let label = format!("{}, within {}", view.change, view.interval);
    Row {
        badge,
        view,
        forest: axis.row(
            badge.class,
            judgement.ratio,
            judgement.interval,
            judgement.margin,
            &label,
        ),
    }
}

impl Charts {
    pub(super) fn new(view: &JudgementView<'_>) -> Self {
        const WIDTH: f64 = 310.0;
        let judgement = view.judgement;
        let class = Badge::from(judgement.verdict).class;
        let name = format!("{} of {}", view.measure, view.step);
        let rows = [("A", "a", &judgement.a), ("B", "b", &judgement.b)];
        let rows = rows.map(|(name, class, values)| spread::Row {
            name,
            class,
            values,
        });
        let is_paired = judgement.measure.is_timed() && judgement.a.len() == judgement.b.len();
        let ratios = judgement.b.iter().zip(&judgement.a);
        let ratios: Vec<f64> = ratios.map(|(b, a)| b / a).collect();
        let pairs = pairs::Pairs {
            label: &format!("{name}: B by A in each pair"),
            class,
            ratios: &ratios,
            interval: judgement.interval,
            margin: judgement.margin,
        };
        Self {
            class,
            measure: view.measure,
            unit: view.unit,
            step: view.step.to_owned(),
            change: view.change.clone(),
            spread: spread::draw(
                &format!("{name}: every run of A and B"),
                view.unit,
                &rows,
                WIDTH,
            ),
            pairs: if is_paired && !ratios.is_empty() {
                pairs::draw(&pairs, WIDTH)
            } else {
                String::new()
            },
        }
    }
}
