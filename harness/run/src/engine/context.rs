//! Everything a step can reach: the plan, the guests, and what has been done so far.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use sanlab_plan::{Expectation, LayerKind, NodeName, Plan, guest};
use sanlab_record::{EventKind, Excuse, Finding};
use sanlab_stack::{Present, Stack, Volume};
use tokio::sync::{Mutex as AsyncMutex, RwLock, watch};
use tokio::time::Instant;

use crate::backend::FleetBackend;
use crate::checkpoint::proof::{Proof, Proofs};
use crate::engine::console_sync::Marks;
use crate::engine::event_log::EventLog;
use crate::engine::faults::down::{DownReason, NodeDown};
use crate::engine::faults::excusing::{Broken, Fault, Faults};
use crate::engine::faults::open::{self, OpenFaults};
use crate::engine::hold::Holding;
use crate::engine::join;
use crate::engine::state::{Acknowledged, EngineState};
use crate::evidence::ack_log::{AckLog, Course};
use crate::evidence::judge::{Judge, Seen};
use crate::{Extent, Failure, RunOptions};

/// How long a script may take that asks almost nothing of a guest.
const SMALL: Duration = Duration::from_secs(20);
/// How many news of each kernel a record has; a guest could write them without end.
const NEWS: u32 = 10_000;

/// One run's world.
pub(crate) struct RunContext {
    pub(crate) plan: Plan,
    pub(crate) stack: Stack,
    pub(crate) backend: Arc<dyn FleetBackend>,
    pub(crate) event_log: EventLog,
    /// What is wanted of the run.
    pub(crate) options: RunOptions,
    /// How far the consoles have been heard.
    pub(crate) marks: Marks,
    /// The nodes that have fenced themselves as a step expects, and have been ended.
    pub(crate) fenced: watch::Sender<BTreeSet<NodeName>>,
    /// How much of the plan is done, once it is known what has been proved.
    extent: OnceLock<Extent>,
    /// Where it stands that the plan's data has been proved; nowhere for a plan that wants everything fresh.
    pub(crate) proofs: Option<Proofs>,
    /// Keeps the fleet up in place of the plan's steps, or of the last of them.
    pub(crate) hold: Option<Holding>,
    /// What steps have broken for a time.
    pub(crate) open_faults: OpenFaults,
    /// Held while a node's power is cut: who finds it off then may be sure of it.
    pub(crate) power: AsyncMutex<()>,
    /// Held for writing while the fleet comes to life, or others take the places of its nodes: who is asked for something
    /// then by a guest waits until all are there.
    pub(crate) assembly: RwLock<()>,
    /// Locked before `past`.
    judge: Mutex<Judge>,
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
    down: BTreeMap<NodeName, NodeDown>,
    faults: Faults,
    /// When nodes that were off got their power back.
    powered: BTreeMap<NodeName, Instant>,
    /// How many news of each kernel there were.
    news: BTreeMap<NodeName, u32>,
}

impl RunContext {
    pub(crate) fn new(
        plan: Plan,
        stack: Stack,
        backend: Arc<dyn FleetBackend>,
        event_log: EventLog,
        options: RunOptions,
    ) -> Self {
        Self {
            marks: Marks::default(),
            fenced: watch::Sender::default(),
            judge: Mutex::default(),
            plan,
            stack,
            backend,
            event_log,
            options,
            extent: OnceLock::new(),
            proofs: None,
            hold: None,
            open_faults: OpenFaults::default(),
            power: AsyncMutex::default(),
            assembly: RwLock::default(),
            past: Mutex::default(),
        }
    }

    /// Whether the fleet has been kept up: from then on nothing is judged any more.
    pub(crate) fn is_held(&self) -> bool {
        self.hold.as_ref().is_some_and(Holding::has_begun)
    }

    /// How much of the plan is done.
    pub(crate) fn extent(&self) -> Extent {
        self.extent.get().copied().unwrap_or(self.options.extent)
    }

    /// Keeps that the plan was done whole and passed, in the run of that folder.
    pub(crate) async fn keep_proof(&self, run: &Path) -> Result<(), Failure> {
        match &self.proofs {
            Some(proofs) if self.extent() != Extent::Measures => proofs.keep(run).await,
            _ => Ok(()),
        }
    }

