//! What steps have stopped and nothing has started since: it is not waited for.

use sanlab_plan::{LayerKind, NodeName};
use serde::{Deserialize, Serialize};

/// A process that a step stopped on a node.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stopped {
    pub(crate) node: NodeName,
    /// The program's name.
    pub(crate) process: String,
    /// The layer whose daemon it is there, if it is one's.
    pub(crate) layer: Option<LayerKind>,
    /// It stands still, and goes on when it is told to; otherwise it was ended.
    pub(crate) paused: bool,
    /// When the step sent its signal, in seconds since the run began; 0 in a run that was forked after that.
    pub(crate) at: f64,
    /// The step's phase.
    pub(crate) by_step: String,
}

/// The same as a checkpoint keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KeptStopped {
    pub(super) node: String,
    pub(super) process: String,
    pub(super) paused: bool,
    pub(super) by_step: String,
}

/// Everything that is stopped at a moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Faults {
    pub(crate) stopped: Vec<Stopped>,
}

impl Faults {
    /// A step stops a process.
    pub(crate) fn stops(&mut self, stopped: Stopped) {
        self.goes_on(&stopped.node, &stopped.process);
        self.stopped.push(stopped);
    }

    /// All processes of that name on `node` go on.
    pub(crate) fn goes_on(&mut self, node: &NodeName, process: &str) {
        self.stopped
            .retain(|one| one.node != *node || one.process != process);
    }

    /// A layer's daemons were started again on `node`.
    pub(crate) fn started(&mut self, node: &NodeName, layer: LayerKind) {
        self.stopped
            .retain(|one| one.node != *node || one.layer != Some(layer));
    }

    /// `node` has booted anew.
    pub(crate) fn booted(&mut self, node: &NodeName) {
        self.stopped.retain(|one| one.node != *node);
    }

    /// The layers that lack daemons, by node.
    pub(crate) fn layers(&self) -> Vec<(NodeName, LayerKind)> {
        let layers = self.stopped.iter();
        layers
            .filter_map(|one| Some((one.node.clone(), one.layer?)))
            .collect()
    }
}

impl From<&Stopped> for KeptStopped {
    fn from(stopped: &Stopped) -> Self {
        Self {
            node: stopped.node.to_string(),
            process: stopped.process.clone(),
            paused: stopped.paused,
            by_step: stopped.by_step.clone(),
        }
    }
}
