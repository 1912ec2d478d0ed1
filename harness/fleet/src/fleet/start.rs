//! How a fleet begins, and who joins it later.

use std::collections::BTreeSet;
use std::path::Path;

use sanlab_record::EventKind;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::spawn_blocking;

use crate::checkpoints::start_mode::{SavedFleet, StartMode};
use crate::deadlines;
use crate::error::FleetError;
use crate::event::{FleetEvent, Listener};
use crate::fleet::Fleet;
use crate::fleet::members::{FleetResources, Members};
use crate::host::budget::Budget;
use crate::host::capacity;
use crate::host::need::WaitingFor;
use crate::host::process_group;
use crate::host::registry::Registry;
use crate::host::sweep::Swept;
use crate::network::{Switch, SwitchEvent};
use crate::nodes::boot;
use crate::nodes::emulator;
use crate::spec::{FleetSpec, NodeSpec};
use crate::templates::builder::{self, TemplateBuilder, Templates};

impl Fleet {
    /// Waits for room on this machine, and brings the members named in `at_start` to life side by side; they are ready
    /// when it returns. When one fails, all are ended. A future that is dropped ends what it has started, too.
    ///
    /// `keep`: a folder where the RAM and disks of all members lie, so that the fleet can be saved; they are not removed.
    pub async fn start(
        spec: FleetSpec,
        at_start: &[String],
        keep: Option<&Path>,
        listener: impl Into<Listener>,
    ) -> Result<Self, FleetError> {
        let starters = at_start
            .iter()
            .map(|name| spec.member(name).cloned())
            .collect::<Result<Vec<_>, _>>()?;
        let fleet = Self::prepare(spec, |_| true, keep, listener.into()).await?;
        let up = match fleet.make_shared_disks() {
            Ok(()) => fleet.bring_up(&starters).await,
            Err(error) => Err(error),
        };
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
        listener: impl Into<Listener>,
    ) -> Result<Self, FleetError> {
        // Those that may join or be restarted have templates.
        let restarted = spec.disks_survive;
        let cloned = |member: &NodeSpec| {
            restarted || saved.nodes.iter().all(|node| node.name != member.name)
        };
        let fleet = Self::prepare(spec, cloned, keep, listener.into()).await?;
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
        listener: Listener,
    ) -> Result<Self, FleetError> {
        for member in &spec.members {
            spec.image(member)?;
        }
        let (used, logs) = (spec.images.clone(), spec.logs.clone());
        // It waits where somebody removes one.
        let images = spawn_blocking(move || {
            fs_err::create_dir_all(logs)?;
            let mut images = Vec::new();
            let mut seen = BTreeSet::new();
            for image in used.values() {
                if seen.insert(&image.digest) {
                    images.extend(image.hold()?);
                }
            }
            Ok::<_, FleetError>(images)
        });
        let images = images.await.map_err(std::io::Error::from)??;
        // It may wait for a lock, and for the ends of a dead run's processes: off the runtime's threads.
        let (registry, swept) = spawn_blocking(Registry::open)
            .await
            .map_err(std::io::Error::from)??;
        let events = &listener.events;
        // Nobody need listen to events, here as below.
        let tell = |kind: EventKind| drop(events.send(kind.into()));
        for Swept { run, killed, left } in swept {
            let run = run.display().to_string();
            tell(match left {
                None => EventKind::Swept { run, killed },
                Some(left) => EventKind::NotSwept {
                    run,
                    reason: left.to_string(),
                },
            });
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
                    events,
                    patience: builder::PATIENCE,
                };
                template_builder.provide(&members).await?
            }
        };
        let budget = Budget::new(&registry);
        let run_dir = spawn_blocking(move || registry.create_run());
        let run_dir = run_dir.await.map_err(std::io::Error::from)??;
        boot::check_folder(&spec, &run_dir, tell)?;
        let mut need = spec.need(capacity::cpus());
        need.memory_mib += boot::files_in_memory_mib(&spec, run_dir.path(), keep, tell)?;
        let waiting = |waiting: &WaitingFor| {
            let what = waiting.to_string();
            tell(EventKind::Waiting { what });
        };
        let permit = budget
            .acquire(&run_dir, need, deadlines::ROOM, waiting)
            .await?;
        let group = process_group::open(&run_dir)?;
        let networks = spec.networks.iter();
        let switches = networks.map(|_| Switch::start(network_events(events.clone())));
        let switches = switches.collect::<Result<Vec<_>, _>>()?;
        let accelerators = emulators
            .iter()
            .map(|(arch, emulator)| (*arch, emulator.accelerator.clone()));
        Ok(Self {
            accelerators: accelerators.collect(),
            spec,
            emulators,
            templates,
            listener,
            members: Members::new(
                group,
                FleetResources {
                    switches,
                    stations: 0,
                    keep: keep.map(Path::to_owned),
                    _images: images,
                    _permit: permit,
                    run_dir,
                },
            ),
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
}

/// The switch's end of the fleet's events: only what is out of order is passed on.
fn network_events(events: UnboundedSender<FleetEvent>) -> UnboundedSender<SwitchEvent> {
    // Not bounded: a port tells once that it was connected, and once that it ended, whatever guests send; and they are taken
    // out at once.
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
