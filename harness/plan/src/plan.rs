//! What is decided: a scenario after every check, with no choice left open.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use crate::names::{
    CheckpointName, ClusterName, GuestPath, ImageName, NodeName, StepLabel, VolumeName,
};
use crate::units::ByteSize;

/// A checked scenario. Lists keep the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The scenario's own words for itself.
    pub name: String,
    /// The file's stem as an identifier, `hot_node_addition`: the trial's and the record folder's name.
    pub id: String,
    /// Where the text came from.
    pub source: PathBuf,
    /// Whether `cargo test` runs it by default.
    pub tier: Tier,
    /// Built from nothing in every run: never forked from a checkpoint, and keeps none.
    pub fresh: bool,
    /// Which manifest under `images/` the guests boot.
    pub image: ImageName,
    /// What the nodes are connected by.
    pub network: Network,
    /// Everybody who will ever take part; a node's place here is its number.
    pub nodes: Vec<Node>,
    /// The storage stack, lowest layer first.
    pub layers: Vec<Layer>,
    /// What is done once the layers are up.
    pub steps: Vec<Step>,
}

impl Plan {
    /// The nodes that boot before the first layer.
    pub fn at_start(&self) -> impl Iterator<Item = &Node> {
        self.nodes
            .iter()
            .filter(|node| node.joins == Joins::AtStart)
    }

    /// The node of that name.
    pub fn node(&self, name: &NodeName) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == *name)
    }
}

/// Whether a scenario runs by default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tier {
    /// In every test run.
    Default,
    /// Only with `--include-ignored`.
    Long {
        /// Why it is not run by default.
        reason: String,
    },
}

/// The one layer-2 network of a fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Largest IP packet in bytes; a node whose NIC carries less gets less. `None`: the lab's measured default.
    pub mtu: Option<u32>,
    /// Nodes whose switch port is written to a pcap file.
    pub capture: Vec<NodeName>,
}

/// One guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Host name in the guest and name in the record.
    pub name: NodeName,
    /// Place in the scenario, from 0: last octet of the address, MAC and OCFS2 node number follow from it.
    pub number: u8,
    /// Instruction set of kernel and user land.
    pub arch: Arch,
    /// Model of its network card.
    pub nic: NicModel,
    /// RAM.
    pub memory: ByteSize,
    /// Virtual CPUs.
    pub cpus: u8,
    /// When it boots.
    pub joins: Joins,
}

/// The address of the node of that number in the fleet's network, 10.77.0.0/24.
pub const fn node_address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, number.saturating_add(10))
}

/// Instruction set of a guest, in the words of scenario files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Arch {
    /// 32-bit i386, Debian's 686-pae kernel.
    X86,
    /// 64-bit x86, Debian's amd64 kernel.
    X86_64,
}

impl Arch {
    /// All of them, in the order of listings.
    pub const ALL: [Self; 2] = [Self::X86, Self::X86_64];

    /// The word used in scenario files and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::X86 => "x86",
            Self::X86_64 => "x86_64",
        }
    }

    /// Debian's name of the architecture.
    pub const fn debian(self) -> &'static str {
        match self {
            Self::X86 => "i386",
            Self::X86_64 => "amd64",
        }
    }
}

impl std::fmt::Display for Arch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// Network card that QEMU shows to the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NicModel {
    /// Paravirtual, carries MTUs up to 65535.
    VirtioNet,
    /// Intel 82540EM, emulated register by register; MTU at most 16110.
    E1000,
}

/// When a node boots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joins {
    /// Before the first layer.
    AtStart,
    /// In an `add_node` step.
    Later,
}

/// One storey of the storage stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layer {
    /// Every node that boots at the start exports its disk; every node imports all of them.
    Nbd(Nbd),
    /// Device-mapper stripe over what the layer below offers.
    Striped(Striped),
    /// Device-mapper concatenation of what the layer below offers.
    Linear(Linear),
    /// OCFS2's own cluster stack.
    O2cb(O2cb),
    /// The cluster file system.
    Ocfs2(Ocfs2),
}

/// Network block devices, all to all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nbd {
    /// Size of each exported disk.
    pub disk: ByteSize,
    /// TCP port of every server.
    pub port: u16,
    /// Which server program exports the disks.
    pub server: NbdServer,
    /// Block size that the client announces to the kernel.
    pub block_size: ByteSize,
}

/// NBD server program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NbdServer {
    /// `nbdkit file`: accepts at once.
    Nbdkit,
    /// The article's `nbd-server`: generates Diffie-Hellman parameters before it serves.
    NbdServer,
}

