//! Everything a step can reach: the plan, the guests, and what has been done so far.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sanlab_plan::{NodeName, Plan};
use sanlab_stack::{Stack, Volume};
use serde::{Deserialize, Serialize};

use crate::Fault;
use crate::journal::Journal;
use crate::site::Site;

/// One run's world.
pub(crate) struct Scene {
    pub(crate) plan: Plan,
    pub(crate) stack: Stack,
    pub(crate) site: Arc<dyn Site>,
    pub(crate) journal: Journal,
    /// Where a portrait is to be left, if anywhere.
    pub(crate) portrait: Option<PathBuf>,
    past: Mutex<Past>,
}

/// What has been done.
#[derive(Default)]
struct Past {
    there: Vec<NodeName>,
    mounted: Vec<NodeName>,
    acknowledged: BTreeMap<String, Acknowledged>,
}

/// The same as a checkpoint keeps it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Memory {
    there: Vec<String>,
    mounted: Vec<String>,
    acknowledged: BTreeMap<String, Acknowledged>,
}

/// A fault and the phase it happened in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setback {
    pub(crate) phase: String,
    pub(crate) fault: Fault,
}

/// A write that dd reported as done: from then on every node must see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Acknowledged {
    /// The step and node that wrote it, for messages.
    pub(crate) by: String,
    pub(crate) bytes: u64,
    pub(crate) content: Content,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Content {
    /// Zeros; the host works out their sha256 when it is asked for.
    Zeros,
    /// Bytes with this sha256, taken where they were made.
    Sha256(String),
}

impl Scene {
    pub(crate) fn new(plan: Plan, stack: Stack, site: Arc<dyn Site>, journal: Journal) -> Self {
        Self {
            plan,
            stack,
            site,
            journal,
            portrait: None,
            past: Mutex::default(),
        }
    }

    /// The same, with a portrait left in `folder`.
    pub(crate) fn with_portrait(self, folder: &Path) -> Self {
        Self {
            portrait: Some(folder.to_owned()),
            ..self
        }
    }

    /// The running nodes, in the plan's order.
    pub(crate) fn there(&self) -> Vec<NodeName> {
        self.past().there.clone()
    }

    /// From now on these nodes run.
    pub(crate) fn arrived(&self, nodes: &[NodeName]) {
        self.past().there.extend_from_slice(nodes);
        self.in_order(|past| &mut past.there);
    }

    /// The nodes that have the volume mounted, in the plan's order.
    pub(crate) fn mounted(&self) -> Vec<NodeName> {
        self.past().mounted.clone()
    }

    /// From now on these nodes have the volume mounted.
    pub(crate) fn has_mounted(&self, nodes: &[NodeName]) {
        self.past().mounted.extend_from_slice(nodes);
        self.in_order(|past| &mut past.mounted);
    }

    /// From now on these nodes do not have the volume mounted.
    pub(crate) fn has_unmounted(&self, nodes: &[NodeName]) {
        self.past().mounted.retain(|node| !nodes.contains(node));
    }

    /// The volume; plans whose steps need one have one.
    pub(crate) fn volume(&self) -> Result<&Volume, Fault> {
        self.stack
            .volume()
            .ok_or_else(|| Fault::Lab("the scenario has no file system to work on".to_owned()))
    }

    /// A write to a file, by its absolute path, was reported as done; it replaces an earlier one.
    pub(crate) fn acknowledge(&self, path: String, write: Acknowledged) {
        self.past().acknowledged.insert(path, write);
    }

    /// What is at this path can no longer be told from what was written.
    pub(crate) fn forget(&self, path: &str) {
        self.past().acknowledged.remove(path);
    }

    /// Every write that must be seen, by absolute path.
    pub(crate) fn acknowledged(&self) -> BTreeMap<String, Acknowledged> {
        self.past().acknowledged.clone()
    }

    fn in_order(&self, list: impl Fn(&mut Past) -> &mut Vec<NodeName>) {
        let number = |name: &NodeName| self.plan.node(name).map(|node| node.number);
        let mut past = self.past();
        let list = list(&mut past);
        list.sort_by_key(number);
        list.dedup();
    }

    /// Everything done so far, for a checkpoint.
    pub(crate) fn memory(&self) -> Memory {
        let past = self.past();
        let names = |nodes: &[NodeName]| nodes.iter().map(ToString::to_string).collect();
        Memory {
            there: names(&past.there),
            mounted: names(&past.mounted),
            acknowledged: past.acknowledged.clone(),
        }
    }

    /// Takes over what had been done when a checkpoint was made.
    pub(crate) fn recall(&self, memory: Memory) {
        let those = |names: &[String]| {
            let nodes = self.plan.nodes.iter().map(|node| &node.name);
            nodes
                .filter(|node| names.iter().any(|name| name == node.as_str()))
                .cloned()
                .collect()
        };
        *self.past() = Past {
            there: those(&memory.there),
            mounted: those(&memory.mounted),
            acknowledged: memory.acknowledged,
        };
    }

    fn past(&self) -> MutexGuard<'_, Past> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
