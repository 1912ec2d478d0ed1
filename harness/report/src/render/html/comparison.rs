//! Two sides of a scenario.

use std::collections::BTreeMap;

use askama::Template;

use super::Card;
use super::badge::Badge;
use super::judgements::{Charts, Gallery, Judgements};
use crate::load::LoadedComparison;
use crate::load::measure::Measure;
use crate::render::number::{count, share};
use crate::render::view::{AS_IT_IS, ComparisonView, JudgementView, given};
use crate::statistics;
use crate::verdict::{Judgement, Verdict};

#[derive(Template)]
#[template(path = "comparison.html")]
pub(super) struct ComparisonSection<'a> {
    anchor: String,
    badge: Badge,
    view: &'a ComparisonView<'a>,
    as_it_is: &'static str,
    judgements: Judgements<'a>,
    confidence: String,
    shown: Gallery,
    folded: Gallery,
    path: String,
}

impl<'a> ComparisonSection<'a> {
    pub(super) fn new(
        number: usize,
        loaded: &LoadedComparison,
        view: &'a ComparisonView<'a>,
    ) -> Self {
        let (shown, folded): (Vec<_>, Vec<_>) =
            view.rows.iter().partition(|row| is_telling(row.judgement));
        let gallery = |rows: Vec<&JudgementView<'_>>| Gallery {
            charts: rows.into_iter().map(Charts::new).collect(),
        };
        Self {
            anchor: format!("comparison-{number}"),
            badge: view.verdict.into(),
            view,
            as_it_is: AS_IT_IS,
            judgements: Judgements::new(&view.rows),
            confidence: share(statistics::CONFIDENCE),
            shown: gallery(shown),
            folded: gallery(folded),
            path: loaded.path.display().to_string(),
        }
    }
}

/// Whether its runs are to be seen at once: the throughput, what changed, and what may have.
fn is_telling(judgement: &Judgement) -> bool {
    match judgement.measure {
        Measure::Throughput | Measure::CpuNormalisedThroughput => true,
        // As good as the same picture again.
        Measure::GuestThroughput => false,
        _ => judgement.verdict != Verdict::NoChange,
    }
}

/// What it comes to, in three lines.
pub(super) fn card(number: usize, view: &ComparisonView<'_>) -> Card {
    let told = match view.verdict {
        Verdict::NoChange => {
            let figures = count(view.rows.len(), "figure");
            format!("{figures}, none beyond its equivalence margin")
        }
        _ => greatest(view),
    };
    Card {
        badge: view.verdict.into(),
        anchor: format!("comparison-{number}"),
        title: view.title.to_owned(),
        lines: vec![
            format!("{} → {}", given(&view.a), given(&view.b)),
            told,
            view.took.clone(),
        ],
    }
}

/// Of each measure with the comparison's verdict the greatest change, whichever step it is of. What the guests tell of
/// throughput is left out beside what the host saw.
fn greatest(view: &ComparisonView<'_>) -> String {
    let size = |row: &JudgementView<'_>| row.judgement.ratio.ln().abs();
    let mut found: BTreeMap<Measure, &JudgementView<'_>> = BTreeMap::new();
    for row in view.rows.iter().filter(|row| row.verdict() == view.verdict) {
        let greatest = found.entry(row.judgement.measure).or_insert(row);
        if size(row) > size(greatest) {
            *greatest = row;
        }
    }
    if found.contains_key(&Measure::Throughput) {
        found.remove(&Measure::GuestThroughput);
    }
    let told = found.values();
    let told = told.map(|row| format!("{} {}", row.measure, row.change));
    told.collect::<Vec<_>>().join(", ")
}