/// `dmsetup create` with the `striped` target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Striped {
    /// Name under `/dev/mapper`.
    pub name: VolumeName,
    /// Bytes on one device before the next one's turn; a power of two, at least 4 KiB.
    pub chunk: ByteSize,
}

/// `dmsetup create` with the `linear` target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linear {
    /// Name under `/dev/mapper`.
    pub name: VolumeName,
}

/// OCFS2's in-kernel membership: cluster.conf and the o2cb service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct O2cb {
    /// Name of the cluster.
    pub cluster: ClusterName,
    /// TCP port of o2net.
    pub port: u16,
    /// `O2CB_HEARTBEAT_THRESHOLD`: a node is dead after (this - 1) * 2 s without a heartbeat.
    pub heartbeat_threshold: u32,
    /// `O2CB_IDLE_TIMEOUT_MS`.
    pub idle_timeout: Duration,
    /// `O2CB_KEEPALIVE_DELAY_MS`.
    pub keepalive_delay: Duration,
    /// `O2CB_RECONNECT_DELAY_MS`.
    pub reconnect_delay: Duration,
}

/// mkfs.ocfs2 on the topmost device, and the mount on every node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ocfs2 {
    /// Nodes that can mount at the same time.
    pub slots: u8,
    /// Where it is mounted.
    pub at: GuestPath,
    /// `--fs-features`, as mkfs.ocfs2 spells them.
    pub features: Vec<String>,
    /// Size of each slot's journal.
    pub journal: ByteSize,
    /// Whether the layer mounts it on every node, or leaves that to `mount` steps.
    pub mount: bool,
}

/// One thing done to the running stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// How the record calls it; unique in a scenario.
    pub label: StepLabel,
    /// The host ends the wait for it after this long.
    pub deadline: Duration,
    /// After it the whole fleet is kept under this name; nothing runs in the background then.
    pub checkpoint: Option<CheckpointName>,
    /// What is done.
    pub action: Action,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Mounts the volume.
    Mount(Mount),
    /// Unmounts the volume.
    Unmount(Unmount),
    /// Writes with dd.
    Dd(Dd),
    /// Waits for a step that runs in the background.
    Wait(Wait),
    /// Boots a further node and brings it into the cluster.
    AddNode(AddNode),
    /// Compares what the nodes see.
    Check(Check),
    /// Runs a command.
    Run(Run),
}

/// Mounts the volume on nodes, side by side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where; never empty.
    pub on: Vec<NodeName>,
    /// The mount must fail and say this (a regular expression on what mount and the kernel said).
    pub fails: Option<String>,
}

/// Unmounts the volume on nodes, side by side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmount {
    /// Where; never empty.
    pub on: Vec<NodeName>,
}

/// dd on one node, or on several from a common start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dd {
    /// The writers; never empty.
    pub on: Vec<NodeName>,
    /// What is written.
    pub source: Source,
    /// File under the mount point; `{node}` stands for the writer's name.
    pub of: String,
    /// Block size.
    pub bs: ByteSize,
    /// Blocks.
    pub count: u64,
    /// dd's `oflag=`.
    pub oflag: Vec<String>,
    /// dd's `conv=`.
    pub conv: Vec<String>,
    /// Goes on while the next steps run, until a `wait` step of this step's label or the scenario's end.
    pub background: bool,
}

impl Dd {
    /// Bytes that one writer writes.
    pub fn bytes(&self) -> u64 {
        self.bs.bytes().saturating_mul(self.count)
    }
}

/// What dd reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// `/dev/zero`, as in the article.
    Zero,
    /// Random bytes made in the guest's memory before the start; different on every node and each time they are made.
    Random,
}

/// Waits for a background step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// The step's label.
    pub step: StepLabel,
}

/// Hot addition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddNode {
    /// A node that joins later.
    pub node: NodeName,
    /// Whether it mounts the volume as well.
    pub mount: bool,
}

/// An oracle over the fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The nodes asked; never empty.
    pub on: Vec<NodeName>,
    /// The same files with the same sha256 everywhere, and the acknowledged bytes of every dd before.
    pub same_tree: Option<GuestPath>,
    /// No oops, BUG, hung task or lockup in any kernel log.
    pub kernel_log: bool,
}

/// A command on nodes, side by side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Where; never empty.
    pub on: Vec<NodeName>,
    /// Given to the guest's shell; `{node}` stands for the node's name.
    pub command: String,
    /// The exit code that it must end with.
    pub exit: i32,
    /// A regular expression that standard output and error together must match.
    pub output: Option<String>,
}
