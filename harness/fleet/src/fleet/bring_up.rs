//! Members come to life: they boot, are cloned from templates, or go on from what was saved.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::future::try_join_all;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use sanlab_record::EventKind;
use sanlab_vm::{Command, Machine, Output, VmError};
use tokio::net::UnixStream;
use tokio::task::spawn_blocking;

use crate::checkpoints::saved;
use crate::checkpoints::start_mode::{SavedFleet, SavedNode, StartMode};
use crate::deadlines;
use crate::error::{FleetError, machine_error};
use crate::fleet::Fleet;
use crate::host::capacity::at_once;
use crate::network::{Mac, PortSpec, Station, Switch, Target};
use crate::nodes::boot::{self, Attached, DataDisk, Disk, InitialState, Kept, StoragePolicy};
use crate::nodes::identity;
use crate::nodes::node::Node;
use crate::spec::NodeSpec;

/// The identity script takes a tenth of a second.
const IDENTITY_DEADLINE: Duration = Duration::from_secs(30);
/// An e1000 finds its link two seconds after it was brought up.
const REACH_DEADLINE: Duration = Duration::from_secs(30);
impl Fleet {
    /// Brings members to life side by side, and sees that the network reaches them.
    pub(super) async fn bring_up(&self, members: &[NodeSpec]) -> Result<(), FleetError> {
        let up = members
            .iter()
            .map(|member| self.start_node(member, Disk::Empty))
            .collect::<Vec<_>>();
        let up = stream::iter(up).buffer_unordered(at_once());
        let mut up: Vec<(Arc<Node>, Instant)> = up.try_collect().await?;
        up.sort_by_key(|(node, _)| node.number());
        self.check_reachability(up).await
    }

    /// Makes members nodes that have come to life, each since that moment, and sees that packets go to and from each, unless
    /// there is nobody else.
    pub(super) async fn check_reachability(
        &self,
        up: Vec<(Arc<Node>, Instant)>,
    ) -> Result<(), FleetError> {
        let newcomers: Vec<_> = up.iter().map(|(node, _)| Arc::clone(node)).collect();
        self.members.register(&newcomers)?;
        if self.spec.expected().count() < 2 {
            for (node, since) in up {
                let seconds = since.elapsed().as_secs_f64();
                self.tell_of(node.name(), EventKind::Ready { seconds });
            }
            return yield_cpus(&newcomers);
        }
        let cards = |node: &Node| self.spec.cards(node.spec()).len();
        // Of each, the cards that have not been reached.
        let left: BTreeMap<_, _> = up
            .iter()
            .map(|(node, since)| (node.name(), (AtomicUsize::new(cards(node)), *since)))
            .collect();
        let answered = |target: &Target| {
            if let Some((cards, since)) = left.get(target.name.as_str())
                && cards.fetch_sub(1, Ordering::Relaxed) == 1
            {
                let seconds = since.elapsed().as_secs_f64();
                self.tell_of(&target.name, EventKind::Ready { seconds });
            }
        };
        let sockets = self.members.with_resources(|resources| {
            resources.stations += 1;
            let number = resources.stations;
            let open = |(place, switch): (usize, &Switch)| {
                let name = format!("lab{number}-{place}.sock");
                let socket = resources.run_dir.socket(&name)?;
                switch.add_station(&socket).map(|()| socket)
            };
            let switches = resources.switches.iter().enumerate();
            switches.map(open).collect::<Result<Vec<_>, _>>()
        })?;
        let networks = sockets.iter().enumerate();
        let reached =
            networks.map(|(place, socket)| self.reach(place, socket, &newcomers, &answered));
        try_join_all(reached).await?;
        yield_cpus(&newcomers)
    }

    /// Sees that packets of full size go to and from nodes on the network of that place.
    async fn reach(
        &self,
        place: usize,
        socket: &Path,
        nodes: &[Arc<Node>],
        answered: impl Fn(&Target),
    ) -> Result<(), FleetError> {
        let Some(network) = self.spec.networks.get(place) else {
            return Ok(());
        };
        let target = |node: &Arc<Node>| {
            let member = node.spec();
            let cards = self.spec.cards(member);
            let card = cards.iter().find(|card| card.place == place)?;
            Some(Target {
                name: member.name.clone(),
                mac: Mac(card.mac(member).0),
                address: network.address(member),
                bytes: u16::try_from(network.mtu_of(member)).unwrap_or(u16::MAX),
            })
        };
        let targets: Vec<_> = nodes.iter().filter_map(target).collect();
        let stream = UnixStream::connect(socket).await;
        let stream = stream.map_err(|source| FleetError::Port {
            port: Switch::STATION.to_owned(),
            path: socket.to_owned(),
            source,
        })?;
        let number = u8::try_from(place).unwrap_or(u8::MAX);
        let mut station = Station::new(stream, number, network.subnet);
        let end = Instant::now() + REACH_DEADLINE;
        let silent = station.reach(&targets, end.into(), answered).await;
        let silent = silent.map_err(|source| FleetError::Switch { source })?;
        silent.first().map_or(Ok(()), |target| {
            Err(FleetError::NotReady {
                node: target.name.clone(),
                what: format!("network {} carries packets of full size", network.name),
                deadline: REACH_DEADLINE,
                last_seen: format!(
                    "no answer to {} bytes from {}",
                    target.bytes, target.address
                ),
            })
        })
    }

