//! The storage layers. A layer is one file here (its keys, what is planned of it, its checks, what it gives), one in the stack
//! crate, and one row in the table below.

mod catalog;
pub(crate) mod dlm;
pub(crate) mod drbd;
mod file_system;
mod gfs2;
pub(crate) mod gnbd;
mod iscsi;
mod linear;
mod lvm;
mod md;
pub(crate) mod membership;
mod multipath;
mod nbd;
pub(crate) mod o2cb;
mod ocfs2;
pub(crate) mod order;
mod roles;
mod shared_disk;
mod striped;
pub(crate) mod timeouts;

use std::time::Duration;

use self::catalog::catalog;
pub(crate) use self::catalog::{LayerTable, Planned, Property};
pub use self::file_system::{FileSystem, Mounts};
use crate::devices::device_map::DeviceMap;
use crate::devices::provided::{KernelName, Provided};
use crate::devices::resolved_stack::Building;
use crate::diagnostic::{Diagnostic, Mistakes};
use crate::document::read::{At, Value};
use crate::document::value::show_duration;
use crate::lower::node_set::NodeSet;
use crate::plan::{BlockMap, Device};
use crate::values::names::{NetworkName, NodeName};
use crate::values::units::ByteSize;

catalog! {
    ($)
    /// Network block devices: all to all, or from servers to clients.
    nbd => Nbd, NbdServer;
    /// Disks that are attached to several nodes at once.
    shared_disk => SharedDisk, DiskBus;
    /// A cluster of corosync: who is a member.
    membership => Membership, Transport;
    /// A disk that two nodes hold a copy of each.
    drbd => Drbd, AfterSplit0, AfterSplit1, AfterSplit2, DrbdFencing, FirstSync, OnIoError, Primaries;
    /// Network block devices of GNBD, from servers to clients.
    gnbd => Gnbd, Export;
    /// iSCSI, from targets to initiators.
    iscsi => Iscsi;
    /// One device for all paths to the same disk.
    multipath => Multipath, Grouping, MultipathMap, NoPath, Selector;
    /// Linux software RAID over what the layer below offers.
    md => Md, RaidLevel;
    /// Device-mapper stripe over what the layer below offers.
    striped => Striped;
    /// Device-mapper concatenation of what the layer below offers.
    linear => Linear;
    /// The kernel's distributed lock manager.
    dlm => Dlm;
    /// A volume group of LVM that all nodes share.
    lvm => Lvm, Extents, Layout, LogicalVolume;
    /// GFS2, the cluster file system of the DLM.
    gfs2 => Gfs2;
    /// OCFS2's own cluster stack.
    o2cb => O2cb, FenceMethod;
    /// OCFS2, the cluster file system of o2cb, or of the DLM.
    ocfs2 => Ocfs2, ClusterStack;
}

const DISKS: (ByteSize, ByteSize) = (ByteSize::from_mib(1), ByteSize::from_mib(1 << 20));
/// The guests' page.
const PAGE: u64 = 4096;

fn impossible(size: &At<ByteSize>, what: &str) -> Diagnostic {
    Diagnostic::at(&size.span, format!("impossible {what}: {}", size.value))
        .label("impossible size")
}

/// Whether a node's disk can be so large. Of one that cannot no device has a size.
fn check_disk(
    disk: Option<&At<ByteSize>>,
    device_map: &mut DeviceMap<'_>,
    mistakes: &mut Mistakes,
) {
    let Some(disk) = disk else { return };
    let (least, most) = DISKS;
    let help = if disk.value < least || disk.value > most {
        format!("give {least} to {most}")
    } else if !disk.bytes().is_multiple_of(PAGE) {
        "give a multiple of 4KiB, the guests' page".to_owned()
    } else {
        return;
    };
    device_map.sized = false;
    mistakes.note(impossible(disk, "disk").help(help));
}

fn check_chunk(chunk: &At<ByteSize>, mistakes: &mut Mistakes) -> bool {
    let right = chunk.bytes().is_power_of_two() && chunk.bytes() >= PAGE;
    if !right {
        mistakes.note(
            impossible(chunk, "chunk").help("give a power of two, at least 4KiB, such as `16KiB`"),
        );
    }
    right
}

fn check_port(port: Option<&At<u16>>, mistakes: &mut Mistakes) {
    if let Some(port) = port
        && port.value == 0
    {
        mistakes.note(
            Diagnostic::at(&port.span, "impossible port: 0")
                .label("not a port")
                .help("give a port from 1 to 65535"),
        );
    }
}

/// What a program takes as a time: from, to, and in steps of.
#[derive(Debug, Clone, Copy)]
struct Limits {
    least: Duration,
    most: Duration,
    step: Duration,
}

impl Limits {
    const fn seconds(least: u64, most: u64) -> Self {
        Self {
            least: Duration::from_secs(least),
            most: Duration::from_secs(most),
            step: Duration::from_secs(1),
        }
    }

    fn check(self, key: &str, time: Option<&At<Duration>>, mistakes: &mut Mistakes) {
        let Some(time) = time else { return };
        let (least, most) = (show_duration(&self.least), show_duration(&self.most));
        let label = if time.value < self.least || time.value > self.most {
            "out of range"
        } else if !time.as_nanos().is_multiple_of(self.step.as_nanos()) {
            "finer than it can be set"
        } else {
            return;
        };
        mistakes.note(
            Diagnostic::at(
                &time.span,
                format!("impossible `{key}`: {}", show_duration(&time.value)),
            )
            .label(label)
            .help(format!(
                "give {least} to {most}, in steps of {}",
                show_duration(&self.step)
            )),
        );
    }
}

/// In the order of the nodes' numbers.
fn sorted(node_set: &NodeSet, mut names: Vec<At<NodeName>>) -> Vec<At<NodeName>> {
    names.sort_by_key(|name| node_set.position(&name.value));
    names
}

/// Never 0.
fn sectors_of(size: ByteSize) -> u64 {
    (size.bytes() / 512).max(1)
}

fn blocks_of(devices: &[Device]) -> Vec<BlockMap> {
    devices.iter().map(|device| device.blocks.clone()).collect()
}

/// One device over several, on each node for itself.
fn over_all(
    on: &[NodeName],
    below: &[Device],
    device: &Device,
    kernel_name: KernelName,
) -> Vec<Provided> {
    let at = |node: &NodeName| Provided {
        node: node.clone(),
        path: device.path.clone(),
        kernel_name,
        over: below
            .iter()
            .map(|part| (node.clone(), part.path.clone()))
            .collect(),
        servers: Vec::new(),
    };
    on.iter().map(at).collect()
}

fn show<T: Value>(value: &T) -> String {
    match value.written() {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    }
}

/// The networks of a layer as one of its parameters, unless it is on the first alone: figures of layers from before there were
/// others stay comparable.
fn network_parameter(networks: &[NetworkName]) -> Option<(&'static str, String)> {
    let other = networks.iter().any(|name| *name != NetworkName::main());
    let names: Vec<&str> = networks.iter().map(NetworkName::as_str).collect();
    other.then(|| ("network", names.join(",")))
}
