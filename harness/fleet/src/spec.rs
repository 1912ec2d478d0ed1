//! What a fleet is made of: valid, cloneable, decided.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use sanlab_image::Image;
use sanlab_plan::{Hardware, NetworkName, NicModel, Subnet};
use sanlab_vm::{AcceleratorWish, Attachment, MacAddress};

use crate::checkpoints::start_mode::StartMode;
use crate::error::FleetError;
use crate::host::need::Need;

/// Bytes of the largest IP packet, where a scenario does not choose.
///
/// Under TCG every packet costs its instructions in two kernels; four writers at once gain nothing beyond this size. dd
/// over the article's stripe on four nodes, TCG, two cores, one run each: four writers together 36 MiB/s at 9000, 46 at
/// 16000, 42 at 32000, 32 at 65000; one writer between 28 and 38 at each. An e1000 carries this size too.
pub const DEFAULT_MTU: u32 = 16_000;

/// What a QEMU takes at most beyond its guest's memory: translated code above all. Guests of 384 MiB that ran the storage
/// scenarios were up to 600 MB large, of 256 MiB 362 MiB, of 96 MiB that did nothing 127 MiB.
const MOST_OVERHEAD_MIB: u64 = 192;

/// What a QEMU takes beyond the memory of a guest that has so much, MiB: a small one runs less code.
pub fn overhead_mib(memory_mib: u64) -> u64 {
    (memory_mib / 2).min(MOST_OVERHEAD_MIB)
}

/// Everything about a fleet that is decided before it starts.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a choice of its own, and all of them can be made together"
)]
pub struct FleetSpec {
    /// What each member boots, by name.
    pub images: BTreeMap<String, Image>,
    /// What members are connected by, each a switch of its own; the first joins all of them.
    pub networks: Vec<NetworkSpec>,
    /// Accelerator.
    pub accelerator: AcceleratorWish,
    /// A folder with QEMU's programs (`qemu-system-x86_64`, `qemu-system-i386`), instead of those of the host.
    pub qemu: Option<PathBuf>,
    /// Whether the guests' instructions shall be counted, where that is possible: under TCG, and before QEMU 9.0 of members
    /// with one virtual CPU. It makes them a little slower, and changes nothing that a guest sees. Where it is not possible,
    /// [`EventKind::NotCounted`](sanlab_record::EventKind::NotCounted) says why.
    pub count_instructions: bool,
    /// Whether it takes what CPUs others leave it, instead of waiting for CPUs of its own: fleets that wait most of their time, side by
    /// side.
    pub shares_cpus: bool,
    /// A folder that outlives the fleet, for `NODE.console.log`, and for captures: `NODE.pcap` of the first network, `NODE.NETWORK.pcap`
    /// of another.
    pub logs: PathBuf,
    /// How members come to life.
    pub start_mode: StartMode,
    /// Whether what forked members write to their data disks outlives their machines, so that they can be restarted after a
    /// crash. It costs a copy of each disk's data at the fork. Those that were booted or cloned have disks that survive in
    /// any case.
    pub disks_survive: bool,
    /// Whether it can be saved whole at any moment ([`Fleet::save_whole`](crate::Fleet::save_whole)). That costs a copy of each disk's
    /// data at the fork, too.
    pub saveable: bool,
    /// Members whose data disks have a volatile write cache: when one has crashed, [`Fleet::lose_write_cache`](crate::Fleet::lose_write_cache) takes
    /// from its disk what was not flushed. It costs a log of all that is written, which is removed with the run, a copy of the disk's
    /// data at the fork and at each restart, and some speed of the disk.
    pub volatile_caches: Vec<String>,
    /// Disks that several members share.
    pub shared_disks: Vec<SharedDisk>,
    /// A script for the guest's shell that a template runs before it is saved: reads files that will be hot, loads what
    /// will be needed. May be empty.
    pub warm: String,
    /// Everybody who is known to the others: all have addresses and names from the start.
    pub members: Vec<NodeSpec>,
    /// Members that will never be there: they need no template and no share of the budget.
    pub absent: Vec<String>,
}

