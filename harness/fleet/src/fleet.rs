//! Many machines that know each other: their start, who joins later, and their end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use sanlab_plan::Arch;
use sanlab_vm::{
    AcceleratorChoice, Command, Machine, Output, ProcessGroup, Usage, choose_accelerator,
    qemu_version,
};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::boot;
use crate::budget::{Budget, Permit};
use crate::error::FleetError;
use crate::event::FleetEvent;
use crate::identity;
use crate::network::{PortCounters, PortSpec, Switch, SwitchEvent};
use crate::node::Node;
use crate::readiness::Condition;
use crate::registry::Registry;
use crate::run_dir::RunDir;
use crate::spec::{FleetSpec, NodeSpec};

/// Other fleets may well run before this one.
const ROOM_DEADLINE: Duration = Duration::from_secs(3600);
/// From QEMU's start to the agent's first answer: 15 s for five guests under TCG on two cores, more on a busy host.
const BOOT_DEADLINE: Duration = Duration::from_secs(180);
/// The identity script takes a tenth of a second.
const IDENTITY_DEADLINE: Duration = Duration::from_secs(30);
/// An e1000 finds its link two seconds after it was brought up.
const REACH_DEADLINE: Duration = Duration::from_secs(30);
const REACH_INTERVAL: Duration = Duration::from_millis(100);

/// A running fleet. Dropping it without [`Fleet::shutdown`], as a panic does, kills what runs and removes the run's
/// folder, without a report.
pub struct Fleet {
    spec: FleetSpec,
    accelerators: BTreeMap<Arch, AcceleratorChoice>,
    qemu_version: String,
    events: UnboundedSender<FleetEvent>,
    // From here on in the order of the end: machines, their group, what they stand on.
    nodes: Mutex<Vec<Arc<Node>>>,
    group: ProcessGroup,
    /// `None` once the fleet was shut down.
    ground: Mutex<Option<Ground>>,
}

/// What the machines stand on.
struct Ground {
    switch: Switch,
    _permit: Permit,
    run_dir: RunDir,
}

/// What was left to say when a fleet ended.
#[derive(Debug, Default)]
pub struct Teardown {
    /// What did not end as it should; the rest was ended all the same.
    pub errors: Vec<FleetError>,
    /// What each node cost the host; the proportional set size is that before the first was ended.
    pub usage: BTreeMap<String, Usage>,
    /// What each node's switch port carried.
    pub ports: BTreeMap<String, PortCounters>,
}

impl Fleet {
    /// Waits for room on this machine, and boots the members named in `at_start` side by side; they are ready when it
    /// returns. When one fails, all are ended. A future that is dropped ends what it has started, too.
    pub async fn start(
        spec: FleetSpec,
        at_start: &[String],
        events: UnboundedSender<FleetEvent>,
    ) -> Result<Self, FleetError> {
        for member in &spec.members {
            spec.image(member)?;
        }
        let starters = at_start
            .iter()
            .map(|name| spec.member(name).cloned())
            .collect::<Result<Vec<_>, _>>()?;
        fs_err::create_dir_all(&spec.logs)?;

        // It may wait for a lock, and for the ends of a dead run's processes: off the runtime's threads.
        let prepare = tokio::task::spawn_blocking(|| {
            let (registry, swept) = Registry::open()?;
            let run_dir = registry.create_run()?;
            Ok::<_, FleetError>((registry, swept, run_dir))
        });
        let (registry, swept, run_dir) = prepare.await.map_err(std::io::Error::from)??;
        // Nobody need listen to events, here as below.
        let tell = |event| drop(events.send(event));
        swept.into_iter().map(FleetEvent::Swept).for_each(tell);
        boot::check_folder(&spec, &run_dir, tell)?;
        let budget = Budget::new(&registry);
        let need = spec.need(budget.capacity()?.cpus);
        let waiting = |waiting: &_| tell(FleetEvent::Waiting(Clone::clone(waiting)));
        let permit = budget
            .acquire(&run_dir, need, ROOM_DEADLINE, waiting)
            .await?;

        let mut accelerators = BTreeMap::new();
        let mut version = String::new();
        let archs: BTreeSet<Arch> = spec.members.iter().map(|member| member.arch).collect();
        for arch in archs {
            let failed = |source| FleetError::Accelerator {
                arch,
                source: Box::new(source),
            };
            let choice = choose_accelerator(spec.accelerator, boot::vm_arch(arch))
                .await
                .map_err(failed)?;
            accelerators.insert(arch, choice);
            version = qemu_version(boot::vm_arch(arch)).await.map_err(failed)?;
        }
        let group = ProcessGroup::new(run_dir.path());
        let group = group.map_err(|source| FleetError::Processes {
            doing: "make",
            source: Box::new(source),
        })?;
        let switch = Switch::start(network_events(events.clone()))?;
        let fleet = Self {
            spec,
            accelerators,
            qemu_version: version,
            events,
            nodes: Mutex::default(),
            group,
            ground: Mutex::new(Some(Ground {
                switch,
                _permit: permit,
                run_dir,
            })),
        };
        match fleet.boot_all(&starters).await {
            Ok(()) => Ok(fleet),
            Err(error) => {
                // The error that came first tells more than what follows from it.
                fleet.shutdown().await;
                Err(error)
            }
        }
    }

