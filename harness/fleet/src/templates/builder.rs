//! Finds the templates that a fleet needs, and makes those that the store lacks. Without one that cannot be had, members
//! boot.
//!
//! The locks have an order, so that nobody waits in a circle: whoever calls may hold the claim of a checkpoint; then come
//! the claims of templates, by their keys; then a permit of the budget. Whoever has a permit waits for no lock of the
//! store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use sanlab_image::{Claim, Kind, Store};
use sanlab_plan::Arch;
use sanlab_record::EventKind;
use sanlab_vm::{Command, Machine, Output, ProcessGroup, Ram};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::deadlines;
use crate::error::{FleetError, machine_error};
use crate::event::FleetEvent;
use crate::host::budget::Budget;
use crate::host::capacity;
use crate::host::need::WaitingFor;
use crate::host::process_group;
use crate::host::registry::Registry;
use crate::host::run_dir::RunDir;
use crate::network::{PortSpec, Switch};
use crate::nodes::boot::{self, Disk, InitialState, StoragePolicy};
use crate::nodes::emulator::Emulator;
use crate::spec::{FleetSpec, NodeSpec, need};
use crate::templates::{self, Label, NAME, Template};

/// What is read before a template is saved is a few dozen MiB.
const PREPARE_DEADLINE: Duration = Duration::from_secs(120);
/// Who makes a template may wait for room before that, as long as a fleet does.
pub(crate) const PATIENCE: Duration = deadlines::ROOM;
/// How soon it is looked again whether a template is there that somebody else makes.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Templates by their members' names.
pub(crate) type Templates = BTreeMap<String, Arc<Template>>;

/// What templates are found with, and made.
pub(crate) struct TemplateBuilder<'a> {
    pub(crate) spec: &'a FleetSpec,
    pub(crate) emulators: &'a BTreeMap<Arch, Emulator>,
    pub(crate) store: &'a Store,
    pub(crate) registry: &'a Registry,
    pub(crate) events: &'a UnboundedSender<FleetEvent>,
    /// How long a template is awaited that somebody else makes.
    pub(crate) patience: Duration,
}

/// A template to be made.
struct Order {
    key: String,
    /// A member that it is for; the others are alike.
    member: NodeSpec,
    claim: Claim,
}

/// What machines that become templates stand on.
struct Bench {
    run_dir: RunDir,
    switch: Switch,
    group: ProcessGroup,
}

