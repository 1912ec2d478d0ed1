//! The report's runs against a committed baseline.

use askama::Template;

use super::judgements::Judgements;
use super::{Card, word};
use crate::baseline::AgainstBaseline;

#[derive(Template)]
#[template(path = "baseline.html")]
pub(super) struct BaselineSection {
    class: &'static str,
    sign: &'static str,
    word: &'static str,
    name: String,
    has_rows: bool,
    judgements: Judgements,
    lists: [(&'static str, Vec<String>); 2],
}

impl BaselineSection {
    pub(super) fn new(against: &AgainstBaseline) -> Self {
        let class = word::of_verdict(against.verdict);
        let judgements: Vec<_> = against.series.iter().map(|one| &one.judgement).collect();
        let names: Vec<String> = against
            .series
            .iter()
            .map(|one| format!("{} {}", one.series.scenario, one.series.step))
            .collect();
        let texts = |series: &[crate::series::Series]| series.iter().map(word::series).collect();
        Self {
            class,
            sign: word::sign(class),
            word: against.verdict.as_str(),
            name: against.name.clone(),
            has_rows: !judgements.is_empty(),
            judgements: Judgements::new(&judgements, &names),
            lists: [
                (
                    "series that the baseline does not have",
                    texts(&against.unknown),
                ),
                (
                    "series of the baseline that were not run",
                    texts(&against.missing),
                ),
            ],
        }
    }
}

/// What it comes to.
pub(super) fn card(against: &AgainstBaseline) -> Card {
    let class = word::of_verdict(against.verdict);
    let mut lines = vec![word::count(against.series.len(), "figure") + " compared"];
    let told = against
        .series
        .iter()
        .filter(|one| one.judgement.verdict == against.verdict)
        .map(|one| {
            let change = word::change(one.judgement.ratio);
            format!(
                "{}: {} {change}",
                one.series.step,
                one.judgement.measure.title()
            )
        });
    lines.extend(told.take(4));
    Card {
        class,
        sign: word::sign(class),
        word: against.verdict.as_str(),
        anchor: "baseline".to_owned(),
        title: format!("against {}", against.name),
        lines,
    }
}