    /// Boots a member that was not there at the start; it is ready when this returns.
    pub async fn join(&self, name: &str) -> Result<(), FleetError> {
        let member = self.spec.member(name)?.clone();
        if self.node(name).is_some() {
            return Err(FleetError::AlreadyStarted {
                node: name.to_owned(),
            });
        }
        self.boot_all(&[member]).await
    }

    /// A member that was started.
    pub fn node(&self, name: &str) -> Option<Arc<Node>> {
        self.nodes().into_iter().find(|node| node.name() == name)
    }

    /// All members that were started, in the members' order.
    pub fn nodes(&self) -> Vec<Arc<Node>> {
        self.nodes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// What executes the guests' instructions, and why.
    pub fn accelerators(&self) -> &BTreeMap<Arch, AcceleratorChoice> {
        &self.accelerators
    }

    /// As QEMU prints it.
    pub fn qemu_version(&self) -> &str {
        &self.qemu_version
    }

    /// What it was made from.
    pub fn spec(&self) -> &FleetSpec {
        &self.spec
    }

    /// What every port carried up to now.
    pub fn ports(&self) -> BTreeMap<String, PortCounters> {
        let ground = self.ground.lock().unwrap_or_else(PoisonError::into_inner);
        ground
            .as_ref()
            .map(|ground| ground.switch.counters())
            .unwrap_or_default()
    }

    /// Ends everything in reverse order, and does not stop at an error. A second call finds nothing to do.
    pub async fn shutdown(&self) -> Teardown {
        let mut teardown = Teardown::default();
        // First: a node that is booting now finds it gone, and is ended by its own `join`.
        let ground = self
            .ground
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(Ground {
            switch,
            _permit,
            run_dir,
        }) = ground
        else {
            return teardown;
        };
        let nodes = std::mem::take(&mut *self.nodes.lock().unwrap_or_else(PoisonError::into_inner));
        for node in &nodes {
            teardown.usage.insert(node.name().to_owned(), node.usage());
        }
        for node in nodes.iter().rev() {
            match node.end().await {
                Ok(report) => {
                    let usage = teardown.usage.entry(node.name().to_owned()).or_default();
                    *usage = Usage {
                        pss_bytes: usage.pss_bytes,
                        ..report.usage
                    };
                }
                Err(error) => teardown.errors.push(error),
            }
            let _ = self.events.send(FleetEvent::Stopped {
                node: node.name().to_owned(),
            });
        }
        teardown.ports = switch.counters();
        drop(switch);
        if let Err(source) = self.group.close().await {
            teardown.errors.push(FleetError::Processes {
                doing: "end",
                source: Box::new(source),
            });
        }
        if let Err(error) = run_dir.remove() {
            teardown.errors.push(error);
        }
        teardown
    }

    /// Boots members side by side, makes them known to each other, and sees that they are.
    async fn boot_all(&self, members: &[NodeSpec]) -> Result<(), FleetError> {
        let booted = try_join_all(members.iter().map(|member| self.boot(member))).await?;
        let (newcomers, started): (Vec<_>, Vec<_>) = booted.into_iter().unzip();
        let newcomers: Vec<Arc<Node>> = newcomers;
        let there = {
            let ground = self.ground.lock().unwrap_or_else(PoisonError::into_inner);
            if ground.is_none() {
                return Err(FleetError::Ended);
            }
            let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
            let before = nodes.clone();
            nodes.extend(newcomers.iter().cloned());
            nodes.sort_by_key(|node| node.number());
            before
        };
        // Each pair once: everybody tries those who were there before, and those before it in this list.
        try_join_all(
            newcomers
                .iter()
                .zip(started)
                .enumerate()
                .map(|(index, (node, started))| {
                    let others = there
                        .iter()
                        .chain(&newcomers[..index])
                        .map(|node| node.spec())
                        .collect::<Vec<_>>();
                    self.reach(node, others, started)
                }),
        )
        .await?;
        Ok(())
    }

    /// Boots one member and gives it its identity.
    async fn boot(&self, member: &NodeSpec) -> Result<(Arc<Node>, Instant), FleetError> {
        let name = &member.name;
        let failed = |doing| {
            move |source| FleetError::Machine {
                node: name.clone(),
                doing,
                source: Box::new(source),
            }
        };
        let machine_spec = self.prepare(member)?;
        let _ = self.events.send(FleetEvent::Booting { node: name.clone() });
        let started = Instant::now();
        let machine = Machine::start(machine_spec, &self.group)
            .await
            .map_err(failed("start"))?;
        let node = Arc::new(Node::new(member.clone(), machine, self.events.clone()));
        node.machine()
            .wait_agent(BOOT_DEADLINE)
            .await
            .map_err(failed("boot"))?;
        let seconds = started.elapsed().as_secs_f64();
        let _ = self.events.send(FleetEvent::Answered {
            node: name.clone(),
            seconds,
        });
        let identity = Command::script(identity::script(member, &self.spec));
        let given = node
            .exec(identity, IDENTITY_DEADLINE)
            .await
            .and_then(Output::success);
        given.map_err(|source| FleetError::Guest {
            node: name.clone(),
            source: Box::new(source),
        })?;
        Ok((node, started))
    }

    /// Everything that must exist before a member's QEMU: its folder, disk and switch port.
    fn prepare(&self, member: &NodeSpec) -> Result<sanlab_vm::MachineSpec, FleetError> {
        let ground = self.ground.lock().unwrap_or_else(PoisonError::into_inner);
        let ground = ground.as_ref().ok_or(FleetError::Ended)?;
        let machine = boot::machine_spec(member, &self.spec, &self.accelerators, &ground.run_dir)?;
        for nic in &machine.nics {
            let capture = self.spec.capture.contains(&member.name);
            let capture = capture.then(|| self.spec.logs.join(format!("{}.pcap", member.name)));
            ground.switch.add_port(&PortSpec {
                name: member.name.clone(),
                socket: nic.socket.clone(),
                capture,
            })?;
        }
        Ok(machine)
    }

    /// Sees that packets of full size go between a node and others.
    async fn reach(
        &self,
        node: &Node,
        others: Vec<&NodeSpec>,
        started: Instant,
    ) -> Result<(), FleetError> {
        let condition = Condition {
            what: "the other nodes answer".to_owned(),
            script: identity::reach_script(node.spec(), &others, &self.spec),
            deadline: REACH_DEADLINE,
            interval: REACH_INTERVAL,
        };
        if !others.is_empty() {
            node.wait_for(&condition).await?;
        }
        let seconds = started.elapsed().as_secs_f64();
        let _ = self.events.send(FleetEvent::Ready {
            node: node.name().to_owned(),
            seconds,
        });
        Ok(())
    }
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
                let _ = events.send(FleetEvent::Network(event));
            }
        }
    });
    sender
}
