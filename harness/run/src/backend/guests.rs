//! The real guests: what the engine asks, done by a fleet.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sanlab_fleet::{
    CacheDraw, Command, ConsoleLine, Fleet, FleetError, FleetEvent, FleetSpec, GuestEvent, Image,
    Impaired, Impairment, Listener, Node, PowerLoss, Printed, Store,
};
use sanlab_plan::{CrashKind, ImageName, NetworkName, NodeName, Plan};
use sanlab_record::{AcceleratorUse, ArtefactUse, Cost, EventKind, ImageUse, NodeUse, Origin};
use tokio::sync::mpsc::{Receiver, UnboundedSender, channel, unbounded_channel};
use tokio::sync::{Mutex as AsyncMutex, OnceCell};

use crate::backend::fleet_spec::fleet_spec;
use crate::backend::usage::{bytes_on_disk, use_of};
use crate::backend::{
    CONSOLE_LINES, Costs, Ended, FleetBackend, Keeping, LINES, Line, Notice, Pending, Saving,
    StartPoint, Started, Teardown,
};
use crate::checkpoint::saved::{self, Saved};
use crate::checkpoint::session::CheckpointSession;
use crate::checkpoint::{Checkpoint, CheckpointMeta};
use crate::failure::Cause;
use crate::{Enclosure, Environment, Failure};

/// The last lines of consoles, by node.
type Tails = BTreeMap<String, VecDeque<String>>;

/// The guests of one run.
pub(crate) struct Guests {
    pub(crate) spec: FleetSpec,
    at_start: Vec<String>,
    store: Store,
    scenario: String,
    /// What the fleet goes on from, in place of anything else.
    saved: Option<Saved>,
    session: AsyncMutex<Option<CheckpointSession>>,
    fleet: OnceCell<Fleet>,
    /// Ended on purpose: that they do not answer is none of the lab's faults.
    down: Mutex<BTreeSet<NodeName>>,
    /// The last lines of each console.
    tails: Arc<Mutex<Tails>>,
    notices: UnboundedSender<Notice>,
}

impl Guests {
    /// Boots nothing yet.
    pub(crate) fn new(
        plan: &Plan,
        environment: &Environment,
        notices: UnboundedSender<Notice>,
    ) -> Self {
        let spec = fleet_spec(plan, environment);
        let at_start = plan.at_start().map(|node| node.name.to_string()).collect();
        Self {
            spec,
            at_start,
            store: environment.store.clone(),
            scenario: plan.id.clone(),
            saved: environment.options.saved.clone(),
            session: AsyncMutex::default(),
            fleet: OnceCell::new(),
            down: Mutex::default(),
            tails: Arc::default(),
            notices,
        }
    }

    /// What executes the guests' instructions; empty before the start.
    pub(crate) fn accelerators(&self) -> BTreeMap<String, AcceleratorUse> {
        let chosen = self.fleet.get().into_iter().flat_map(Fleet::accelerators);
        chosen
            .map(|(arch, choice)| {
                let used = AcceleratorUse {
                    name: choice.accelerator.to_string(),
                    reason: choice.reason.clone(),
                };
                (arch.to_string(), used)
            })
            .collect()
    }

    /// As QEMU prints it; empty before the start.
    pub(crate) fn qemu_version(&self) -> String {
        self.fleet
            .get()
            .map(Fleet::qemu_version)
            .unwrap_or_default()
            .to_owned()
    }

    /// What is booted: by architecture, or by nodes where those of one architecture boot different images.
    pub(crate) fn images(&self, plan: &Plan) -> BTreeMap<String, ImageUse> {
        let mut found: Vec<(&Image, &ImageName, Vec<&str>)> = Vec::new();
        for node in &plan.nodes {
            let Some(image) = self.spec.images.get(node.name.as_str()) else {
                continue;
            };
            match found
                .iter_mut()
                .find(|(one, ..)| one.digest == image.digest)
            {
                Some((.., nodes)) => nodes.push(node.name.as_str()),
                None => found.push((image, plan.image_of(node), vec![node.name.as_str()])),
            }
        }
        let is_alone = |image: &Image| {
            let others = found.iter().filter(|(other, ..)| other.arch == image.arch);
            others.count() == 1
        };
        let used = found.iter().map(|(image, name, nodes)| {
            let whose = if is_alone(image) {
                image.arch.to_string()
            } else {
                nodes.join(" ")
            };
            let artefacts = image.artefacts.iter().map(|laid| ArtefactUse {
                kind: laid.kind.clone(),
                name: laid.name.clone(),
                sha256: laid.sha256.clone(),
            });
            let used = ImageUse {
                name: name.to_string(),
                digest: image.digest.clone(),
                kernel_release: image.kernel_release.clone(),
                artefacts: artefacts.collect(),
            };
            (whose, used)
        });
        used.collect()
    }

