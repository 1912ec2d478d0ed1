//! Everything a step can reach: the plan, the guests, and what has been done so far.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::try_join_all;
use sanlab_plan::{Layer, NodeName, Plan};
use sanlab_stack::{Stack, Volume};
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::Instant;

use crate::backend::FleetBackend;
use crate::checkpoint::KeepPolicy;
use crate::engine::absence::{Absence, Cause};
use crate::engine::event_log::EventLog;
use crate::engine::state::{Acknowledged, EngineState};
use crate::evidence::ack_log::{AckLog, Course};
use crate::evidence::kernel_log::Judge;
use crate::{Extent, Failure};

/// How long a script may take that asks almost nothing of a guest.
const SMALL: Duration = Duration::from_secs(20);

/// One run's world.
pub(crate) struct RunContext {
    pub(crate) plan: Plan,
    pub(crate) stack: Stack,
    pub(crate) backend: Arc<dyn FleetBackend>,
    pub(crate) event_log: EventLog,
    /// Where a state dump is to be left, if anywhere.
    pub(crate) state_dump: Option<PathBuf>,
    /// What kernels must not say.
    pub(crate) judge: Judge,
    /// What the run's random moments are drawn from.
    pub(crate) seed: u64,
    /// How much of the plan is done.
    pub(crate) extent: Extent,
    /// Which checkpoints are kept.
    pub(crate) keep: KeepPolicy,
    /// Held while a node's power is cut: who finds it off then may be sure of it.
    pub(crate) power: AsyncMutex<()>,
    past: Mutex<Past>,
}

/// What has been done.
#[derive(Default)]
struct Past {
    there: Vec<NodeName>,
    mounted: Vec<NodeName>,
    acknowledged: BTreeMap<String, Acknowledged>,
    /// By the files' absolute paths.
    ack_logs: BTreeMap<String, AckLog>,
    absent: BTreeMap<NodeName, Absence>,
    /// When nodes that were off got their power back.
    powered: BTreeMap<NodeName, Instant>,
    /// What consoles said of panics that were made on purpose: from and to, in bytes.
    excused: BTreeMap<NodeName, Vec<(usize, usize)>>,
}

impl RunContext {
    pub(crate) fn new(
        plan: Plan,
        stack: Stack,
        backend: Arc<dyn FleetBackend>,
        event_log: EventLog,
    ) -> Self {
        Self {
            judge: Judge::new(&plan),
            plan,
            stack,
            backend,
            event_log,
            state_dump: None,
            seed: 0,
            extent: Extent::Whole,
            keep: KeepPolicy::default(),
            power: AsyncMutex::default(),
            past: Mutex::default(),
        }
    }

    /// The same, with a state dump left in `folder`.
    pub(crate) fn with_state_dump(self, folder: &Path) -> Self {
        Self {
            state_dump: Some(folder.to_owned()),
            ..self
        }
    }

    /// The same, with these checkpoints kept.
    pub(crate) fn with_policy(self, keep: KeepPolicy) -> Self {
        Self { keep, ..self }
    }

    /// The same, with random moments drawn from `seed`.
    pub(crate) fn with_seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// The same, as far as `extent` says.
    pub(crate) fn with_extent(self, extent: Extent) -> Self {
        Self { extent, ..self }
    }

    /// The word for a node's architecture in records.
    pub(crate) fn arch(&self, node: &NodeName) -> &'static str {
        self.plan
            .node(node)
            .map_or("", |node| node.hardware.arch.as_str())
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

    /// From now on this node does not run, or is about to be ended. `false`: it was absent already.
    pub(crate) fn departs(&self, node: &NodeName, cause: Cause) -> bool {
        let mut past = self.past();
        if past.absent.contains_key(node) {
            return false;
        }
        let mounted = past.mounted.contains(node);
        past.there.retain(|one| one != node);
        past.mounted.retain(|one| one != node);
        past.absent.insert(node.clone(), Absence { cause, mounted });
        true
    }

    /// This node gets its power back, and comes up from now on.
    pub(crate) fn powers_on(&self, node: &NodeName) {
        self.past().powered.insert(node.clone(), Instant::now());
    }

    /// How long ago this node was off for the last time, if it ever was.
    pub(crate) fn since_off(&self, node: &NodeName) -> Option<Duration> {
        self.past().powered.get(node).map(Instant::elapsed)
    }

    /// This node runs again.
    pub(crate) fn returned(&self, node: &NodeName) {
        self.past().absent.remove(node);
        self.arrived(std::slice::from_ref(node));
    }

    /// Why this node is not there, if it was.
    pub(crate) fn absence(&self, node: &NodeName) -> Option<Absence> {
        self.past().absent.get(node).cloned()
    }