    /// Lets saved members go on: loaded side by side, and resumed at one instant.
    pub(super) async fn go_on(&self, saved: &SavedFleet, folder: &Path) -> Result<(), FleetError> {
        let started = Instant::now();
        self.fork_shared_disks(&saved.shared_disks, folder).await?;
        let loads = saved.nodes.iter().map(|node| self.load(node, folder));
        let nodes = try_join_all(loads).await?;
        try_join_all(nodes.iter().map(|node| node.go_on())).await?;
        let seconds = started.elapsed().as_secs_f64();
        self.tell(EventKind::Resumed { seconds });
        self.members.register(&nodes)?;
        let whole = saved.nodes.iter().any(|node| node.state.whole);
        let ready = nodes.iter().map(|node| async move {
            let clock = identity::clock_script(now());
            match self.make_ready(node, clock).await {
                Ok(()) => {
                    let seconds = started.elapsed().as_secs_f64();
                    self.tell_of(node.name(), EventKind::Answered { seconds });
                }
                // It may have hung when its fleet was saved: that is what somebody wants to look at.
                Err(error) if whole => {
                    let message = format!("failed to {error}");
                    self.tell_of(node.name(), EventKind::Failed { message });
                }
                Err(error) => return Err(error),
            }
            Ok::<_, FleetError>(())
        });
        let ready = stream::iter(ready.collect::<Vec<_>>()).buffer_unordered(at_once());
        ready.try_collect::<Vec<()>>().await?;
        yield_cpus(&nodes)
    }

    /// Boots or clones one member and gives it its identity.
    pub(super) async fn start_node(
        &self,
        member: &NodeSpec,
        disk: Disk,
    ) -> Result<(Arc<Node>, Instant), FleetError> {
        let name = &member.name;
        let failed = |doing| machine_error(name, doing);
        let template = self.templates.get(name);
        let started = Instant::now();
        let booted = template.is_none();
        let node = if let Some(template) = template {
            self.tell_of(name, EventKind::Cloning);
            let ram = Some(template.ram());
            let initial = InitialState { ram, disk };
            let Attached { machine, disk } = self.attach_storage(member, initial).await?;
            let state = template.state();
            let loaded =
                Machine::load(machine, &state, template.saved(), self.members.group()).await;
            let machine = match loaded.map_err(|error| saved::load_error(name, error)) {
                Err(error @ FleetError::Damaged { .. }) => {
                    // It was looked at before. The next fleet makes another.
                    let template = Arc::clone(template);
                    let discarded = spawn_blocking(move || template.discard()).await;
                    discarded.map_err(std::io::Error::from)??;
                    return Err(error);
                }
                other => other?,
            };
            let node = self.node_of(member, machine, disk);
            node.go_on().await?;
            node
        } else {
            if matches!(self.spec.start_mode, StartMode::Clone(_)) {
                // Its template could not be had. A checkpoint's key says that members were cloned.
                self.keep_no_longer()?;
            }
            self.tell_of(name, EventKind::Booting);
            let initial = InitialState { ram: None, disk };
            let Attached { machine, disk } = self.attach_storage(member, initial).await?;
            let machine = Machine::start(machine, self.members.group()).await;
            self.node_of(member, machine.map_err(failed("start"))?, disk)
        };
        let answered = node.machine().wait_agent(deadlines::BOOT).await;
        answered.map_err(|source| match source {
            VmError::Guest(_) if self.boots_own_code(member, booted) => FleetError::BootUnderTest {
                node: name.clone(),
                source: Box::new(source),
            },
            source => failed("boot")(source),
        })?;
        let seconds = started.elapsed().as_secs_f64();
        self.tell_of(name, EventKind::Answered { seconds });
        if booted || self.spec.image(member)?.base.is_some() {
            self.set_up(&node).await?;
        }
        let identity = identity::script(member, &self.spec, Some(now()));
        self.make_ready(&node, identity).await?;
        Ok((node, started))
    }

