//! Who is there, who was, and what the machines stand on: all of a fleet that changes while it lives.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::join_all;
use sanlab_image::Held;
use sanlab_vm::{Drive, ProcessGroup, Usage};

use crate::error::FleetError;
use crate::host::budget::Permit;
use crate::host::run_dir::RunDir;
use crate::network::{PortCounters, Switch};
use crate::nodes::boot::DataDisk;
use crate::nodes::cost::NodeCost;
use crate::nodes::node::Node;
use crate::write_cache::WriteCache;

/// A fleet's members, behind locks that nobody else sees.
///
/// The locks have an order, so that nobody waits in a circle: `told`, `resources`, `nodes`, `crashed`, `past`. Whoever
/// holds one takes none before it. None is held across an `await`.
pub(super) struct Members {
    // The first three in the order of the end: machines, their group, what they stand on.
    /// In the members' order.
    nodes: Mutex<Vec<Arc<Node>>>,
    group: ProcessGroup,
    /// `None` once the fleet was shut down.
    resources: Mutex<Option<FleetResources>>,
    /// Members that crashed and are not back, with the disks that they left.
    crashed: Mutex<BTreeMap<String, Option<DataDisk>>>,
    /// What members cost whose machines were ended to be forked, or crashed.
    past: Mutex<BTreeMap<String, Usage>>,
    /// What was told last of what members cost: there are moments at which a machine has left and is not yet in `past`.
    told: Mutex<BTreeMap<String, NodeCost>>,
}

/// What the machines stand on.
pub(super) struct FleetResources {
    /// In the order of the networks.
    pub(super) switches: Vec<Switch>,
    /// How often hosts of the lab's own were put on all of them.
    pub(super) stations: u32,
    /// Where RAM and disks lie that shall be saved.
    pub(super) keep: Option<PathBuf>,
    /// Images in use stay in the store; templates have their own hold.
    pub(super) _images: Vec<Held>,
    pub(super) _permit: Permit,
    pub(super) run_dir: RunDir,
}

impl Members {
    pub(super) fn new(group: ProcessGroup, resources: FleetResources) -> Self {
        Self {
            nodes: Mutex::default(),
            group,
            resources: Mutex::new(Some(resources)),
            crashed: Mutex::default(),
            past: Mutex::default(),
            told: Mutex::default(),
        }
    }

    /// The group of the members' machines.
    pub(super) fn group(&self) -> &ProcessGroup {
        &self.group
    }

    /// A member that was started.
    pub(super) fn node(&self, name: &str) -> Option<Arc<Node>> {
        self.nodes().into_iter().find(|node| node.name() == name)
    }

    /// All members that were started, in the members' order.
    pub(super) fn nodes(&self) -> Vec<Arc<Node>> {
        lock(&self.nodes).clone()
    }

    /// Does something short with what the machines stand on, unless the fleet has ended.
    pub(super) fn with_resources<T>(
        &self,
        work: impl FnOnce(&mut FleetResources) -> Result<T, FleetError>,
    ) -> Result<T, FleetError> {
        work(lock(&self.resources).as_mut().ok_or(FleetError::Ended)?)
    }

    /// The fleet ends: who asks for what the machines stand on is told so from now on. `None`: it has ended.
    pub(super) fn take_resources(&self) -> Option<FleetResources> {
        lock(&self.resources).take()
    }

    /// Adds nodes to those that are there, and says who was there before.
    pub(super) fn register(&self, newcomers: &[Arc<Node>]) -> Result<Vec<Arc<Node>>, FleetError> {
        self.with_resources(|_| {
            let mut nodes = lock(&self.nodes);
            let before = nodes.clone();
            nodes.extend(newcomers.iter().cloned());
            nodes.sort_by_key(|node| node.number());
            Ok(before)
        })
    }

    /// Makes a node a member that has crashed; says whether it was there. Otherwise, somebody else had it crash at the same
    /// time, or the fleet has ended.
    pub(super) fn leave(&self, node: &Arc<Node>) -> bool {
        let mut nodes = lock(&self.nodes);
        let place = nodes.iter().position(|other| Arc::ptr_eq(other, node));
        if let Some(place) = place {
            // Under the lock: whoever finds that it has left can restart it.
            self.crashed_with(node.name(), node.disk().cloned());
            nodes.remove(place);
        }
        place.is_some()
    }

    /// Notes that a member has crashed and left this disk, if it has one.
    pub(super) fn crashed_with(&self, name: &str, disk: Option<DataDisk>) {
        lock(&self.crashed).insert(name.to_owned(), disk);
    }

    /// The disk that a crashed member left, if it has one; from now on it counts as one that has not crashed.
    pub(super) fn take_crashed(&self, name: &str) -> Result<Option<DataDisk>, FleetError> {
        let taken = lock(&self.crashed).remove(name);
        taken.ok_or_else(not_crashed(name))
    }

