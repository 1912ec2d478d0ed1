//! Figures of a record, by series: what was measured under the same circumstances, run after run.

use std::collections::BTreeMap;

use sanlab_record::RunRecord;
use serde::{Deserialize, Serialize};

use crate::measure::Measure;

/// What makes figures comparable over time. Two runs with the same circumstances are of the same series, whatever images,
/// kernels, QEMU or lab they used: those are what may change the figures, and stand in [`Figures::origin`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Series {
    /// The scenario's identifier.
    pub scenario: String,
    /// The step's label.
    pub step: String,
    /// Everything else, key by key: `accelerator` and `host` (never mixed), `mtu`, `work.tool`, `work.rw`, `work.block`,
    /// `work.writers`, `nodes`, `layer.striped.chunk`, ... Values as people read them.
    pub dimensions: BTreeMap<String, String>,
}

/// What one run says of one series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Which.
    pub series: Series,
    /// When the run began, seconds since 1970.
    pub started: f64,
    /// What the run was made of and may change from run to run: `image.x86`, `kernel.x86`, `qemu`, `seed`, `host.kernel`.
    pub origin: BTreeMap<String, String>,
    /// By measure, each repetition's figure, warm-ups left out. A measure that the run does not have is absent.
    pub repetitions: BTreeMap<Measure, Vec<f64>>,
}

impl Figures {
    /// The run's figure for a measure: the mean of its repetitions.
    pub fn mean(&self, measure: Measure) -> Option<f64> {
        let figures = self.repetitions.get(&measure)?;
        (!figures.is_empty()).then(|| figures.iter().sum::<f64>() / figures.len() as f64)
    }
}

/// Everything that a record says, one entry a measuring step. A run that did not pass says nothing.
pub fn figures(_record: &RunRecord) -> Vec<Figures> {
    Vec::new()
}