    /// Loads one saved member, which stands still.
    async fn load(&self, node: &SavedNode, folder: &Path) -> Result<Arc<Node>, FleetError> {
        let member = self.spec.member(&node.name)?;
        let files = Kept::new(folder, &node.name);
        saved::verify_length(&files.state(), node.state.bytes)?;
        let ram = (!node.state.whole).then(|| files.ram());
        if let Some(ram) = &ram {
            saved::verify_length(ram, node.ram_bytes)?;
        }
        if member.disk_bytes > 0 {
            saved::verify_length(&files.disk(), node.disk_bytes)?;
        }
        self.tell_of(&node.name, EventKind::Forking);
        let initial = InitialState {
            ram,
            disk: Disk::Saved(files.disk()),
        };
        let Attached { machine, disk } = self.attach_storage(member, initial).await?;
        let loaded =
            Machine::load(machine, &files.state(), &node.state, self.members.group()).await;
        let machine = loaded.map_err(|error| saved::load_error(&node.name, error))?;
        Ok(self.node_of(member, machine, disk))
    }

    fn node_of(&self, member: &NodeSpec, machine: Machine, disk: Option<DataDisk>) -> Arc<Node> {
        Arc::new(Node::new(member.clone(), machine, disk, &self.listener))
    }

    /// Everything that must exist before a member's QEMU: its folder, memory, disk and switch port.
    async fn attach_storage(
        &self,
        member: &NodeSpec,
        initial: InitialState,
    ) -> Result<Attached, FleetError> {
        let mut machine = boot::base_spec(member, &self.spec, &self.emulators)?;
        let keep = self.members.with_resources(|resources| {
            boot::assign_dir(&mut machine, &resources.run_dir)?;
            boot::count(&mut machine, member, &self.emulators);
            for (card, nic) in self.spec.cards(member).iter().zip(&machine.nics) {
                let Some(switch) = resources.switches.get(card.place) else {
                    continue;
                };
                // A member that is forked again, or restarted, has its port: QEMU's new connection takes the old one's place.
                if switch.counters().contains_key(&member.name) {
                    continue;
                }
                let capture = card.network.capture.contains(&member.name);
                let capture = capture.then(|| self.spec.logs.join(card.capture_file(member)));
                switch.add_port(&PortSpec {
                    name: member.name.clone(),
                    socket: nic.socket.clone(),
                    capture,
                })?;
            }
            Ok(resources.keep.clone())
        })?;
        let disk_bytes = member.disk_bytes;
        let policy = StoragePolicy {
            keep,
            disks_survive: self.spec.disks_survive || self.spec.saveable,
            volatile_cache: self.spec.has_volatile_cache(&member.name),
        };
        // Hundreds of MiB may be copied.
        let attached =
            spawn_blocking(move || boot::attach_storage(machine, disk_bytes, initial, &policy));
        attached.await.map_err(std::io::Error::from)?
    }

    /// Whether a member's kernel, or modules that it has when it boots, are the user's own.
    fn boots_own_code(&self, member: &NodeSpec, booted: bool) -> bool {
        let image = self.spec.image(member);
        image.is_ok_and(|image| {
            let kinds = image.artefacts.iter().map(|laid| laid.kind.as_str());
            let mut own = kinds.filter(|kind| matches!(*kind, "kernel" | "module"));
            (booted || image.base.is_none()) && own.next().is_some()
        })
    }

    /// Takes artefacts into use: not those that a guest boots with and its template has taken already.
    async fn set_up(&self, node: &Node) -> Result<(), FleetError> {
        let setup = &self.spec.image(node.spec())?.setup;
        if setup.is_empty() {
            return Ok(());
        }
        let done = node.exec(Command::script(setup), deadlines::SETUP).await;
        let done = done.and_then(Output::success);
        done.map(drop).map_err(|source| FleetError::Artefacts {
            node: node.name().to_owned(),
            source: Box::new(source),
        })
    }

    /// Runs a script that a member needs before anybody uses it.
    async fn make_ready(&self, node: &Node, script: String) -> Result<(), FleetError> {
        let given = node
            .exec(Command::script(script), IDENTITY_DEADLINE)
            .await
            .and_then(Output::success);
        given.map(drop).map_err(|source| FleetError::Guest {
            node: node.name().to_owned(),
            source: Box::new(source),
        })
    }
}

/// Has members that are ready leave the host's CPUs to others, if they shall.
fn yield_cpus(nodes: &[Arc<Node>]) -> Result<(), FleetError> {
    for node in nodes {
        let nice = node.spec().nice;
        if nice > 0 {
            node.machine().set_nice(nice).map_err(|error| {
                let what = format!("set the nice value of {}'s QEMU: {error}", node.name());
                std::io::Error::new(error.kind(), what)
            })?;
        }
    }
    Ok(())
}

/// The host's time since 1970.
fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}