/// A disk that is attached to several members at once, after their own. It belongs to none of them: whoever crashes, it keeps all that
/// was written, and whoever restarts finds that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedDisk {
    /// The serial number by which guests find it, at most 20 bytes; no other disk has it.
    pub serial: String,
    /// Its size; its file takes only what is written.
    pub bytes: u64,
    /// How each member reaches it: one for each path.
    pub attachments: Vec<Attachment>,
    /// Whose it is, by name.
    pub members: Vec<String>,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSpec {
    /// Host name.
    pub name: String,
    /// Its place among the members, from 0: addresses and Ethernet addresses follow from it.
    pub number: u8,
    /// What its machine is made of.
    pub hardware: Hardware,
    /// Model of its network cards.
    pub nic: NicModel,
    /// The nice value of its QEMU once it is ready: before that, its deadlines hold for all members alike.
    pub nice: u8,
    /// Size of its data disk `/dev/vdb`, which takes only what is written; 0: it has none.
    pub disk_bytes: u64,
}

/// A network of a fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkSpec {
    /// What it is called: members find `NODE` on the first network by `NODE.local`, on another by `NODE.NETWORK`.
    pub name: String,
    /// Its addresses.
    pub subnet: Subnet,
    /// Bytes of the largest IP packet; a node whose card carries less gets less.
    pub mtu: u32,
    /// Members that it does not join: they have no card on it. Of the first network nobody.
    pub without: Vec<String>,
    /// Nodes whose traffic on it is written to a pcap file.
    pub capture: Vec<String>,
}

impl NetworkSpec {
    /// The only network of a fleet, for packets of so many bytes.
    pub fn main(mtu: u32) -> Self {
        Self {
            name: NetworkName::main().to_string(),
            subnet: Subnet::of_place(0),
            mtu,
            without: Vec::new(),
            capture: Vec::new(),
        }
    }

    /// Whether a member has a card on it.
    pub(crate) fn joins(&self, member: &NodeSpec) -> bool {
        !self.without.contains(&member.name)
    }

    /// A member's address on it.
    pub(crate) fn address(&self, member: &NodeSpec) -> Ipv4Addr {
        self.subnet.address_of(member.number)
    }

    /// What a member's card carries, bytes.
    pub(crate) fn mtu_of(&self, member: &NodeSpec) -> u32 {
        self.mtu.min(match member.nic {
            NicModel::VirtioNet => 65_535,
            // MAX_JUMBO_FRAME_SIZE (16128) less Ethernet header and checksum, in Linux' drivers/net/ethernet/intel/e1000.
            NicModel::E1000 => 16_110,
        })
    }
}

/// A network card of a member.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Card<'a> {
    /// Its place among the member's, from 0: it is the guest's `eth` of that number.
    pub(crate) number: usize,
    /// The place of its network among the fleet's.
    pub(crate) place: usize,
    pub(crate) network: &'a NetworkSpec,
}

impl Card<'_> {
    /// What the guest calls it.
    pub(crate) fn interface(&self) -> String {
        format!("eth{}", self.number)
    }

    /// The Ethernet address of a member's card: QEMU's prefix 52:54:00, `M` for this lab, the network's place and the member's
    /// number.
    pub(crate) fn mac(&self, member: &NodeSpec) -> MacAddress {
        let place = u8::try_from(self.place).unwrap_or(u8::MAX);
        MacAddress([0x52, 0x54, 0x00, 0x4d, place, member.number])
    }

    /// What a member's port on the network's switch writes its traffic to.
    pub(crate) fn capture_file(&self, member: &NodeSpec) -> String {
        match self.place {
            0 => format!("{}.pcap", member.name),
            _ => format!("{}.{}.pcap", member.name, self.network.name),
        }
    }
}

