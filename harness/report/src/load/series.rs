//! Figures of a record, by series: what was measured under the same circumstances, run after run.

mod circumstances;
mod repetitions;

use std::collections::BTreeMap;
use std::fmt;

use sanlab_record::{Outcome, RunRecord};
use serde::{Deserialize, Serialize};

use crate::load::measure::Measure;
use crate::render::view::settings;
use crate::statistics;

/// What makes figures comparable over time. Two runs with the same circumstances are of the same series, whatever images,
/// kernels, QEMU or lab they used: those are what may change the figures, and stand in [`Figures::origin`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Series {
    /// The scenario's identifier.
    pub scenario: String,
    /// The step's label.
    pub step: String,
    /// Everything else, key by key: `accelerator` and `host` (never mixed), `mtu`, `nodes`, `work.tool`, `work.rw`, `work.block`,
    /// `work.on`, `layer.striped.chunk`, ... and, where nothing else shows it, what the run was given in place of what its
    /// scenario says: `set.network.loss`. Values as people read them.
    pub dimensions: BTreeMap<String, String>,
}

/// What one run says of one series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Which.
    pub series: Series,
    /// When the run began, seconds since 1970.
    pub started: f64,
    /// What the run was made of and may change from run to run: `image.x86`, `kernel.x86`, `qemu`, `seed`, `host.kernel`, and of
    /// what it was given `set.image`, `set.kernel`, `set.qemu`.
    pub origin: BTreeMap<String, String>,
    /// By measure, each repetition's figure, warm-ups left out. A measure that the run does not have is absent.
    pub repetitions: BTreeMap<Measure, Vec<f64>>,
}

impl Figures {
    /// The run's figure for a measure: the mean of its repetitions; of what is counted, of the lower half of them.
    ///
    /// Whatever else goes on adds to a count: a guest that waits longer has more ticks of its clock, a lost segment is sent again.
    /// Nothing takes away from it. Of 495 runs of the same the mean of all four repetitions varied by 1.3 %, that of the lower two
    /// by 0.9 %; and beside other work on the host a cost of 5 % was found by these with four runs a side where it was not by those.
    /// A cost that only half of the repetitions pay stands in their 60th percentile, which is a measure of its own; one that something
    /// else added to a single one of them does not. A single repetition has none.
    pub fn figure(&self, measure: Measure) -> Option<f64> {
        let repetitions = self.repetitions.get(&measure.repeated())?;
        if measure.is_p60() {
            statistics::quantile(repetitions, 0.6).filter(|_| repetitions.len() > 1)
        } else if measure.is_timed() {
            statistics::mean(repetitions)
        } else {
            statistics::mean_of_lower_half(repetitions)
        }
    }
}

impl Series {
    /// Its dimensions on one line.
    pub fn circumstances(&self) -> String {
        settings(&self.dimensions).join(", ")
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, step, .. } = self;
        write!(f, "{scenario} {step}: {}", self.circumstances())
    }
}

/// By measure, every repetition of a step but warm-ups, whether the run passed or not.
pub fn repetitions(record: &RunRecord, step: &str) -> BTreeMap<Measure, Vec<f64>> {
    repetitions::of(record, step)
}

/// Everything that a record says, one entry a measuring step, in the order of the run. A run that did not pass says nothing. Of
/// steps whose costs were not measured (background ones) there is what the writers' samples say.
pub fn figures(record: &RunRecord) -> Vec<Figures> {
    if record.outcome != Outcome::Passed {
        return Vec::new();
    }
    let origin = circumstances::origin(record);
    repetitions::steps(record)
        .into_iter()
        .filter_map(|step| {
            let repetitions = repetitions::of(record, step);
            (!repetitions.is_empty()).then(|| Figures {
                series: Series {
                    scenario: record.scenario.clone(),
                    step: step.to_owned(),
                    dimensions: circumstances::dimensions(record, step),
                },
                started: record.started,
                origin: origin.clone(),
                repetitions,
            })
        })
        .collect()
}
