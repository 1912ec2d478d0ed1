//! Two sides of a scenario.

use std::collections::BTreeMap;

use askama::Template;

use super::judgements::{Charts, Gallery, Judgements};
use super::{Card, word};
use crate::comparison::{Comparison, Side, contradictions};
use crate::load::LoadedComparison;
use crate::measure::Measure;
use crate::verdict::{Judgement, Verdict};
use crate::{moment, number, statistics};

#[derive(Template)]
#[template(path = "comparison.html")]
pub(super) struct ComparisonSection {
    anchor: String,
    class: &'static str,
    sign: &'static str,
    word: &'static str,
    title: String,
    scenario: String,
    facts: String,
    a: Vec<String>,
    b: Vec<String>,
    judgements: Judgements,
    contradictions: Vec<String>,
    confidence: String,
    shown: Gallery,
    folded: Gallery,
    path: String,
}

impl ComparisonSection {
    pub(super) fn new(number: usize, loaded: &LoadedComparison) -> Self {
        let comparison = &loaded.comparison;
        let class = word::of_verdict(comparison.verdict);
        let judgements: Vec<_> = comparison.judgements.iter().collect();
        let names: Vec<String> = judgements.iter().map(|one| one.step.clone()).collect();
        let gallery = |is_in: &dyn Fn(&Judgement) -> bool| Gallery {
            charts: comparison
                .judgements
                .iter()
                .filter(|one| is_in(one))
                .map(Charts::new)
                .collect(),
        };
        Self {
            anchor: format!("comparison-{number}"),
            class,
            sign: word::sign(class),
            word: comparison.verdict.as_str(),
            title: comparison.title.clone(),
            scenario: comparison.scenario.clone(),
            facts: format!(
                "{} in {} · {} · seed {}",
                word::count(comparison.pairs, "pair"),
                number::seconds(comparison.seconds),
                moment::utc(comparison.started),
                comparison.rules.seed
            ),
            a: word::settings(&comparison.a.settings),
            b: word::settings(&comparison.b.settings),
            judgements: Judgements::new(&judgements, &names),
            contradictions: contradictions(&comparison.judgements),
            confidence: number::share(statistics::CONFIDENCE),
            shown: gallery(&|one| is_telling(one)),
            folded: gallery(&|one| !is_telling(one)),
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
pub(super) fn card(number: usize, comparison: &Comparison) -> Card {
    let class = word::of_verdict(comparison.verdict);
    let side = |side: &Side| {
        if side.settings.is_empty() {
            "as the scenario says".to_owned()
        } else {
            word::settings(&side.settings).join(" ")
        }
    };
    let told = match comparison.verdict {
        Verdict::NoChange => {
            let figures = word::count(comparison.judgements.len(), "figure");
            format!("{figures}, none beyond its equivalence margin")
        }
        _ => greatest(comparison),
    };
    let pairs = word::count(comparison.pairs, "pair");
    Card {
        class,
        sign: word::sign(class),
        word: comparison.verdict.as_str(),
        anchor: format!("comparison-{number}"),
        title: comparison.title.clone(),
        lines: vec![
            format!("{} → {}", side(&comparison.a), side(&comparison.b)),
            told,
            format!("{pairs} in {}", number::seconds(comparison.seconds)),
        ],
    }
}

/// Of each measure with the comparison's verdict the greatest change, whichever step it is of. What the guests tell of
/// throughput is left out beside what the host saw.
fn greatest(comparison: &Comparison) -> String {
    let size = |judgement: &Judgement| judgement.ratio.ln().abs();
    let mut found: BTreeMap<Measure, &Judgement> = BTreeMap::new();
    for judgement in &comparison.judgements {
        if judgement.verdict == comparison.verdict {
            let greatest = found.entry(judgement.measure).or_insert(judgement);
            if size(judgement) > size(greatest) {
                *greatest = judgement;
            }
        }
    }
    if found.contains_key(&Measure::Throughput) {
        found.remove(&Measure::GuestThroughput);
    }
    let told = found.values().map(|judgement| {
        let change = word::change(judgement.ratio);
        format!("{} {change}", judgement.measure.title())
    });
    told.collect::<Vec<_>>().join(", ")
}
