//! The statistics of a comparison, as the course asks for them.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use sanlab_report::comparison::{self, Comparison, FORMAT, Rules};
use sanlab_report::measure::Measure;
use sanlab_report::series::Figures;
use sanlab_report::verdict::Judgement;

use super::course::{Course, Judge, Records, Sides};
use super::guests::relative;
use super::side::Side;
use crate::{LabError, RunFolder};

/// The strings that noise is kept under in the history.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HostClass {
    pub(crate) host: String,
    pub(crate) accelerator: String,
}

impl HostClass {
    /// Where a run ran.
    pub(crate) fn of(figures: &Figures) -> Option<Self> {
        let dimension = |key: &str| figures.series.dimensions.get(key).cloned();
        Some(Self {
            host: dimension("host")?,
            accelerator: dimension("accelerator")?,
        })
    }
}

/// What noise is known of a class of hosts.
pub(crate) type Floors<'a> = dyn Fn(&HostClass) -> Result<BTreeMap<Measure, f64>, LabError> + 'a;

/// Judges by permutation tests.
pub(crate) struct Verdicts<'a> {
    wish: Rules,
    floors: &'a Floors<'a>,
    /// With the noise floors of the host that the runs turned out to be on.
    rules: OnceCell<Rules>,
}

impl<'a> Verdicts<'a> {
    /// By these rules, to which the host's noise floors are added.
    pub(crate) fn new(wish: Rules, floors: &'a Floors<'a>) -> Self {
        Self {
            wish,
            floors,
            rules: OnceCell::new(),
        }
    }

    /// The rules that were used.
    pub(crate) fn rules(&self) -> &Rules {
        self.rules.get().unwrap_or(&self.wish)
    }
}

impl Judge for Verdicts<'_> {
    fn judge(&self, sides: &Sides) -> Result<Vec<Judgement>, LabError> {
        if self.rules.get().is_none()
            && let Some(figures) = sides.a.first().and_then(|run| run.first())
            && let Some(class) = HostClass::of(figures)
        {
            let mut rules = self.wish.clone();
            rules.noise_floors.extend((self.floors)(&class)?);
            // Nobody else sets it.
            let _ = self.rules.set(rules);
        }
        Ok(comparison::judge(self.rules(), &sides.a, &sides.b)?)
    }

    fn is_enough(&self, judgements: &[Judgement], pairs: usize, fewest: usize) -> bool {
        comparison::is_enough(judgements, pairs, fewest)
    }
}

/// The comparison as it is kept.
pub(crate) fn conclude(
    course: &Course,
    rules: &Rules,
    a: &Side,
    b: &Side,
    folder: &RunFolder,
    started: f64,
) -> Comparison {
    let Records {
        a: a_records,
        b: b_records,
    } = &course.records;
    let side = |side: &Side, records: &[std::path::PathBuf]| comparison::Side {
        settings: side.given.words.clone(),
        records: records
            .iter()
            .map(|path| relative(path, folder.path()))
            .collect(),
    };
    Comparison {
        format: FORMAT,
        scenario: a.plan.id.clone(),
        title: a.plan.name.clone(),
        started,
        seconds: course.seconds,
        a: side(a, a_records),
        b: side(b, b_records),
        pairs: course.pairs(),
        rules: rules.clone(),
        judgements: course.judgements.clone(),
        verdict: comparison::overall(&course.judgements),
    }
}
