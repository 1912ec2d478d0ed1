//! The shared file system as nodes use it: mounting, unmounting, and how to see who has it.

use std::fmt;
use std::time::Duration;

use sanlab_plan::guest::{MOUNT, UMOUNT};
use sanlab_plan::{FileSystem, GuestPath, NodeName};

use crate::description::probe::{Expect, Probe};
use crate::description::work::{Stage, Work, WorkKind};
use crate::nodes::topology::{Member, Topology};
use crate::shell::script::script;

/// OCFS2's mount takes 11 s of heartbeat rounds whatever the machine does, and each takes longer when a journal must be recovered.
const MOUNTING: Duration = Duration::from_secs(180);
const UNMOUNTING: Duration = Duration::from_secs(180);
const PROBE: Duration = Duration::from_secs(60);

/// How one cluster file system is mounted, and how its nodes see each other.
pub(crate) trait Sharing: fmt::Debug + Send + Sync {
    /// How a node that has it mounted shows that exactly `members` have.
    fn shared_by(&self, members: &[&Member]) -> Shared;

    /// What the kernels of the others log when a node has joined, where they log it.
    fn news(&self, _newcomer: &Member) -> Option<String> {
        None
    }
}

/// A state of a file system that some nodes have mounted.
pub(crate) struct Shared {
    /// In words that go on after "/mnt/san is mounted, and ".
    pub(crate) title: String,
    /// For busybox `sh -e`.
    pub(crate) script: String,
    /// What it prints.
    pub(crate) lines: Vec<String>,
}

/// The topmost layer: a file system on a shared device.
#[derive(Debug)]
pub struct Volume {
    /// Its type, as mount's `-t` has it.
    kind: &'static str,
    /// The block device, the same on every node.
    pub device: String,
    /// Where it is mounted, the same on every node.
    pub at: GuestPath,
    /// The nodes that may mount it; in the order of their numbers.
    pub on: Vec<NodeName>,
    /// Options of every mount.
    pub options: Vec<String>,
    /// Whether [`Stack::up`](crate::Stack::up) mounts it everywhere, or leaves that to `mount` steps.
    pub mounted_from_start: bool,
    sharing: Box<dyn Sharing>,
}

impl Volume {
    /// That file system on these nodes.
    pub(crate) fn new(file_system: FileSystem, on: &[NodeName], sharing: Box<dyn Sharing>) -> Self {
        Self {
            kind: file_system.kind.as_str(),
            device: file_system.device.path,
            at: file_system.at,
            on: on.to_vec(),
            options: file_system.options,
            mounted_from_start: file_system.mount,
            sharing,
        }
    }

    /// What the kernels of the others log when `node` has mounted it, where they log it.
    pub fn news(&self, node: &NodeName, topology: &Topology) -> Option<String> {
        self.sharing.news(topology.member(node)?)
    }

    /// Mounts it on the nodes `on` side by side while `mounted` (none of `on`) have it already.
    ///
    /// A task that fails says what mount said, on standard error, and what the kernel logged meanwhile, on standard output:
    /// however much one of them says, the other is seen.
    pub fn mount(&self, on: &[NodeName], mounted: &[NodeName], topology: &Topology) -> Work {
        let Self {
            kind, device, at, ..
        } = self;
        let options = match self.options.as_slice() {
            [] => String::new(),
            options => format!(" -o {}", options.join(",")),
        };
        let command = format!("mount -t {kind}{options} {device} {at}");
        let program = command.replacen("mount", MOUNT, 1);
        let text = script(&format!(
            "mkdir -p {at}\n\
             read -r uptime rest </proc/uptime\n\
             mark=\"sanlab: mounting at $uptime\"\n\
             echo \"$mark\" >/dev/kmsg\n\
             {program} || {{\n\
             \x20   code=$?\n\
             \x20   said=$(dmesg | sed \"1,/$mark/d\")\n\
             \x20   [ -z \"$said\" ] || printf 'the kernel since then:\\n%s\\n' \"$said\"\n\
             \x20   fail \"exit code $code: {command}\"\n\
             }}\n"
        ));
        Work {
            kind: WorkKind::Mount,
            title: format!("mount {at}"),
            stages: vec![Stage::new(on, &format!("mount {at}"), MOUNTING, &text)],
            probes: self.probes(&[mounted, on].concat(), topology),
        }
    }

    /// Unmounts it on the nodes `on` side by side; `mounted` are all that have it before, `on` among them.
    pub fn unmount(&self, on: &[NodeName], mounted: &[NodeName], topology: &Topology) -> Work {
        let at = &self.at;
        let text = script(&format!("run {UMOUNT} {at}\n"));
        let left: Vec<NodeName> = mounted
            .iter()
            .filter(|node| !on.contains(node))
            .cloned()
            .collect();
        let mut probes = self.probes(&left, topology);
        probes.extend(on.iter().map(|node| Probe {
            node: node.clone(),
            title: format!("{at} is not mounted"),
            script: self.mounts(),
            expect: Expect(Vec::new()),
            deadline: PROBE,
            stall: None,
        }));
        Work {
            kind: WorkKind::Unmount,
            title: format!("unmount {at}"),
            stages: vec![Stage::new(on, &format!("unmount {at}"), UNMOUNTING, &text)],
            probes,
        }
    }

    /// On each of `mounted`: it is mounted, and exactly those nodes share it.
    pub fn probes(&self, mounted: &[NodeName], topology: &Topology) -> Vec<Probe> {
        let Self {
            kind, device, at, ..
        } = self;
        let members: Vec<&Member> = topology.those(mounted).collect();
        let Shared {
            title,
            script,
            lines,
        } = self.sharing.shared_by(&members);
        let mut expect = vec![format!("{device} {at} {kind}")];
        expect.extend(lines);
        let probe = |node: &NodeName| Probe {
            node: node.clone(),
            title: format!("{at} is mounted, and {title}"),
            script: self.mounts() + &script,
            expect: Expect(expect.clone()),
            deadline: PROBE,
            stall: None,
        };
        mounted.iter().map(probe).collect()
    }

    /// Prints this volume's line of /proc/mounts, or nothing. Where the device is a link the kernel may know it by another
    /// name.
    fn mounts(&self) -> String {
        let Self { device, at, .. } = self;
        format!(
            "while read -r device at type rest; do\n\
             \x20   [ ! \"$device\" -ef {device} ] || device={device}\n\
             \x20   [ \"$at\" != {at} ] || echo \"$device $at $type\"\n\
             done </proc/mounts\n"
        )
    }
}
