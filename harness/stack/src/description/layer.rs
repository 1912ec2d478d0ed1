//! What every layer says about itself.

use std::fmt;

use sanlab_plan::{LayerKind, NodeName};

use crate::description::probe::Probe;
use crate::description::work::Stage;
use crate::nodes::present::Peers;
use crate::nodes::topology::Topology;

/// One layer of the stack: commands and files as data.
///
/// What is planned of a layer is another crate's type, which takes no methods of this one. A layer with helpers of its own wraps
/// it in a struct, with whatever else it reads of the plan, and has them as methods there: `VolumeGroup { plan: Lvm }`. One
/// without any implements this for what is planned of it.
///
/// `there` are the running nodes in the order of their numbers.
pub trait LayerCommands: fmt::Debug + Send + Sync {
    /// Its key in a scenario file.
    fn kind(&self) -> LayerKind;

    /// For people: the kind and what is particular about it.
    fn title(&self) -> String;

    /// Brings it up on all of `there`.
    fn up(&self, there: &[NodeName], topology: &Topology) -> Vec<Stage>;

    /// Brings it up on `node` while it is up on `peers` (without `node`): first makes the newcomer known to them.
    fn join(&self, node: &NodeName, peers: &Peers, topology: &Topology) -> Vec<Stage>;

    /// Brings it up again on `node`, whose machine came back with its disk, while it is up on `peers` (without `node`).
    fn rejoin(&self, node: &NodeName, peers: &Peers, topology: &Topology) -> Vec<Stage> {
        self.join(node, peers, topology)
    }

    /// The names of its daemons on `node`, also of those that [`LayerCommands::service`] cannot start alone.
    fn daemons(&self, _node: &NodeName) -> &'static [&'static str] {
        &[]
    }

    /// Starts its own daemons on `node`, where they were stopped, while it is up on `peers`, and nothing else. Nothing: it
    /// has none.
    fn service(&self, _node: &NodeName, _peers: &Peers, _topology: &Topology) -> Vec<Stage> {
        Vec::new()
    }

    /// How to see on `node`, one of `peers`, that it is really up.
    fn probes(&self, node: &NodeName, peers: &Peers, topology: &Topology) -> Vec<Probe>;

    /// The same after [`LayerCommands::rejoin`].
    fn probes_again(&self, node: &NodeName, peers: &Peers, topology: &Topology) -> Vec<Probe> {
        self.probes(node, peers, topology)
    }

    /// What must hold on `node` at the end of a run, whatever commands the run's steps gave.
    fn probes_at_end(&self, node: &NodeName, peers: &Peers, topology: &Topology) -> Vec<Probe> {
        self.probes(node, peers, topology)
    }

    /// Takes it down on `there`, whether it came up wholly or not.
    fn down(&self, there: &[NodeName], topology: &Topology) -> Vec<Stage>;

    /// File names and the scripts whose output goes there when something failed.
    fn state(&self) -> Vec<(String, String)>;
}
