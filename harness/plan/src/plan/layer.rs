//! The storage stack of a plan: its layers, and where they stand.

use std::time::Duration;

use super::device::Device;
use crate::names::{ClusterName, GuestPath, NodeName, ResourceName, VolumeName};
use crate::units::ByteSize;

/// A layer and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storey {
    /// Every node that ever has it, those that join later too; in the order of their numbers, never empty.
    pub on: Vec<NodeName>,
    /// What stands there.
    pub layer: Layer,
}

/// One storey of the storage stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layer {
    /// Every node that boots at the start exports its disk; every node imports all of them.
    Nbd(Nbd),
    /// A cluster of corosync: who is a member.
    Membership(Membership),
    /// A disk that two nodes hold a copy of each.
    Drbd(Drbd),
    /// Network block devices of GNBD, from servers to clients.
    Gnbd(Gnbd),
    /// One device for all paths to the same disk.
    Multipath(Multipath),
    /// Linux software RAID over what the layer below offers.
    Md(Md),
    /// Device-mapper stripe over what the layer below offers.
    Striped(Striped),
    /// Device-mapper concatenation of what the layer below offers.
    Linear(Linear),
    /// OCFS2's own cluster stack.
    O2cb(O2cb),
    /// The cluster file system.
    Ocfs2(Ocfs2),
}

impl Layer {
    /// Its key in a scenario file.
    pub const fn kind(&self) -> LayerKind {
        match self {
            Self::Nbd(_) => LayerKind::Nbd,
            Self::Membership(_) => LayerKind::Membership,
            Self::Drbd(_) => LayerKind::Drbd,
            Self::Gnbd(_) => LayerKind::Gnbd,
            Self::Multipath(_) => LayerKind::Multipath,
            Self::Md(_) => LayerKind::Md,
            Self::Striped(_) => LayerKind::Striped,
            Self::Linear(_) => LayerKind::Linear,
            Self::O2cb(_) => LayerKind::O2cb,
            Self::Ocfs2(_) => LayerKind::Ocfs2,
        }
    }

    /// The disk that it asks of the nodes that serve it.
    pub const fn disk(&self) -> Option<ByteSize> {
        match self {
            Self::Nbd(nbd) => Some(nbd.disk),
            Self::Drbd(drbd) => Some(drbd.disk),
            Self::Gnbd(gnbd) => gnbd.disk,
            _ => None,
        }
    }
}

/// The kinds of layers, in the words of scenario files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LayerKind {
    /// [`Layer::Nbd`]
    Nbd,
    /// [`Layer::Membership`]
    Membership,
    /// [`Layer::Drbd`]
    Drbd,
    /// [`Layer::Gnbd`]
    Gnbd,
    /// [`Layer::Multipath`]
    Multipath,
    /// [`Layer::Md`]
    Md,
    /// [`Layer::Striped`]
    Striped,
    /// [`Layer::Linear`]
    Linear,
    /// [`Layer::O2cb`]
    O2cb,
    /// [`Layer::Ocfs2`]
    Ocfs2,
}

impl LayerKind {
    /// The word used in scenario files and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nbd => "nbd",
            Self::Membership => "membership",
            Self::Drbd => "drbd",
            Self::Gnbd => "gnbd",
            Self::Multipath => "multipath",
            Self::Md => "md",
            Self::Striped => "striped",
            Self::Linear => "linear",
            Self::O2cb => "o2cb",
            Self::Ocfs2 => "ocfs2",
        }
    }
}

impl std::fmt::Display for LayerKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// corosync, cman's successor. Its members are the storey's nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// `cluster_name`.
    pub cluster: ClusterName,
    /// How the members talk.
    pub transport: Transport,
    /// Whether messages are encrypted and signed (AES-256, SHA-256); needs knet.
    pub crypto: bool,
    /// `token`: silence after which a member is suspected. It is declared dead after 2.2 times that.
    pub token: Duration,
}

/// corosync's transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Kronosnet, corosync 3's own.
    Knet,
    /// Plain UDP to each member.
    Udpu,
}

/// A DRBD resource of the storey's two nodes, each with its own disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drbd {
    /// Its name in DRBD's configuration.
    pub resource: ResourceName,
    /// Number of its device, `/dev/drbd0`: the place among the DRBD layers of the scenario, from 0.
    pub minor: u8,
    /// Size of each node's disk; DRBD keeps its metadata at the end of it.
    pub disk: ByteSize,
    /// Who may write.
    pub primaries: Primaries,
    /// Whether the first synchronisation is done or, since new disks are alike, skipped.
    pub sync: FirstSync,
    /// `ping-int`: silence after which the peer is asked. Whole seconds.
    pub ping_interval: Duration,
    /// `ping-timeout`: then it is dead when it has not answered for so long. Tenths of seconds.
    pub ping_timeout: Duration,
    /// What both nodes make of their disks.
    pub device: Device,
}