impl FleetSpec {
    /// The member of that name.
    pub(crate) fn member(&self, name: &str) -> Result<&NodeSpec, FleetError> {
        let member = self.members.iter().find(|member| member.name == name);
        member.ok_or_else(|| FleetError::UnknownMember {
            node: name.to_owned(),
        })
    }

    /// The member's network cards, in the order of the networks.
    pub(crate) fn cards(&self, member: &NodeSpec) -> Vec<Card<'_>> {
        let networks = self.networks.iter().enumerate();
        let joined = networks.filter(|(_, network)| network.joins(member));
        let card = |(number, (place, network))| Card {
            number,
            place,
            network,
        };
        joined.enumerate().map(card).collect()
    }

    /// The member's card on the network of that name.
    pub(crate) fn card(&self, member: &NodeSpec, network: &str) -> Result<Card<'_>, FleetError> {
        let mut cards = self.cards(member).into_iter();
        let found = cards.find(|card| card.network.name == network);
        found.ok_or_else(|| FleetError::NotOnNetwork {
            node: member.name.clone(),
            network: network.to_owned(),
        })
    }

    /// The place of the network of that name.
    pub(crate) fn network(&self, name: &str) -> Result<usize, FleetError> {
        let place = self
            .networks
            .iter()
            .position(|network| network.name == name);
        place.ok_or_else(|| FleetError::UnknownNetwork {
            network: name.to_owned(),
        })
    }

    /// What the member boots.
    pub(crate) fn image(&self, member: &NodeSpec) -> Result<&Image, FleetError> {
        let image = self.images.get(&member.name);
        image.ok_or_else(|| FleetError::NoImage {
            node: member.name.clone(),
            arch: member.hardware.arch,
        })
    }

    /// What all members together take of a host with so many CPUs.
    pub(crate) fn need(&self, cpus: u64) -> Need {
        let cpus = if self.shares_cpus { 0 } else { cpus };
        need(self.expected(), cpus)
    }

    /// Whether the data disk of the member of that name has a volatile write cache.
    pub(crate) fn has_volatile_cache(&self, name: &str) -> bool {
        self.volatile_caches.iter().any(|other| other == name)
    }

    /// The shared disks of the member of that name.
    pub(crate) fn shared_disks_of(&self, name: &str) -> impl Iterator<Item = &SharedDisk> {
        let disks = self.shared_disks.iter();
        disks.filter(move |disk| disk.members.iter().any(|member| member == name))
    }

    /// Bytes of the files that data disks and shared disks take together when they are full. What is logged of a disk counts as much again.
    pub(crate) fn disk_bytes(&self) -> u64 {
        let bytes = |member: &NodeSpec| {
            let logged = self.has_volatile_cache(&member.name);
            member.disk_bytes * if logged { 2 } else { 1 }
        };
        let shared: u64 = self.shared_disks.iter().map(|disk| disk.bytes).sum();
        self.expected().map(bytes).sum::<u64>() + shared
    }

    /// Those who are there at some time.
    pub(crate) fn expected(&self) -> impl Iterator<Item = &NodeSpec> {
        let is_expected = |member: &&NodeSpec| !self.absent.contains(&member.name);
        self.members.iter().filter(is_expected)
    }
}

/// What members together take of a host with so many CPUs. They may have more virtual CPUs than that, as long as they
/// have the host for themselves.
pub(crate) fn need<'a>(members: impl IntoIterator<Item = &'a NodeSpec>, cpus: u64) -> Need {
    let sum = members.into_iter().fold(Need::default(), |sum, member| {
        let memory_mib = member.hardware.memory.mib();
        Need {
            memory_mib: sum.memory_mib + memory_mib + overhead_mib(memory_mib),
            cpus: sum.cpus + u64::from(member.hardware.cpus),
        }
    });
    Need {
        cpus: sum.cpus.min(cpus),
        ..sum
    }
}
