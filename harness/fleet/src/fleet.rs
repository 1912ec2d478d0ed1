//! Many machines that know each other: their start, who joins later, and their end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use sanlab_image::Held;
use sanlab_plan::Arch;
use sanlab_record::EventKind;
use sanlab_vm::{AcceleratorChoice, Drive, ProcessGroup, Usage};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::spawn_blocking;

use crate::checkpoints::start_mode::{SavedFleet, StartMode};
use crate::error::FleetError;
use crate::event::FleetEvent;
use crate::host::budget::{Budget, Permit};
use crate::host::locked::Swept;
use crate::host::need::WaitingFor;
use crate::host::registry::Registry;
use crate::host::run_dir::RunDir;
use crate::network::{PortCounters, Switch, SwitchEvent};
use crate::nodes::boot;
use crate::nodes::cost::NodeCost;
use crate::nodes::emulator::{self, Emulator};
use crate::nodes::node::Node;
use crate::spec::{FleetSpec, NodeSpec};
use crate::templates::TemplateUse;
use crate::templates::builder::{self, TemplateBuilder, Templates};

/// Other fleets may well run before this one.
pub(crate) const ROOM_DEADLINE: Duration = Duration::from_secs(3600);
/// From QEMU's start to the agent's first answer: 15 s for five guests under TCG on two cores, more on a busy host.
pub(crate) const BOOT_DEADLINE: Duration = Duration::from_secs(180);

/// A running fleet. Dropping it without [`Fleet::shutdown`], as a panic does, kills what runs and removes the run's
/// folder, without a report.
pub struct Fleet {
    pub(crate) spec: FleetSpec,
    pub(crate) emulators: BTreeMap<Arch, Emulator>,
    accelerators: BTreeMap<Arch, AcceleratorChoice>,
    pub(crate) templates: Templates,
    pub(crate) events: UnboundedSender<FleetEvent>,
    // From here on in the order of the end: machines, their group, what they stand on.
    nodes: Mutex<Vec<Arc<Node>>>,
    pub(crate) group: ProcessGroup,
    /// `None` once the fleet was shut down.
    resources: Mutex<Option<FleetResources>>,
    /// What members cost whose machines were ended to be forked, or crashed.
    past: Mutex<BTreeMap<String, Usage>>,
    /// What was told last of what members cost: there are moments at which a machine has left and is not yet in `past`.
    told: Mutex<BTreeMap<String, NodeCost>>,
    /// Members that crashed and are not back, with the disks that they left.
    crashed: Mutex<BTreeMap<String, Option<Drive>>>,
}

/// What the machines stand on.
pub(crate) struct FleetResources {
    pub(crate) switch: Switch,
    /// Where RAM and disks lie that shall be saved.
    pub(crate) keep: Option<PathBuf>,
    /// Images in use stay in the store; templates have their own hold.
    _images: Vec<Held>,
    _permit: Permit,
    pub(crate) run_dir: RunDir,
}

/// What was left to say when a fleet ended.
#[derive(Debug, Default)]
pub struct Teardown {
    /// What did not end as it should; the rest was ended all the same.
    pub errors: Vec<FleetError>,
    /// What each node cost the host, with what it cost before it was forked; the proportional set size is that before
    /// the first was ended.
    pub usage: BTreeMap<String, Usage>,
    /// What each node's switch port carried.
    pub ports: BTreeMap<String, PortCounters>,
}

impl Fleet {
    /// Waits for room on this machine, and brings the members named in `at_start` to life side by side; they are ready
    /// when it returns. When one fails, all are ended. A future that is dropped ends what it has started, too.
    ///
    /// `keep`: a folder where the RAM and disks of all members lie, so that the fleet can be saved; they are not removed.
    pub async fn start(
        spec: FleetSpec,
        at_start: &[String],
        keep: Option<&Path>,
        events: UnboundedSender<FleetEvent>,
    ) -> Result<Self, FleetError> {
        let starters = at_start
            .iter()
            .map(|name| spec.member(name).cloned())
            .collect::<Result<Vec<_>, _>>()?;
        let fleet = Self::prepare(spec, |_| true, keep, events).await?;
        let up = fleet.bring_up(&starters).await;
        fleet.unless(up).await
    }

    /// Waits for room on this machine, and lets a fleet go on where a saved one stood still; all members of then run and
    /// answer when it returns. `spec` must have the [`fingerprint`](crate::fingerprint) of the saved fleet.
    ///
    /// `folder` holds what [`Fleet::save`] wrote, is not written to, and must stay as long as the fleet lives; any number
    /// of fleets may be forked from it side by side. `keep`: as with [`Fleet::start`]; what was saved is copied there.
    pub async fn fork(
        spec: FleetSpec,
        saved: &SavedFleet,
        folder: &Path,
        keep: Option<&Path>,
        events: UnboundedSender<FleetEvent>,
    ) -> Result<Self, FleetError> {
        // Those that may join or be restarted have templates.
        let restarted = spec.disks_survive;
        let cloned = |member: &NodeSpec| {
            restarted || saved.nodes.iter().all(|node| node.name != member.name)
        };
        let fleet = Self::prepare(spec, cloned, keep, events).await?;
        let up = fleet.go_on(saved, folder).await;
        fleet.unless(up).await
    }

