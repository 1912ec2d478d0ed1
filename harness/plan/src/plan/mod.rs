//! The plan: a scenario after every check, with no choice left open.

pub(crate) mod artefact;
mod device;
mod expect;
pub(crate) mod network;
pub(crate) mod node;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

pub use self::artefact::{Artefact, ArtefactKind};
pub use self::device::{BlockMap, DISK, Device, FAULTY_DISK, Replica};
pub use self::expect::{Expectation, Known, StepFailure};
pub use self::network::Network;
pub use self::node::{Arch, Hardware, Joins, NicModel, Node};
use crate::document::word::words;
pub(crate) use crate::layers::*;
pub(crate) use crate::steps::*;
use crate::values::names::{CheckpointName, ImageName, NetworkName, NodeName, StepLabel};
use crate::values::range::Range;
use crate::values::units::ByteSize;

/// A checked scenario. Lists keep the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The scenario's own words for itself.
    pub name: String,
    /// Folder and stem of the file as identifiers, `nbd_striped_ocfs2/hot_node_addition`: the trial's and the record
    /// folder's name.
    pub id: String,
    /// Where the text came from.
    pub source: PathBuf,
    /// Which test runs take it.
    pub tier: Tier,
    /// Built from nothing in every run: never forked from a checkpoint, and keeps none.
    pub fresh: bool,
    /// Whether the layers are taken down at the end of a run that passed, instead of ending with their guests.
    pub take_down: bool,
    /// Which manifest under `images/` the guests boot.
    pub image: ImageName,
    /// What the nodes are connected by: the first joins all of them.
    pub networks: Vec<Network>,
    /// Everybody who may take part; a node's place here is its number.
    pub nodes: Vec<Node>,
    /// Settings with the values of which every combination is a variant of the scenario. The plan is that of none.
    pub matrix: Vec<(String, Vec<String>)>,
    /// Settings with the ranges in which an exploration looks for values that fail. The plan is that of none.
    pub vary: Vec<(String, Range)>,
    /// Code under test, in the order in which it was given.
    pub artefacts: Vec<Artefact>,
    /// The storage stack, lowest layer first.
    pub layers: Vec<PlacedLayer>,
    /// The devices that all layers together give each node that they give something.
    pub devices: BTreeMap<NodeName, Vec<Device>>,
    /// What is done once the layers are up.
    pub steps: Vec<Step>,
    /// The failure by which runs are known to end.
    pub known: Option<Known>,
    /// What the scenario does wrong on purpose, with the numbers: time-outs that contradict each other. Empty as a rule.
    pub warnings: Vec<String>,
}

impl Plan {
    /// The nodes that boot before the first layer.
    pub fn at_start(&self) -> impl Iterator<Item = &Node> {
        self.nodes
            .iter()
            .filter(|node| node.joins == Joins::AtStart)
    }

    /// The nodes that ever boot: those of the start, and those that a step adds.
    pub fn booted(&self) -> impl Iterator<Item = &Node> {
        let is_added = |node: &Node| {
            let mut actions = self.steps.iter().map(|step| &step.action);
            actions.any(|action| matches!(action, Action::AddNode(add) if add.node == node.name))
        };
        self.nodes
            .iter()
            .filter(move |node| node.joins == Joins::AtStart || is_added(node))
    }

    /// Which manifest a node boots.
    pub fn image_of<'a>(&'a self, node: &'a Node) -> &'a ImageName {
        node.image.as_ref().unwrap_or(&self.image)
    }

    /// What a node gets in place of what its image has.
    pub fn artefacts_of(&self, node: &NodeName) -> impl Iterator<Item = &Artefact> {
        let artefacts = self.artefacts.iter();
        artefacts.filter(|artefact| artefact.on.contains(node))
    }

    /// The node of that name.
    pub fn node(&self, name: &NodeName) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == *name)
    }

    /// The names of the networks that a fault concerns: of that one, or of all.
    pub fn networks_of_fault(&self, network: Option<&NetworkName>) -> Vec<NetworkName> {
        match network {
            Some(name) => vec![name.clone()],
            None => self.networks.iter().map(|one| one.name.clone()).collect(),
        }
    }

    /// Whether a node has a card on that network.
    pub fn is_on(&self, node: &NodeName, network: &NetworkName) -> bool {
        let mut networks = self.networks.iter();
        networks.any(|one| one.name == *network && one.on.contains(node))
    }

    /// Whether a step lets the node's own disk fail.
    pub fn has_disk_faults(&self, node: &NodeName) -> bool {
        let mut actions = self.steps.iter().map(|step| &step.action);
        actions.any(|action| matches!(action, Action::DiskFault(fault) if fault.on.contains(node)))
    }

    /// The largest disk that a layer asks of a node. Every node gets one of that size, used or not: disks are sparse,
    /// and machines that differ in nothing are cloned from one template.
    pub fn disk(&self) -> Option<ByteSize> {
        self.layers
            .iter()
            .filter_map(|placed| placed.layer.disk())
            .max()
    }
}

/// A layer and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedLayer {
    /// Every node that ever has it, those that join later too; in the order of their numbers, never empty.
    pub on: Vec<NodeName>,
    /// What stands there.
    pub layer: Layer,
}

/// One thing done to the running stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// How the record calls it; unique in a scenario.
    pub label: StepLabel,
    /// It begins so long after the step before it.
    pub after: Duration,
    /// The host ends the wait for it after this long.
    pub deadline: Duration,
    /// After it the whole fleet is kept under this name; nothing runs in the background then.
    pub checkpoint: Option<CheckpointName>,
    /// The trouble that it brings about on purpose.
    pub expect: Vec<Expectation>,
    /// What is done.
    pub action: Action,
}

impl Step {
    /// What is done and what is expected, in a few words.
    pub fn describe(&self) -> String {
        let mut text = self.action.describe();
        if !self.after.is_zero() {
            text = format!("after {} s: {text}", self.after.as_secs_f32());
        }
        for (number, expectation) in self.expect.iter().enumerate() {
            text += if number == 0 { "; expects " } else { ", " };
            text += &expectation.describe();
        }
        text
    }
}

words! {
    /// Which test runs take a scenario.
    pub Tier, "tier", "tiers", "a tier", r#""test""# {
        /// Every run with guests: `ci/test` and `ci/nightly`.
        Test = "test",
        /// The long run alone, `ci/nightly`; elsewhere it is ignored.
        Nightly = "nightly",
    }
}