impl TemplateBuilder<'_> {
    /// The templates of these members, but for those that could not be had, which is told.
    pub(crate) async fn provide(&self, members: &[&NodeSpec]) -> Result<Templates, FleetError> {
        let mut keys = BTreeMap::new();
        let mut wanted = BTreeMap::new();
        for member in members {
            let key = self.key(member)?;
            keys.insert(member.name.clone(), key.clone());
            wanted.entry(key).or_insert_with(|| (*member).clone());
        }
        let mut found = BTreeMap::new();
        let mut missing = Vec::new();
        for (key, member) in wanted {
            match self.find(&key).await {
                Ok(Some(template)) => drop(found.insert(key, Arc::new(template))),
                Ok(None) => missing.push((key, member)),
                Err(error) => self.do_without(&member, &error),
            }
        }
        let mut orders = Vec::new();
        for (key, member) in missing {
            match self.claim(&key, &member).await {
                Ok(Ok(template)) => drop(found.insert(key, Arc::new(template))),
                Ok(Err(claim)) => orders.push(Order { key, member, claim }),
                Err(error) => self.do_without(&member, &error),
            }
        }
        for (key, template) in self.make_all(orders).await? {
            found.insert(key, Arc::new(template));
        }
        let each = keys.into_iter().filter_map(|(name, key)| {
            let template = found.get(&key)?;
            Some((name, Arc::clone(template)))
        });
        Ok(each.collect())
    }

    /// A guest that does not become a template may still run as a member; what is wrong with one that does not shows when
    /// it boots as that.
    fn do_without(&self, member: &NodeSpec, error: &FleetError) {
        let failed = EventKind::TemplateFailed {
            about: templates::about(member, self.spec),
            reason: error.to_string(),
        };
        let _ = self.events.send(failed.into());
    }

    fn key(&self, member: &NodeSpec) -> Result<String, FleetError> {
        let machine = boot::template_spec(member, self.spec, self.emulators)?;
        let qemu = self
            .emulators
            .get(&member.hardware.arch)
            .map_or("", |emulator| emulator.identity.as_str());
        let machine = sanlab_vm::fingerprint(&machine);
        templates::key(member, self.spec, qemu, &machine)
    }

    async fn find(&self, key: &str) -> Result<Option<Template>, FleetError> {
        let (store, key, events) = (self.store.clone(), key.to_owned(), self.events.clone());
        let find = spawn_blocking(move || find(&store, &key, &events));
        find.await.map_err(std::io::Error::from)?
    }

    /// Waits for whoever makes it already: either it is there then, or ours to make.
    async fn claim(
        &self,
        key: &str,
        member: &NodeSpec,
    ) -> Result<Result<Template, Claim>, FleetError> {
        let began = Instant::now();
        let mut told = false;
        loop {
            if let Some(claimed) = self.try_claim(key).await? {
                return Ok(claimed);
            }
            let about = templates::about(member, self.spec);
            if began.elapsed() >= self.patience {
                return Err(FleetError::TemplateAwaited {
                    about,
                    waited: self.patience,
                });
            }
            if !told {
                told = true;
                let what = format!("a template of {about}, which another run makes");
                let _ = self.events.send(EventKind::Waiting { what }.into());
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// `None`: somebody else makes it.
    async fn try_claim(&self, key: &str) -> Result<Option<Result<Template, Claim>>, FleetError> {
        let (store, key, events) = (self.store.clone(), key.to_owned(), self.events.clone());
        let claim = spawn_blocking(move || match store.try_claim(Kind::Template, &key)? {
            Some(claim) => Ok(Some(find(&store, &key, &events)?.ok_or(claim))),
            None => Ok(None),
        });
        claim.await.map_err(std::io::Error::from)?
    }

    /// Makes templates, as many side by side as there are CPUs. An error is about what they stand on.
    async fn make_all(&self, orders: Vec<Order>) -> Result<Vec<(String, Template)>, FleetError> {
        let cpus = capacity::cpus();
        let width = usize::try_from(cpus).unwrap_or(1).max(1);
        let mut made = Vec::new();
        let mut orders = orders.into_iter().peekable();
        while orders.peek().is_some() {
            let batch: Vec<Order> = orders.by_ref().take(width).collect();
            made.extend(self.make_batch(batch, cpus).await?);
        }
        Ok(made)
    }

    async fn make_batch(
        &self,
        batch: Vec<Order>,
        cpus: u64,
    ) -> Result<Vec<(String, Template)>, FleetError> {
        let registry = self.registry.clone();
        let run_dir = spawn_blocking(move || registry.create_run());
        let run_dir = run_dir.await.map_err(std::io::Error::from)??;
        let waiting = |waiting: &WaitingFor| {
            let what = waiting.to_string();
            let _ = self.events.send(EventKind::Waiting { what }.into());
        };
        let cpus = if self.spec.shares_cpus { 0 } else { cpus };
        let need = need(batch.iter().map(|order| &order.member), cpus);
        let permit = Budget::new(self.registry)
            .acquire(&run_dir, need, deadlines::ROOM, waiting)
            .await?;
        let (events, _) = unbounded_channel();
        let switch = Switch::start(events)?;
        let group = process_group::open(&run_dir)?;
        let bench = Bench {
            run_dir,
            switch,
            group,
        };
        let made = join_all(
            batch
                .iter()
                .enumerate()
                .map(|(number, order)| self.make(order, number, &bench)),
        )
        .await;
        let Bench {
            run_dir,
            switch,
            group,
        } = bench;
        drop(switch);
        let closed = process_group::close(&group).await;
        let removed = run_dir.remove().await;
        drop(permit);
        let mut templates = Vec::new();
        let mut all_made = true;
        let mut refused = None;
        for (order, made) in batch.iter().zip(made) {
            match made {
                Ok(made) => templates.push(made),
                // It would be refused by each member again.
                Err(error @ FleetError::Artefacts { .. }) => {
                    all_made = false;
                    refused = Some(error);
                }
                Err(error) => {
                    all_made = false;
                    self.do_without(&order.member, &error);
                }
            }
        }
        // A machine that was not ended in order is a survivor that the group has ended.
        if all_made {
            closed?;
        }
        removed?;
        match refused {
            Some(error) => Err(error),
            None => Ok(templates),
        }
    }

    /// Boots, prepares and saves one.
    async fn make(
        &self,
        order: &Order,
        number: usize,
        bench: &Bench,
    ) -> Result<(String, Template), FleetError> {
        let Order { key, member, claim } = order;
        let about = templates::about(member, self.spec);
        let failed = |doing| machine_error(&format!("{NAME} of {about}"), doing);
        let workspace = claim.workspace()?;
        let mut machine = boot::template_spec(member, self.spec, self.emulators)?;
        machine.name = format!("{NAME}{number}");
        machine.console_log = self
            .spec
            .logs
            .join(format!("{NAME}-{}.console.log", &key[..12.min(key.len())]));
        boot::assign_dir(&mut machine, &bench.run_dir)?;
        for (number, nic) in machine.nics.iter().enumerate() {
            bench.switch.add_port(&PortSpec {
                name: format!("{}.{number}", machine.name),
                socket: nic.socket.clone(),
                capture: None,
            })?;
        }
        // Nobody shares them with a template.
        for disk in self.spec.shared_disks_of(&member.name) {
            let file = boot::shared_file(&machine.dir, &disk.serial);
            boot::make_sparse(&file, disk.bytes)?;
            let drives = machine.drives.iter_mut();
            for drive in drives.filter(|drive| drive.serial == disk.serial) {
                drive.file.clone_from(&file);
            }
        }
        let nothing = InitialState {
            ram: None,
            disk: Disk::Empty,
        };
        let policy = StoragePolicy::default();
        let attached = boot::attach_storage(machine, member.disk_bytes, nothing, &policy)?;
        let mut machine = attached.machine;
        let ram = workspace.path().join(format!("{NAME}.ram"));
        let ram_bytes = machine.hardware.memory.bytes();
        boot::make_sparse(&ram, ram_bytes)?;
        machine.ram = Ram::Kept(ram);

        let starts = EventKind::TemplateStarted {
            about: about.clone(),
        };
        let _ = self.events.send(starts.into());
        let started = Instant::now();
        let machine = Machine::start(machine, &bench.group)
            .await
            .map_err(failed("start"))?;
        machine
            .wait_agent(deadlines::BOOT)
            .await
            .map_err(failed("boot"))?;
        let image = self.spec.image(member)?;
        let setup = &image.setup;
        if image.base.is_none() && !setup.is_empty() {
            let done = machine.exec(Command::script(setup), deadlines::SETUP).await;
            let done = done.and_then(Output::success);
            done.map_err(|source| FleetError::Artefacts {
                node: format!("{NAME} of {about}"),
                source: Box::new(source),
            })?;
        }
        let prepare = Command::script(templates::prepare(member, self.spec));
        let prepared = machine
            .exec(prepare, PREPARE_DEADLINE)
            .await
            .and_then(Output::success);
        prepared.map_err(|source| FleetError::Guest {
            node: format!("{NAME} of {about}"),
            source: Box::new(source),
        })?;
        machine.stop().await.map_err(failed("stop"))?;
        let state = workspace.path().join(format!("{NAME}.state"));
        let state = machine
            .save(&state, deadlines::SAVE)
            .await
            .map_err(failed("save"))?;
        machine
            .shutdown(deadlines::END)
            .await
            .map_err(failed("end"))?;
        let held = workspace.publish(&Label {
            about: about.clone(),
            ram_bytes,
            state,
        })?;
        let template = Template::new(held)?;
        let made = EventKind::TemplateMade {
            about,
            seconds: started.elapsed().as_secs_f64(),
            bytes: template.real_bytes()?,
        };
        let _ = self.events.send(made.into());
        Ok((key.clone(), template))
    }
}

fn find(
    store: &Store,
    key: &str,
    events: &UnboundedSender<FleetEvent>,
) -> Result<Option<Template>, FleetError> {
    Template::find(store, key, |reason| {
        let discarded = EventKind::Discarded {
            kind: Kind::Template.to_string(),
            key: key.to_owned(),
            reason,
        };
        let _ = events.send(discarded.into());
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use sanlab_image::{Image, Sizes, Wanted};
    use sanlab_vm::{Accelerator, AcceleratorChoice};

    use super::*;
    use crate::nodes::identity::tests::fleet;

    /// An image of which nothing is in a store.
    fn image(folder: &Path) -> Image {
        Image {
            arch: Arch::X86,
            digest: "00".to_owned(),
            kernel: folder.join("kernel"),
            initramfs: folder.join("initramfs"),
            root: folder.join("root"),
            kernel_release: String::new(),
            packages: Vec::new(),
            provides: Vec::new(),
            sizes: Sizes::default(),
            vermagic: None,
            wanted: Wanted::default(),
            layer: None,
            artefacts: Vec::new(),
            setup: String::new(),
            base: None,
        }
    }

    fn emulators() -> BTreeMap<Arch, Emulator> {
        let emulator = Emulator {
            accelerator: AcceleratorChoice {
                accelerator: Accelerator::Tcg,
                reason: String::new(),
            },
            program: "/bin/false".into(),
            version: String::new(),
            identity: String::new(),
            counter: None,
        };
        BTreeMap::from([(Arch::X86, emulator)])
    }

    /// What comes of a claim on a template that somebody else has claimed, and what is told meanwhile.
    async fn claimed(
        patience: Duration,
        given_up_after: Duration,
    ) -> (Result<Result<Template, Claim>, FleetError>, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(&folder.path().join("store")).unwrap();
        let (registry, _) = Registry::at(folder.path().join("runs")).unwrap();
        let spec = fleet();
        let (events, mut heard) = unbounded_channel();
        let template_builder = TemplateBuilder {
            spec: &spec,
            emulators: &BTreeMap::new(),
            store: &store,
            registry: &registry,
            events: &events,
            patience,
        };
        let other = store.try_claim(Kind::Template, "00aa").unwrap().unwrap();
        let other = tokio::spawn(async move {
            sleep(given_up_after).await;
            drop(other);
        });
        let claim = template_builder.claim("00aa", &spec.members[0]).await;
        other.abort();
        let mut told = Vec::new();
        while let Ok(event) = heard.try_recv() {
            told.push(event.to_string());
        }
        (claim, told)
    }

    const AWAITED: &str = "waits for a template of x86, 256 MiB, virtio-net, disk of 1024 MiB, \
        which another run makes";

    #[tokio::test]
    async fn a_template_that_cannot_be_made_is_told_and_done_without() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let store = Store::at(&path.join("store")).unwrap();
        let (registry, _) = Registry::at(path.join("runs")).unwrap();
        let mut spec = fleet();
        spec.logs = path.to_owned();
        for member in &spec.members {
            spec.images.insert(member.name.clone(), image(path));
        }
        let (events, mut heard) = unbounded_channel();
        let template_builder = TemplateBuilder {
            spec: &spec,
            emulators: &emulators(),
            store: &store,
            registry: &registry,
            events: &events,
            patience: PATIENCE,
        };
        // Two alike, and another.
        let members: Vec<_> = spec.members.iter().collect();
        let found = template_builder.provide(&members).await.unwrap();
        assert!(found.is_empty());
        assert_eq!(store.entries().unwrap().len(), 0);
        let mut told = Vec::new();
        while let Ok(event) = heard.try_recv() {
            if matches!(event.kind, EventKind::TemplateFailed { .. }) {
                // Which of them is made first hangs on their keys.
                let text = event.to_string();
                told.push(
                    text.replace("template0", "template")
                        .replace("template1", "template"),
                );
            }
        }
        told.sort();
        insta::assert_snapshot!(told.join("\n"));
    }

    #[test]
    fn what_no_boot_needs_is_in_no_template() {
        let key = |image: Image| {
            let mut spec = fleet();
            let member = spec.members[0].clone();
            spec.images.insert(member.name.clone(), image);
            let machine = boot::template_spec(&member, &spec, &emulators()).unwrap();
            let machine = sanlab_vm::fingerprint(&machine);
            templates::key(&member, &spec, "qemu", &machine).unwrap()
        };
        let plain = image(Path::new("/plain"));
        let with_artefacts = |base: Option<&Image>| Image {
            digest: "11".to_owned(),
            layer: Some("/other/artefacts.erofs".into()),
            setup: "true".to_owned(),
            base: base.map(|image| image.digest.clone()),
            ..image(Path::new("/other"))
        };
        assert_eq!(key(with_artefacts(Some(&plain))), key(plain.clone()));
        assert_ne!(key(with_artefacts(None)), key(plain));
    }

    #[tokio::test]
    async fn a_template_that_is_never_made_is_not_awaited_for_ever() {
        let (claim, told) = claimed(Duration::from_millis(250), PATIENCE).await;
        let error = claim.err().unwrap().to_string();
        let expected = "get the template of x86, 256 MiB, virtio-net, disk of 1024 MiB within 0.25 s: \
            another process still makes it";
        assert_eq!(error, expected);
        assert_eq!(told, [AWAITED]);
    }

    #[tokio::test]
    async fn what_another_gave_up_is_ours_to_make() {
        let (claim, told) = claimed(PATIENCE, Duration::from_millis(250)).await;
        assert!(claim.unwrap().is_err());
        assert_eq!(told, [AWAITED]);
    }
}