    /// Settles how much of the plan is done: what has been proved is not proved again where that is not asked for. Gives back
    /// the proof.
    pub(crate) async fn settle_extent(&self) -> Result<Option<Proof>, Failure> {
        let (Extent::UnlessProved, Some(proofs)) = (self.options.extent, &self.proofs) else {
            return Ok(None);
        };
        let proof = proofs.find().await?;
        if proof.is_some() {
            // Only this sets it.
            let _ = self.extent.set(Extent::Measures);
        }
        Ok(proof)
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

    /// Who runs what by now.
    pub(crate) fn present(&self) -> Present {
        let past = self.past();
        Present {
            there: past.there.clone(),
            mounted: past.mounted.clone(),
            stopped: past.faults.layers(),
        }
    }

    /// What is stopped, to be looked at or changed.
    pub(crate) fn faults<T>(&self, look: impl FnOnce(&mut Faults) -> T) -> T {
        look(&mut self.past().faults)
    }

    /// From now on these nodes run.
    pub(crate) fn arrived(&self, nodes: &[NodeName]) {
        self.past().there.extend_from_slice(nodes);
        self.in_order(|past| &mut past.there);
    }

    /// From now on this node does not run, or is about to be ended. `false`: it was down already.
    pub(crate) fn departs(&self, node: &NodeName, reason: DownReason) -> bool {
        let mut past = self.past();
        if past.down.contains_key(node) {
            return false;
        }
        let excuse = reason.excuse(node);
        let down = Broken::Down { powered: None };
        let fault = Fault::new(node.clone(), down, excuse, self.now());
        past.faults.begins(fault);
        let mounted = past.mounted.contains(node);
        past.there.retain(|one| one != node);
        past.mounted.retain(|one| one != node);
        past.down.insert(node.clone(), NodeDown { reason, mounted });
        drop(past);
        for (step, since) in self.open_faults.powered_off(node) {
            open::ended(self, &step, since);
        }
        true
    }

    /// This node gets its power back, and comes up from now on.
    pub(crate) fn powers_on(&self, node: &NodeName) {
        let at = self.now();
        let mut past = self.past();
        past.faults.powered(node, at);
        past.powered.insert(node.clone(), Instant::now());
    }

    /// How long ago this node was off for the last time, if it ever was.
    pub(crate) fn since_off(&self, node: &NodeName) -> Option<Duration> {
        self.past().powered.get(node).map(Instant::elapsed)
    }

    /// This node runs again.
    pub(crate) fn returned(&self, node: &NodeName) {
        let at = self.now();
        let mut past = self.past();
        past.down.remove(node);
        past.faults.booted(node, at);
        drop(past);
        self.fenced.send_modify(|fenced| {
            fenced.remove(node);
        });
        self.arrived(std::slice::from_ref(node));
    }

    /// Why this node is down, if it is.
    pub(crate) fn down(&self, node: &NodeName) -> Option<NodeDown> {
        self.past().down.get(node).cloned()
    }

    /// Lets these nodes' kernels say everything on their consoles but debugging; they boot quiet.
    pub(crate) async fn show_kernel_log(&self, nodes: &[NodeName]) -> Result<(), Failure> {
        let script = format!("dmesg -n {}", guest::CONSOLE_LEVEL);
        let loud = nodes
            .iter()
            .map(|node| self.backend.exec(node, &script, SMALL));
        join::all(loud).await?;
        Ok(())
    }

    /// A step begins that expects this from now on.
    pub(crate) fn expects(&self, step: &str, expectation: &Expectation) -> Result<(), Failure> {
        let from = self.now();
        let declared = self.judge().declare(step, expectation, from);
        let number = declared.map_err(|error| {
            Failure::internal(format!("read a pattern of step {step}: {error}"))
        })?;
        let (nodes, expectation) = match expectation {
            Expectation::ErrorsOf { nodes } => (nodes.as_slice(), Some(number)),
            Expectation::FencesItself { node } => (std::slice::from_ref(node), None),
            Expectation::KernelLog { .. } | Expectation::Fails { .. } => return Ok(()),
        };
        for node in nodes {
            let step = step.to_owned();
            let served = Broken::Served { expectation };
            let fault = Fault::new(node.clone(), served, Excuse::Expected { step }, from);
            self.past().faults.begins(fault);
        }
        Ok(())
    }

    /// What a step expects has come true.
    pub(crate) fn meets(&self, step: &str, which: impl Fn(&Expectation) -> bool) {
        self.judge().meet(step, which);
    }

    /// The step that expects the node to fence itself, if one does.
    pub(crate) fn expects_fencing(&self, node: &NodeName) -> Option<String> {
        self.judge().expects_fencing(node).map(str::to_owned)
    }

    /// The node is lost, although no step wanted it: others will miss it.
    pub(crate) fn lost(&self, node: &NodeName) {
        let excuse = Excuse::Lost {
            node: node.to_string(),
        };
        let down = Broken::Down { powered: None };
        let fault = Fault::new(node.clone(), down, excuse, self.now());
        self.past().faults.begins(fault);
    }

    /// A kernel writes a line, without its time. `true`: it complains, and nothing excuses it.
    pub(crate) fn kernel_says(&self, node: &NodeName, at: Instant, text: &str) -> bool {
        self.judges(Judge::hear, node, at, text)
    }

    /// The same of a line that came among those that the kernel was made to print.
    pub(crate) fn kernel_says_in_dump(&self, node: &NodeName, at: Instant, text: &str) -> bool {
        self.judges(Judge::hear_in_dump, node, at, text)
    }

    fn judges(
        &self,
        hear: impl Fn(&mut Judge, &Plan, &Faults, Seen<'_>) -> bool,
        node: &NodeName,
        at: Instant,
        text: &str,
    ) -> bool {
        let (at, phase) = (self.event_log.seconds_at(at), self.event_log.current());
        let seen = Seen {
            node,
            at,
            phase: phase.as_ref(),
            text,
        };
        let mut judge = self.judge();
        hear(&mut judge, &self.plan, &self.past().faults, seen)
    }

    /// A kernel's news as an event. A record has no more than so many of a node.
    pub(crate) fn news(&self, node: &NodeName, line: &str) -> Option<EventKind> {
        let mut past = self.past();
        let news = past.news.entry(node.clone()).or_default();
        *news = news.saturating_add(1);
        match news.checked_sub(NEWS) {
            None | Some(0) => Some(EventKind::KernelSaid {
                line: line.to_owned(),
            }),
            Some(1) => {
                let text = format!(
                    "its kernel has more than {NEWS} news: the rest is in its console's log"
                );
                Some(EventKind::Progress { text })
            }
            Some(_) => None,
        }
    }

    /// A layer, the one at that place of the plan, is not as it must be at the end.
    pub(crate) fn layer_lacks(&self, layer: (LayerKind, usize), node: &NodeName, text: &str) {
        let excuse = self.layer_excuse(layer, node);
        self.note_layer(layer, node, text, excuse);
    }

    /// The same, unless it would count.
    pub(crate) fn layer_is_excused(
        &self,
        layer: (LayerKind, usize),
        node: &NodeName,
        text: &str,
    ) -> bool {
        let excuse = self.layer_excuse(layer, node);
        let excused = excuse.is_some();
        if excused {
            self.note_layer(layer, node, text, excuse);
        }
        excused
    }

    fn layer_excuse(&self, layer: (LayerKind, usize), node: &NodeName) -> Option<Excuse> {
        let at = self.now();
        Judge::layer_excuse(&self.plan, &self.past().faults, layer, (node, at))
    }

    fn note_layer(
        &self,
        (kind, _): (LayerKind, usize),
        node: &NodeName,
        text: &str,
        excuse: Option<Excuse>,
    ) {
        let phase = self.event_log.current();
        let seen = Seen {
            node,
            at: self.now(),
            phase: phase.as_ref(),
            text,
        };
        self.judge().sees(kind, seen, excuse);
    }

    /// What was found so far and nothing excuses.
    pub(crate) fn counting(&self) -> Vec<Finding> {
        self.judge().counting()
    }

    /// What steps expected and has not come, in words.
    pub(crate) fn unmet(&self) -> Vec<String> {
        self.judge().unmet()
    }

    /// From now on the layers are taken down.
    pub(crate) fn takes_down(&self) {
        self.judge().takes_down();
    }

    /// What is seen from now on has no part in the outcome. Gives what counts.
    pub(crate) fn close_evidence(&self) -> Vec<Finding> {
        let mut judge = self.judge();
        judge.close();
        judge.counting()
    }

    /// Everything that was found.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        self.judge().findings().to_vec()
    }

    /// Seconds since the run began.
    pub(crate) fn now(&self) -> f64 {
        self.event_log.seconds_at(Instant::now())
    }

    /// The nodes that have the volume once the layers are up, if the scenario mounts it.
    pub(crate) fn mounted_from_start(&self) -> Vec<NodeName> {
        let holders = self.plan.layers.iter().find_map(|placed| {
            let file_system = placed.layer.file_system()?;
            file_system.mount.then_some(&placed.on)
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
            stopped: past.faults.kept(),
            acknowledged: past.acknowledged.clone(),
            ack_logs: past.ack_logs.clone(),
        }
    }

    /// Takes over what had been done when a checkpoint was made.
    pub(crate) fn recall(&self, state: EngineState) {
        let those = |names: &[String]| -> Vec<NodeName> {
            let nodes = self.plan.nodes.iter().map(|node| &node.name);
            nodes
                .filter(|node| names.iter().any(|name| name == node.as_str()))
                .cloned()
                .collect()
        };
        let mut faults = Faults::default();
        for kept in state.stopped {
            let Some(node) = those(std::slice::from_ref(&kept.node)).pop() else {
                continue;
            };
            let process = Broken::Process {
                layer: self.stack.daemon_of(&node, &kept.process),
                name: kept.process,
                paused: kept.paused,
            };
            let excuse = Excuse::Fault {
                step: kept.by_step,
                node: kept.node,
            };
            faults.begins(Fault::new(node, process, excuse, 0.0));
        }
        *self.past() = Past {
            there: those(&state.there),
            mounted: those(&state.mounted),
            faults,
            acknowledged: state.acknowledged,
            ack_logs: state
                .ack_logs
                .into_iter()
                .map(|(path, ack_log)| (path, ack_log.inherited()))
                .collect(),
            ..Past::default()
        };
    }

    fn judge(&self) -> MutexGuard<'_, Judge> {
        self.judge.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn past(&self) -> MutexGuard<'_, Past> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