    /// Brings a member to life that was not there at the start; it is ready when this returns.
    pub async fn join(&self, name: &str) -> Result<(), FleetError> {
        let member = self.spec.member(name)?.clone();
        if self.node(name).is_some() {
            return Err(FleetError::AlreadyStarted {
                node: name.to_owned(),
            });
        }
        self.bring_up(&[member]).await
    }

    /// Everything but members. `cloned` says who may be brought to life from nothing or a template.
    async fn prepare(
        spec: FleetSpec,
        cloned: impl Fn(&NodeSpec) -> bool,
        keep: Option<&Path>,
        events: UnboundedSender<FleetEvent>,
    ) -> Result<Self, FleetError> {
        let mut images = Vec::new();
        for member in &spec.members {
            spec.image(member)?;
        }
        for image in spec.images.values() {
            images.extend(image.hold()?);
        }
        fs_err::create_dir_all(&spec.logs)?;
        // It may wait for a lock, and for the ends of a dead run's processes: off the runtime's threads.
        let (registry, swept) = spawn_blocking(Registry::open)
            .await
            .map_err(std::io::Error::from)??;
        // Nobody need listen to events, here as below.
        let tell = |kind: EventKind| drop(events.send(kind.into()));
        for Swept { run, killed } in swept {
            let run = run.display().to_string();
            tell(EventKind::Swept { run, killed });
        }
        let emulators = emulator::find(&spec).await?;
        for (reason, nodes) in emulator::not_counted(&spec, &emulators) {
            tell(EventKind::NotCounted { nodes, reason });
        }
        let templates = match &spec.start_mode {
            StartMode::Boot => Templates::new(),
            StartMode::Clone(store) => {
                let members: Vec<_> = spec.expected().filter(|one| cloned(one)).collect();
                let template_builder = TemplateBuilder {
                    spec: &spec,
                    emulators: &emulators,
                    store,
                    registry: &registry,
                    events: &events,
                    patience: builder::PATIENCE,
                };
                template_builder.provide(&members).await?
            }
        };
        let budget = Budget::new(&registry);
        let run_dir = spawn_blocking(move || registry.create_run());
        let run_dir = run_dir.await.map_err(std::io::Error::from)??;
        boot::check_folder(&spec, &run_dir, tell)?;
        let need = spec.need(budget.capacity()?.cpus);
        let waiting = |waiting: &WaitingFor| {
            let what = waiting.to_string();
            tell(EventKind::Waiting { what });
        };
        let permit = budget
            .acquire(&run_dir, need, ROOM_DEADLINE, waiting)
            .await?;
        let group = process_group(&run_dir)?;
        let switch = Switch::start(network_events(events.clone()))?;
        let accelerators = emulators
            .iter()
            .map(|(arch, emulator)| (*arch, emulator.accelerator.clone()));
        Ok(Self {
            accelerators: accelerators.collect(),
            spec,
            emulators,
            templates,
            events,
            nodes: Mutex::default(),
            group,
            resources: Mutex::new(Some(FleetResources {
                switch,
                keep: keep.map(Path::to_owned),
                _images: images,
                _permit: permit,
                run_dir,
            })),
            past: Mutex::default(),
            told: Mutex::default(),
            crashed: Mutex::default(),
        })
    }

    /// The fleet, unless its members did not come up.
    async fn unless(self, up: Result<(), FleetError>) -> Result<Self, FleetError> {
        match up {
            Ok(()) => Ok(self),
            Err(error) => {
                // The error that came first tells more than what follows from it.
                self.shutdown().await;
                Err(error)
            }
        }
    }

    /// A member that was started.
    pub fn node(&self, name: &str) -> Option<Arc<Node>> {
        self.nodes().into_iter().find(|node| node.name() == name)
    }

    /// All members that were started, in the members' order.
    pub fn nodes(&self) -> Vec<Arc<Node>> {
        self.lock_nodes().clone()
    }

    /// What executes the guests' instructions, and why.
    pub fn accelerators(&self) -> &BTreeMap<Arch, AcceleratorChoice> {
        &self.accelerators
    }

    /// As QEMU prints it.
    pub fn qemu_version(&self) -> &str {
        self.emulators
            .values()
            .last()
            .map_or("", |emulator| &emulator.version)
    }