    /// What is known of the unflushed writes to a crashed member's disk, if it has a volatile write cache; from now on nothing is.
    pub(super) fn take_cache(&self, name: &str) -> Result<Option<(Drive, WriteCache)>, FleetError> {
        let mut crashed = lock(&self.crashed);
        let left = crashed.get_mut(name).ok_or_else(not_crashed(name))?;
        Ok(left
            .as_mut()
            .and_then(|disk| Some((disk.drive.clone(), disk.cache.take()?))))
    }

    /// What every member's ports carried together up to now.
    pub(super) fn ports(&self) -> BTreeMap<String, PortCounters> {
        self.with_resources(|resources| Ok(sums(&counters(&resources.switches))))
            .unwrap_or_default()
    }

    /// What every member that is or was there has cost up to now.
    pub(super) fn costs(&self) -> BTreeMap<String, NodeCost> {
        // Held all the time: of two readings at once, the later one tells more.
        let mut told = lock(&self.told);
        let past = lock(&self.past).clone();
        let ports = self.ports();
        let now = self.nodes().into_iter();
        let mut now: BTreeMap<_, _> = now
            .map(|node| (node.name().to_owned(), node.machine().cost()))
            .collect();
        for name in past.keys() {
            now.entry(name.clone()).or_default();
        }
        for (name, now) in now {
            let past = past.get(&name).copied().unwrap_or_default();
            let port = ports.get(&name).copied().unwrap_or_default();
            let cost = NodeCost::of(past, now, port);
            let before = told.entry(name).or_default();
            *before = before.or_later(cost);
        }
        told.clone()
    }

    /// Ends all members, the last first; says what they have cost, and what did not end as it should.
    pub(super) async fn end_all(&self) -> (BTreeMap<String, Usage>, Vec<FleetError>) {
        let nodes = std::mem::take(&mut *lock(&self.nodes));
        let mut errors = Vec::new();
        let mut usage: BTreeMap<_, _> = nodes
            .iter()
            .map(|node| (node.name().to_owned(), node.usage()))
            .collect();
        // Side by side: they wait for nothing of each other's.
        let ends = join_all(nodes.iter().rev().map(|node| node.end())).await;
        for (node, end) in nodes.iter().rev().zip(ends) {
            match end {
                Ok(report) => {
                    let usage = usage.entry(node.name().to_owned()).or_default();
                    *usage = at_end(*usage, report.usage);
                }
                Err(error) => errors.push(error),
            }
        }
        (usage, errors)
    }

    /// Ends all members, which others will take the places of.
    pub(super) async fn retire(&self) -> Result<(), FleetError> {
        let (usage, errors) = self.end_all().await;
        for (name, usage) in usage {
            self.remember(&name, usage, usage);
        }
        errors.into_iter().next().map_or(Ok(()), Err)
    }

    /// Notes what a machine has cost that is gone while its fleet lives: a moment before its end, and then.
    pub(super) fn remember(&self, name: &str, before: Usage, end: Usage) {
        let mut past = lock(&self.past);
        let sum = past.entry(name.to_owned()).or_default();
        *sum = together(*sum, at_end(before, end));
    }

    /// Adds to what members have cost at the end what their machines before have cost.
    pub(super) fn add_past(&self, usage: &mut BTreeMap<String, Usage>) {
        for (name, past) in std::mem::take(&mut *lock(&self.past)) {
            let now = usage.get(&name).copied();
            usage.insert(name, now.map_or(past, |now| together(past, now)));
        }
    }
}

/// What every port carried up to now, in the order of the networks.
pub(super) fn counters(switches: &[Switch]) -> Vec<BTreeMap<String, PortCounters>> {
    switches.iter().map(Switch::counters).collect()
}

/// What the ports of each member carried together.
pub(super) fn sums(networks: &[BTreeMap<String, PortCounters>]) -> BTreeMap<String, PortCounters> {
    let mut sums: BTreeMap<String, PortCounters> = BTreeMap::new();
    for (name, port) in networks.iter().flatten() {
        *sums.entry(name.clone()).or_default() += *port;
    }
    sums
}

fn not_crashed(name: &str) -> impl FnOnce() -> FleetError + '_ {
    || FleetError::NotCrashed {
        node: name.to_owned(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a machine has cost: a dead one shares no memory with others.
fn at_end(before: Usage, end: Usage) -> Usage {
    Usage {
        pss_bytes: before.pss_bytes,
        ..end
    }
}

/// What one machine and the one that took its place have cost; the proportional set size is the later's.
fn together(past: Usage, now: Usage) -> Usage {
    Usage {
        host_cpu_seconds: past.host_cpu_seconds + now.host_cpu_seconds,
        peak_rss_bytes: past.peak_rss_bytes.max(now.peak_rss_bytes),
        pss_bytes: now.pss_bytes,
        instructions: match (past.instructions, now.instructions) {
            (Some(past), Some(now)) => Some(past + now),
            // A member's machines are all counted, or none is.
            (past, now) => past.or(now),
        },
    }
}