    /// Lets these nodes' kernels say on their consoles what they say of the cluster, from `notice` on; they boot quiet.
    pub(crate) async fn show_kernel_log(&self, nodes: &[NodeName]) -> Result<(), Failure> {
        let loud = nodes
            .iter()
            .map(|node| self.backend.exec(node, "dmesg -n 6", SMALL));
        try_join_all(loud).await?;
        Ok(())
    }

    /// How long a node's console is by now.
    pub(crate) fn console_length(&self, node: &NodeName) -> usize {
        let consoles = self.backend.consoles().into_iter();
        let logs = consoles.filter(|(name, _)| name == node);
        logs.map(|(_, log)| log.len()).max().unwrap_or_default()
    }

    /// What a node's console has said since it was so long is the end that was made of it on purpose.
    pub(crate) fn excuse(&self, node: &NodeName, since: usize) {
        let to = self.console_length(node);
        let mut past = self.past();
        past.excused
            .entry(node.clone())
            .or_default()
            .push((since, to));
    }

    /// Every node's console, without panics that were made on purpose.
    pub(crate) fn consoles(&self) -> Vec<(NodeName, String)> {
        let excused = self.past().excused.clone();
        let mut consoles = self.backend.consoles();
        for (node, log) in &mut consoles {
            for &(from, to) in excused.get(node).into_iter().flatten().rev() {
                // Where a console is not UTF-8, what replaces a byte is longer than it.
                if log.get(from..to).is_some() {
                    log.replace_range(from..to, "");
                }
            }
        }
        consoles
    }

    /// The nodes that have the volume once the layers are up, if the scenario mounts it.
    pub(crate) fn mounted_from_start(&self) -> Vec<NodeName> {
        let holders = self.plan.layers.iter().find_map(|placed| {
            matches!(&placed.layer, Layer::Ocfs2(ocfs2) if ocfs2.mount).then_some(&placed.on)
        });
        let at_start = self.plan.at_start().map(|node| &node.name);
        let held = at_start.filter(|node| holders.is_some_and(|holders| holders.contains(node)));
        held.cloned().collect()
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
    pub(crate) fn volume(&self) -> Result<&Volume, Failure> {
        self.stack
            .volume()
            .ok_or_else(|| Failure::internal("the scenario has no file system to work on"))
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

    /// A writer begins: what a file of that name held is no matter any more.
    pub(crate) fn opens(&self, ack_log: AckLog) {
        let mut past = self.past();
        past.acknowledged.remove(&ack_log.path);
        past.ack_logs.insert(ack_log.path.clone(), ack_log);
    }

    /// Takes a line of a writer in, that came `at` seconds after the run began; says where the writer is then.
    pub(crate) fn hears(&self, path: &str, at: f64, line: &str) -> Result<Course, Failure> {
        match self.past().ack_logs.get_mut(path) {
            Some(ack_log) => {
                ack_log.hear(at, line)?;
                Ok(ack_log.course())
            }
            None => Err(Failure::internal(format!(
                "`{line}`: no step writes {path}"
            ))),
        }
    }

    /// Every writer's account so far, by its file's absolute path.
    pub(crate) fn ack_logs(&self) -> BTreeMap<String, AckLog> {
        self.past().ack_logs.clone()
    }

    fn in_order(&self, list: impl Fn(&mut Past) -> &mut Vec<NodeName>) {
        let number = |name: &NodeName| self.plan.node(name).map(|node| node.number);
        let mut past = self.past();
        let list = list(&mut past);
        list.sort_by_key(number);
        list.dedup();
    }

    /// Everything done so far, for a checkpoint.
    pub(crate) fn state(&self) -> EngineState {
        let past = self.past();
        let names = |nodes: &[NodeName]| nodes.iter().map(ToString::to_string).collect();
        EngineState {
            there: names(&past.there),
            mounted: names(&past.mounted),
            acknowledged: past.acknowledged.clone(),
            ack_logs: past.ack_logs.clone(),
        }
    }

    /// Takes over what had been done when a checkpoint was made.
    pub(crate) fn recall(&self, state: EngineState) {
        let those = |names: &[String]| {
            let nodes = self.plan.nodes.iter().map(|node| &node.name);
            nodes
                .filter(|node| names.iter().any(|name| name == node.as_str()))
                .cloned()
                .collect()
        };
        *self.past() = Past {
            there: those(&state.there),
            mounted: those(&state.mounted),
            acknowledged: state.acknowledged,
            ack_logs: state
                .ack_logs
                .into_iter()
                .map(|(path, ack_log)| (path, ack_log.inherited()))
                .collect(),
            ..Past::default()
        };
    }

    fn past(&self) -> MutexGuard<'_, Past> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