    /// The nodes that are there, in the plan's order.
    pub(crate) fn nodes(&self) -> Vec<Arc<Node>> {
        self.fleet.get().map(Fleet::nodes).unwrap_or_default()
    }

    /// Bytes of the first network's largest IP packet.
    pub(crate) fn mtu(&self) -> u32 {
        self.spec.networks.first().map_or(0, |network| network.mtu)
    }

    fn down(&self) -> MutexGuard<'_, BTreeSet<NodeName>> {
        self.down.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The fleet, once it is started.
    pub(crate) fn fleet(&self) -> Option<&Fleet> {
        self.fleet.get()
    }

    fn running(&self) -> Result<&Fleet, Failure> {
        self.fleet()
            .ok_or_else(|| Failure::internal("the fleet was not started"))
    }

    /// RAM of all who may be kept.
    fn ram_bytes(&self) -> u64 {
        let members = self.spec.members.iter();
        members
            .filter(|member| !self.spec.absent.contains(&member.name))
            .map(|member| member.hardware.memory.bytes())
            .sum()
    }

    /// Passes on the events of the fleet and the lines of its consoles.
    fn listener(&self) -> Listener {
        // They are passed on at once.
        let (events, mut fleet_events) = unbounded_channel::<FleetEvent>();
        let notices = self.notices.clone();
        tokio::spawn(async move {
            while let Some(event) = fleet_events.recv().await {
                let _ = notices.send(Notice::Event(event));
            }
        });
        let (notices, tails) = (self.notices.clone(), Arc::clone(&self.tails));
        Listener::new(events, move |node, line: ConsoleLine| {
            if !line.dump || line.trouble.is_some() {
                let mut tails = tails.lock().unwrap_or_else(PoisonError::into_inner);
                let tail = tails.entry(node.to_owned()).or_default();
                if tail.len() == CONSOLE_LINES {
                    tail.pop_front();
                }
                tail.push_back(line.text.clone());
            }
            let ConsoleLine {
                at,
                dump,
                text: line,
                room,
                ..
            } = line;
            let node = node.to_owned();
            let notice = if dump {
                Notice::Dump {
                    node,
                    at,
                    line,
                    room,
                }
            } else {
                Notice::Console {
                    node,
                    at,
                    line,
                    room,
                }
            };
            // The engine may have ended.
            let _ = notices.send(notice);
        })
    }

    async fn run(
        &self,
        node: &NodeName,
        command: Command,
        deadline: Duration,
    ) -> Result<Ended, Failure> {
        let machine = self.running()?.node(node.as_str());
        let is_down = || self.down().contains(node);
        let down = |failure| Cause::NodeDown {
            node: node.clone(),
            why: None,
            failure,
        };
        let Some(machine) = machine else {
            return Err(if is_down() {
                down(None).into()
            } else {
                Failure::internal(format!("{node} was not started"))
            });
        };
        let output = machine.exec(command, deadline).await;
        let output = output.map_err(|error| {
            if is_down() {
                down(Some(error.into())).into()
            } else {
                Failure::from(error)
            }
        })?;
        let printed = Printed {
            stdout: output.stdout,
            stderr: output.stderr,
            cut: output.cut,
        };
        Ok(Ended::new(node, output.status, printed))
    }
}

