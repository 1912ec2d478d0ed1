//! The shared file system as nodes use it: mounting, unmounting, and how to see who has it.

use std::time::Duration;

use sanlab_plan::guest::{MOUNT, UMOUNT};
use sanlab_plan::{ClusterName, GuestPath, NodeName};

use crate::layer::{Expect, Probe, Stage, Work};
use crate::script::script;
use crate::topology::Topology;

/// Mounting takes 11 s of heartbeat rounds whatever the machine does, and longer when a journal must be recovered.
const MOUNTING: Duration = Duration::from_secs(180);
const UNMOUNTING: Duration = Duration::from_secs(180);
const PROBE: Duration = Duration::from_secs(60);

/// The topmost layer: a file system on a shared device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// The block device, the same on every node.
    pub device: String,
    /// Where it is mounted, the same on every node.
    pub at: GuestPath,
    /// The o2cb cluster that guards it.
    pub cluster: ClusterName,
    /// The nodes that may mount it; in the order of their numbers.
    pub on: Vec<NodeName>,
    /// Options of every mount.
    pub options: Vec<String>,
    /// Whether [`Stack::up`](crate::Stack::up) mounts it everywhere, or leaves that to `mount` steps.
    pub mounted_from_start: bool,
}

impl Volume {
    /// Mounts it on the nodes `on` side by side while `mounted` (none of `on`) have it already.
    ///
    /// A task that fails says what mount said, on standard error, and what the kernel logged meanwhile, on standard output:
    /// however much one of them says, the other is seen.
    pub fn mount(&self, on: &[NodeName], mounted: &[NodeName], topology: &Topology) -> Work {
        let Self { device, at, .. } = self;
        let options = match self.options.as_slice() {
            [] => String::new(),
            options => format!(" -o {}", options.join(",")),
        };
        let text = script(&format!(
            "mkdir -p {at}\n\
             read -r uptime rest </proc/uptime\n\
             mark=\"sanlab: mounting at $uptime\"\n\
             echo \"$mark\" >/dev/kmsg\n\
             {MOUNT} -t ocfs2{options} {device} {at} || {{\n\
             \x20   code=$?\n\
             \x20   echo \"the kernel since then:\"\n\
             \x20   dmesg | sed \"1,/$mark/d\"\n\
             \x20   fail \"exit code $code: mount -t ocfs2{options} {device} {at}\"\n\
             }}\n"
        ));
        Work {
            kind: "mount",
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
            kind: "unmount",
            title: format!("unmount {at}"),
            stages: vec![Stage::new(on, &format!("unmount {at}"), UNMOUNTING, &text)],
            probes,
        }
    }

    /// On each of `mounted`: it is mounted, its heartbeat region is active, and exactly those nodes beat on it and are in
    /// its lock domain.
    pub fn probes(&self, mounted: &[NodeName], topology: &Topology) -> Vec<Probe> {
        let Self {
            device,
            at,
            cluster,
            ..
        } = self;
        let numbers: Vec<String> = topology
            .those(mounted)
            .map(|member| member.number.to_string())
            .collect();
        let numbers = numbers.join(" ");
        let text = format!(
            "{}\
             for region in /sys/kernel/config/cluster/{cluster}/heartbeat/*/; do\n\
             \x20   read -r pid <$region/pid\n\
             \x20   [ ! -d /proc/$pid ] || echo 'heartbeat active'\n\
             done\n\
             cd /sys/kernel/debug\n\
             read -r alive <o2hb/livenodes\n\
             echo \"alive $alive\"\n\
             while read -r line; do\n\
             \x20   case $line in 'Domain Map: '*) echo \"domain ${{line#*: }}\" ;; esac\n\
             done <$(echo o2dlm/*/dlm_state)\n",
            self.mounts()
        );
        let expect = Expect::lines([
            format!("{device} {at} ocfs2"),
            "heartbeat active".to_owned(),
            format!("alive {numbers}"),
            format!("domain {numbers}"),
        ]);
        let probe = |node: &NodeName| Probe {
            node: node.clone(),
            title: format!("{at} is mounted, and nodes {numbers} are alive in its lock domain"),
            script: text.clone(),
            expect: expect.clone(),
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