    /// The templates of those members that are or would be cloned, each once.
    pub fn templates(&self) -> Vec<TemplateUse> {
        let mut used: Vec<_> = self.templates.values().map(|one| one.used()).collect();
        used.sort_by(|one, other| one.key.cmp(&other.key));
        used.dedup();
        used
    }

    /// What it was made from.
    pub fn spec(&self) -> &FleetSpec {
        &self.spec
    }

    /// What every member that is or was there has cost up to now, over all its machines: a crash, a restart and a fork in its
    /// place take nothing away. It never falls: subtract two readings. It takes tens of microseconds a member.
    pub fn costs(&self) -> BTreeMap<String, NodeCost> {
        // Held all the time: of two readings at once, the later one tells more.
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let past = self.lock_past().clone();
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

    /// What every port carried up to now.
    pub fn ports(&self) -> BTreeMap<String, PortCounters> {
        self.with_resources(|resources| Ok(resources.switch.counters()))
            .unwrap_or_default()
    }

    /// Ends everything in reverse order, and does not stop at an error. A second call finds nothing to do.
    pub async fn shutdown(&self) -> Teardown {
        let mut teardown = Teardown::default();
        // First: a node that comes up now finds it gone, and is ended by its own `join`.
        let resources = self
            .resources
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(FleetResources {
            switch,
            keep: _,
            _images,
            _permit,
            run_dir,
        }) = resources
        else {
            return teardown;
        };
        let (mut usage, errors) = self.end_nodes().await;
        teardown.errors = errors;
        for node in usage.keys() {
            let how = "ended".to_owned();
            self.tell_of(node, EventKind::Stopped { how });
        }
        for (name, past) in std::mem::take(&mut *self.lock_past()) {
            let now = usage.get(&name).copied();
            usage.insert(name, now.map_or(past, |now| together(past, now)));
        }
        teardown.usage = usage;
        teardown.ports = switch.counters();
        drop(switch);
        if let Err(error) = close(&self.group).await {
            teardown.errors.push(error);
        }
        if let Err(error) = run_dir.remove() {
            teardown.errors.push(error);
        }
        teardown
    }

    /// Ends all members, the last first; says what they have cost, and what did not end as it should.
    async fn end_nodes(&self) -> (BTreeMap<String, Usage>, Vec<FleetError>) {
        let nodes = std::mem::take(&mut *self.lock_nodes());
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
    pub(crate) async fn retire(&self) -> Result<(), FleetError> {
        let (usage, errors) = self.end_nodes().await;
        for (name, usage) in usage {
            self.remember(&name, usage, usage);
        }
        errors.into_iter().next().map_or(Ok(()), Err)
    }

    /// Notes what a machine has cost that is gone while its fleet lives: a moment before its end, and then.
    pub(crate) fn remember(&self, name: &str, before: Usage, end: Usage) {
        let mut past = self.lock_past();
        let sum = past.entry(name.to_owned()).or_default();
        *sum = together(*sum, at_end(before, end));
    }

    fn lock_past(&self) -> MutexGuard<'_, BTreeMap<String, Usage>> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn lock_crashed(&self) -> MutexGuard<'_, BTreeMap<String, Option<Drive>>> {
        self.crashed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn lock_nodes(&self) -> MutexGuard<'_, Vec<Arc<Node>>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something short with what the machines stand on, unless the fleet has ended.
    pub(crate) fn with_resources<T>(
        &self,
        work: impl FnOnce(&mut FleetResources) -> Result<T, FleetError>,
    ) -> Result<T, FleetError> {
        let mut resources = self
            .resources
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        work(resources.as_mut().ok_or(FleetError::Ended)?)
    }
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

/// The group of a run's machines.
pub(crate) fn process_group(run_dir: &RunDir) -> Result<ProcessGroup, FleetError> {
    ProcessGroup::new(run_dir.path()).map_err(|source| FleetError::Processes {
        doing: "make",
        source: Box::new(source),
    })
}

/// The orderly end of a group whose machines were ended.
pub(crate) async fn close(group: &ProcessGroup) -> Result<(), FleetError> {
    group.close().await.map_err(|source| FleetError::Processes {
        doing: "end",
        source: Box::new(source),
    })
}

/// The switch's end of the fleet's events: only what is out of order is passed on.
fn network_events(events: UnboundedSender<FleetEvent>) -> UnboundedSender<SwitchEvent> {
    let (sender, mut receiver) = unbounded_channel();
    tokio::spawn(async move {
        while let Some(event) = receiver.recv().await {
            if !matches!(
                event,
                SwitchEvent::Connected { .. } | SwitchEvent::Disconnected { .. }
            ) {
                let reason = event.to_string();
                let _ = events.send(EventKind::NetworkFailed { reason }.into());
            }
        }
    });
    sender
}