/// The nodes of a DRBD pair that are primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Primaries {
    /// Both, as two paths to one disk need it.
    Both,
    /// The first of the pair.
    First,
}

/// DRBD's first synchronisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstSync {
    /// New disks are alike: nothing to do.
    Skip,
    /// Every block is copied from the first node to the second before the next layer.
    Full,
}

/// GNBD: servers export what the layer below offers them, or their own disk; clients import from all servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gnbd {
    /// The servers, in the order of their numbers.
    pub servers: Vec<NodeName>,
    /// Those who import, some of which may join later; nobody of the servers.
    pub clients: Vec<NodeName>,
    /// Size of each server's own disk, when nothing below offers a device.
    pub disk: Option<ByteSize>,
    /// What each server exports, in the servers' order.
    pub exports: Vec<Export>,
    /// TCP port of every server.
    pub port: u16,
    /// Cached exports go through the server's page cache, and their clients wait for ever for a lost server. Uncached
    /// ones are read and written with `O_DIRECT`, and time out.
    pub cached: bool,
    /// The time-out of uncached exports, whole seconds.
    pub timeout: Duration,
    /// Uncached devices fail their requests after this time without fencing the server first.
    pub fail_fast: Option<Duration>,
    /// Whether a cluster manager says who is fenced; without it the programs run with `-n`.
    pub membership: bool,
}

/// One exported device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// Its name, and that of the link under `/dev/gnbd` on clients.
    pub name: String,
    /// Equal for all exports of one disk: multipath puts those together.
    pub uid: u32,
    /// The server's device.
    pub source: Device,
}

impl Export {
    /// The device on clients.
    pub fn imported(&self) -> Device {
        Device {
            path: format!("/dev/gnbd/{}", self.name),
            uid: Some(self.uid),
            ..self.source.clone()
        }
    }
}

/// dm-multipath, run by multipathd: one map for each uid of the GNBD exports below, named after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Multipath {
    /// Which path of a group takes the next request.
    pub selector: Selector,
    /// How paths are put into groups.
    pub grouping: Grouping,
    /// What becomes of requests while no path is left.
    pub no_path: NoPath,
    /// The time between looks at a path, whole seconds.
    pub polling: Duration,
    /// In the order of the exports.
    pub maps: Vec<MultipathMap>,
}

/// All paths to one disk as one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MultipathMap {
    /// Of the exports, and the map's name.
    pub uid: u32,
    /// What it makes of them.
    pub device: Device,
    /// The imported devices.
    pub paths: Vec<String>,
}

/// dm-multipath's path selector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selector {
    /// In turn.
    RoundRobin,
    /// Where the answer is expected first.
    ServiceTime,
    /// Where the fewest requests wait.
    QueueLength,
}

/// multipathd's `path_grouping_policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grouping {
    /// All paths in one group.
    Multibus,
    /// One path a group: the others stand by.
    Failover,
}

/// multipathd's `no_path_retry`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPath {
    /// Requests wait until a path is back.
    Queue,
    /// They fail.
    Fail,
}

/// `mdadm --create` over the devices below, on each node for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Md {
    /// Name under `/dev/md`.
    pub name: VolumeName,
    /// Which RAID.
    pub level: RaidLevel,
    /// Bytes on one device before the next one's turn, for level 0.
    pub chunk: ByteSize,
    /// What it stands on.
    pub below: Vec<Device>,
    /// What it makes of that.
    pub device: Device,
}

impl Md {
    /// Where the data begins on each device, in sectors of 512 bytes, behind the superblock: 1 MiB, mdadm's own choice for
    /// metadata 1.2 on small disks, and said to it, so that sizes can be computed.
    pub const DATA_OFFSET: u64 = 2048;
}

/// Levels of software RAID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RaidLevel {
    /// Striped: level 0.
    Striped,
    /// Mirrored: level 1.
    Mirrored,
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
    /// nbdkit's filters, outermost first: `delay`, `rate`, `log`, ...
    pub filters: Vec<String>,
    /// `KEY=VALUE` words for nbdkit's filters: `delay-write=2ms`, `rate=80M`, ...
    pub options: Vec<String>,
    /// What every node imports: one of each node that is there from the start, in the order of their numbers.
    pub devices: Vec<Device>,
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
    /// What it stands on.
    pub below: Vec<Device>,
    /// What it makes of that.
    pub device: Device,
}

/// `dmsetup create` with the `linear` target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linear {
    /// Name under `/dev/mapper`.
    pub name: VolumeName,
    /// What it stands on.
    pub below: Vec<Device>,
    /// What it makes of that.
    pub device: Device,
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
    /// The device that it is made on.
    pub device: Device,
    /// The cluster of `o2cb` that guards it.
    pub cluster: ClusterName,
}
