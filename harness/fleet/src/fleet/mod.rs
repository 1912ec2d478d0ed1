//! Many machines that know each other. From the bottom up: who is there ([`members`]), how members come to life
//! ([`bring_up`]), how they crash and come back ([`crash`]), what is done to their network ([`faults`]), how all
//! are saved ([`save`], [`save_whole`]), and how a fleet begins ([`start`]).

mod bring_up;
mod crash;
pub(crate) mod faults;
mod members;
mod save;
pub(crate) mod save_whole;
mod shared_disks;
mod start;

use std::collections::BTreeMap;
use std::sync::Arc;

use sanlab_plan::Arch;
use sanlab_record::EventKind;
use sanlab_vm::{AcceleratorChoice, Usage};

use crate::error::FleetError;
use crate::event::{FleetEvent, Listener};
use crate::fleet::members::{FleetResources, Members};
use crate::host::process_group;
use crate::network::PortCounters;
use crate::nodes::cost::NodeCost;
use crate::nodes::emulator::Emulator;
use crate::nodes::node::Node;
use crate::spec::FleetSpec;
use crate::templates::TemplateUse;
use crate::templates::builder::Templates;

/// A running fleet. Dropping it without [`Fleet::shutdown`], as a panic does, kills what runs and removes the run's
/// folder, without a report.
pub struct Fleet {
    spec: FleetSpec,
    emulators: BTreeMap<Arch, Emulator>,
    accelerators: BTreeMap<Arch, AcceleratorChoice>,
    templates: Templates,
    listener: Listener,
    members: Members,
}

/// What was left to say when a fleet ended.
#[derive(Debug, Default)]
pub struct Teardown {
    /// What did not end as it should; the rest was ended all the same.
    pub errors: Vec<FleetError>,
    /// What each node cost the host, with what it cost before it was forked; the proportional set size is that before
    /// the first was ended.
    pub usage: BTreeMap<String, Usage>,
    /// What each node's switch ports carried together.
    pub ports: BTreeMap<String, PortCounters>,
    /// The same of each network that the fleet has, by its name.
    pub networks: BTreeMap<String, BTreeMap<String, PortCounters>>,
}

impl Fleet {
    /// A member that was started.
    pub fn node(&self, name: &str) -> Option<Arc<Node>> {
        self.members.node(name)
    }

    /// All members that were started, in the members' order.
    pub fn nodes(&self) -> Vec<Arc<Node>> {
        self.members.nodes()
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
        self.members.costs()
    }

    /// What every member's ports carried together up to now.
    pub fn ports(&self) -> BTreeMap<String, PortCounters> {
        self.members.ports()
    }

    /// Ends everything in reverse order, and does not stop at an error. A second call finds nothing to do.
    pub async fn shutdown(&self) -> Teardown {
        let mut teardown = Teardown::default();
        // First: a node that comes up now finds it gone, and is ended by its own `join`.
        let Some(FleetResources {
            switches,
            stations: _,
            keep: _,
            _images,
            _permit,
            run_dir,
        }) = self.members.take_resources()
        else {
            return teardown;
        };
        let (mut usage, errors) = self.members.end_all().await;
        teardown.errors = errors;
        for node in usage.keys() {
            let how = "ended".to_owned();
            self.tell_of(node, EventKind::Stopped { how });
        }
        self.members.add_past(&mut usage);
        teardown.usage = usage;
        let counters = members::counters(&switches);
        teardown.ports = members::sums(&counters);
        let names = self
            .spec
            .networks
            .iter()
            .map(|network| network.name.clone());
        teardown.networks = names.zip(counters).collect();
        drop(switches);
        if let Err(error) = process_group::close(self.members.group()).await {
            teardown.errors.push(error);
        }
        if let Err(error) = run_dir.remove().await {
            teardown.errors.push(error);
        }
        teardown
    }

    /// Nobody need listen.
    fn tell(&self, kind: EventKind) {
        let _ = self.listener.events.send(kind.into());
    }

    /// The same of a node.
    fn tell_of(&self, node: &str, kind: EventKind) {
        let _ = self.listener.events.send(FleetEvent::of(node, kind));
    }
}