impl FleetBackend for Guests {
    fn look<'a>(
        &'a self,
        checkpoints: &'a [Checkpoint],
    ) -> Pending<'a, Result<StartPoint, Failure>> {
        Box::pin(async move {
            if let Some(saved) = &self.saved {
                return Ok(saved.start_point());
            }
            if checkpoints.is_empty() {
                return Ok(StartPoint::Nothing);
            }
            let mut session = self.session.lock().await;
            let session = match &mut *session {
                Some(session) => session,
                none @ None => {
                    let fleet = sanlab_fleet::fingerprint(&self.spec).await?;
                    let (store, scenario) = (self.store.clone(), &self.scenario);
                    let new = CheckpointSession::new(
                        store,
                        scenario,
                        &fleet,
                        self.ram_bytes(),
                        checkpoints,
                    );
                    none.insert(new)
                }
            };
            let tell = |kind: EventKind| drop(self.notices.send(Notice::Event(kind.into())));
            session.look(tell).await
        })
    }

    fn start(&self) -> Pending<'_, Result<Started, Failure>> {
        Box::pin(async {
            let mut session = self.session.lock().await;
            let keep = session.as_ref().and_then(CheckpointSession::folder);
            let base = session.as_ref().and_then(CheckpointSession::base);
            let base = base.or(self.saved.as_ref().map(Saved::base));
            let start = async || {
                let (spec, listener) = (self.spec.clone(), self.listener());
                match base {
                    Some((saved, folder)) => {
                        Fleet::fork(spec, saved, folder, keep.as_deref(), listener).await
                    }
                    None => Fleet::start(spec, &self.at_start, keep.as_deref(), listener).await,
                }
            };
            let fleet = match self.fleet.get_or_try_init(start).await {
                Ok(fleet) => fleet,
                Err(error @ FleetError::Damaged { .. })
                    if base.is_some() && self.saved.is_none() =>
                {
                    let key = match &mut *session {
                        Some(session) => session.discard().await?,
                        None => String::new(),
                    };
                    let reason = error.to_string();
                    return Ok(Started::Discarded { key, reason });
                }
                Err(error) => return Err(error.into()),
            };
            Ok(Started::Ready {
                origin: origin(fleet),
            })
        })
    }

    fn keep<'a>(
        &'a self,
        checkpoint: &'a Checkpoint,
        meta: &'a CheckpointMeta,
    ) -> Pending<'a, Result<Keeping, Failure>> {
        Box::pin(async move {
            let not_kept = |reason: String| Ok(Keeping::NotKept { reason });
            let fleet = self.running()?;
            let mut session = self.session.lock().await;
            let Some(session) = &mut *session else {
                return not_kept("nothing is kept in this run".to_owned());
            };
            if let Err(reason) = session.can_keep(checkpoint) {
                return not_kept(reason);
            }
            let began = Instant::now();
            // When it fails, the guests go on.
            let saved = match fleet.save().await {
                Ok(saved) => saved,
                Err(error) => return not_kept(error.to_string()),
            };
            let seconds = began.elapsed().as_secs_f64();
            let key = match session.publish(saved, meta.clone()).await {
                Ok(key) => key,
                Err(failure) => {
                    fleet.keep_no_longer()?;
                    fleet.resume().await?;
                    return not_kept(failure.to_string());
                }
            };
            let keep = session.folder();
            let Some((saved, folder)) = session.base() else {
                let text = format!("the checkpoint {key} is not there");
                return Err(Failure::internal(text));
            };
            let bytes = bytes_on_disk(folder).await?;
            fleet.refork(saved, folder, keep.as_deref()).await?;
            session.tidy().await?;
            Ok(Keeping::Kept {
                key,
                seconds,
                bytes,
            })
        })
    }

    fn save<'a>(
        &'a self,
        folder: &'a Path,
        meta: CheckpointMeta,
        enclosure: &'a Enclosure,
        deadline: Duration,
    ) -> Pending<'a, Result<Saving, Failure>> {
        Box::pin(
            async move { saved::save(self.running()?, folder, meta, enclosure, deadline).await },
        )
    }

    fn join<'a>(&'a self, node: &'a NodeName) -> Pending<'a, Result<(), Failure>> {
        Box::pin(async move {
            self.running()?.join(node.as_str()).await?;
            Ok(())
        })
    }

    fn crash<'a>(&'a self, node: &'a NodeName, how: CrashKind) -> Pending<'a, Result<(), Failure>> {
        Box::pin(async move {
            self.down().insert(node.clone());
            let crashed = self.running()?.crash(node.as_str(), how).await;
            crashed?;
            Ok(())
        })
    }

    fn lose_write_cache<'a>(
        &'a self,
        node: &'a NodeName,
        draw: CacheDraw,
    ) -> Pending<'a, Result<Option<PowerLoss>, Failure>> {
        Box::pin(async move {
            let lost = self.running()?.lose_write_cache(node.as_str(), draw);
            Ok(lost.await?)
        })
    }

    fn restart<'a>(&'a self, node: &'a NodeName) -> Pending<'a, Result<(), Failure>> {
        Box::pin(async move {
            let back = self.running()?.restart(node.as_str()).await;
            back?;
            self.down().remove(node);
            Ok(())
        })
    }

    fn impair(
        &self,
        networks: &[NetworkName],
        seed: u64,
        impairments: &[Impairment],
    ) -> Result<Impaired, Failure> {
        let networks: Vec<String> = networks.iter().map(ToString::to_string).collect();
        Ok(self.running()?.impair(&networks, seed, impairments)?)
    }

    fn restore(&self, impaired: &Impaired) -> Result<(), Failure> {
        Ok(self.running()?.restore(impaired)?)
    }

    fn set_link<'a>(
        &'a self,
        node: &'a NodeName,
        network: &'a NetworkName,
        up: bool,
    ) -> Pending<'a, Result<(), Failure>> {
        Box::pin(async move {
            let fleet = self.running()?;
            Ok(fleet.set_link(node.as_str(), network.as_str(), up).await?)
        })
    }

    fn pause<'a>(&'a self, node: &'a NodeName) -> Pending<'a, Result<(), Failure>> {
        Box::pin(async move { Ok(self.running()?.pause_one(node.as_str()).await?) })
    }

    fn resume<'a>(&'a self, node: &'a NodeName) -> Pending<'a, Result<(), Failure>> {
        Box::pin(async move { Ok(self.running()?.resume_one(node.as_str()).await?) })
    }

    fn guest_events(&self, node: &NodeName) -> Result<Receiver<Line>, Failure> {
        let node = self.running()?.node(node.as_str());
        let node = node.ok_or_else(|| Failure::internal("the node was not started"))?;
        let mut lines = node.machine().guest_events();
        let (sender, receiver) = channel(LINES);
        tokio::spawn(async move {
            while let Some(GuestEvent { at, text, .. }) = lines.recv().await {
                let at = at.into();
                if sender.send(Line { at, text }).await.is_err() {
                    return;
                }
            }
        });
        Ok(receiver)
    }

    fn exec<'a>(
        &'a self,
        node: &'a NodeName,
        script: &'a str,
        deadline: Duration,
    ) -> Pending<'a, Result<Ended, Failure>> {
        Box::pin(self.run(node, Command::script(script), deadline))
    }

    fn command<'a>(
        &'a self,
        node: &'a NodeName,
        command: &'a str,
        deadline: Duration,
    ) -> Pending<'a, Result<Ended, Failure>> {
        Box::pin(self.run(node, Command::shell(command), deadline))
    }

    fn examined<'a>(&'a self, node: &'a NodeName) -> Pending<'a, Option<String>> {
        Box::pin(async move {
            let node = self.fleet.get()?.node(node.as_str())?;
            let examination = node.machine().examined().await?;
            Some(examination.report().to_owned())
        })
    }

    fn vmcore<'a>(
        &'a self,
        node: &'a NodeName,
        to: &'a Path,
    ) -> Pending<'a, Option<Result<u64, Failure>>> {
        Box::pin(async move {
            let guest = self.fleet.get()?.node(node.as_str())?;
            let written = guest.vmcore(to).await?;
            Some(written.map_err(|error| Failure::from(error).on(node)))
        })
    }

    fn costs(&self) -> Costs {
        let costs = self.fleet.get().map(Fleet::costs).unwrap_or_default();
        let cost = costs.into_iter().map(|(node, cost)| {
            let cost = Cost {
                instructions: cost.instructions,
                host_cpu_seconds: cost.host_cpu_seconds,
                sent_bytes: cost.port.sent_bytes,
                received_bytes: cost.port.received_bytes,
            };
            (node, cost)
        });
        cost.collect()
    }

    fn console_tails(&self) -> BTreeMap<String, Vec<String>> {
        let tails = self.tails.lock().unwrap_or_else(PoisonError::into_inner);
        let tails = tails.iter();
        tails
            .map(|(node, lines)| (node.clone(), lines.iter().cloned().collect()))
            .collect()
    }

    fn end(&self) -> Pending<'_, Teardown> {
        Box::pin(async {
            let left = match self.fleet.get() {
                Some(fleet) => fleet.shutdown().await,
                None => sanlab_fleet::Teardown::default(),
            };
            let session = self.session.lock().await.take();
            let ended = match session {
                Some(session) => session.end().await.err(),
                None => None,
            };
            let nodes = left.usage.iter().filter_map(|(name, usage)| {
                Some((name.clone(), use_of(&self.spec, name, usage, &left)?))
            });
            let nodes: BTreeMap<String, NodeUse> = nodes.collect();
            Teardown {
                nodes,
                errors: left
                    .errors
                    .into_iter()
                    .map(Failure::from)
                    .chain(ended)
                    .collect(),
            }
        })
    }
}

/// What a fleet's nodes were made from.
fn origin(fleet: &Fleet) -> Origin {
    let oldest = fleet.templates().into_iter().min_by_key(|used| used.made);
    oldest.map_or(Origin::Built, |oldest| Origin::Cloned {
        key: oldest.key,
        age_seconds: oldest.made.elapsed().unwrap_or_default().as_secs_f64(),
    })
}
