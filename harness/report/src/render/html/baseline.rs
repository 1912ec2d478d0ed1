//! The report's runs against a committed baseline.

use askama::Template;

use super::Card;
use super::badge::Badge;
use super::judgements::Judgements;
use crate::render::number::count;
use crate::render::view::BaselineView;

#[derive(Template)]
#[template(path = "baseline.html")]
pub(super) struct BaselineSection<'a> {
    badge: Badge,
    view: &'a BaselineView<'a>,
    judgements: Judgements<'a>,
}

impl<'a> BaselineSection<'a> {
    pub(super) fn new(view: &'a BaselineView<'a>) -> Self {
        Self {
            badge: view.verdict.into(),
            view,
            judgements: Judgements::new(&view.rows),
        }
    }
}

/// What it comes to.
pub(super) fn card(view: &BaselineView<'_>) -> Card {
    let gravest = view.rows.iter().filter(|row| row.verdict() == view.verdict);
    let told = gravest.take(4);
    let told = told.map(|row| format!("{}: {} {}", row.step, row.measure, row.change));
    let figures = count(view.rows.len(), "figure") + " compared";
    Card {
        badge: view.verdict.into(),
        anchor: "baseline".to_owned(),
        title: format!("against {}", view.name),
        lines: std::iter::once(figures).chain(told).collect(),
    }
}
