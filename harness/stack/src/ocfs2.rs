//! The cluster file system: formatted once, by the first node. Mounting is the [`Volume`](crate::Volume)'s.

use std::fmt::Write as _;
use std::time::Duration;

use sanlab_plan::{ClusterName, NodeName, Ocfs2};

use crate::layer::{Expect, Layer, Probe, Stage};
use crate::script::{quote, script};
use crate::topology::Topology;
use crate::warm::Hot;

const FORMAT: Duration = Duration::from_secs(300);
const LOAD: Duration = Duration::from_secs(60);
const PROBE: Duration = Duration::from_secs(60);

/// Sectors below which mkfs would take blocks of less than 4 KiB, which a device with sectors of that size cannot have.
const SMALL: u64 = 4 << (30 - 9);

/// OCFS2 on a device that all nodes share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileSystem {
    pub(crate) plan: Ocfs2,
    /// The o2cb cluster whose members may mount it.
    pub(crate) cluster: ClusterName,
    /// The topmost block device.
    pub(crate) device: String,
    /// Its size.
    pub(crate) sectors: u64,
}

/// What this layer reads of the root image.
pub(crate) const HOT: Hot = Hot {
    modules: &["ocfs2"],
    commands: &[
        "mkfs.ocfs2 -V",
        "mount.ocfs2 -V",
        "mounted.ocfs2 -V",
        "/bin/mount --version",
        "/bin/dd --version",
    ],
};

impl Layer for FileSystem {
    fn kind(&self) -> &'static str {
        "ocfs2"
    }

    fn title(&self) -> String {
        format!("ocfs2 with {} slots on {}", self.plan.slots, self.device)
    }

    fn up(&self, there: &[NodeName], _topology: &Topology) -> Vec<Stage> {
        let mut command = format!(
            "mkfs.ocfs2 -N {} --cluster-stack=o2cb --cluster-name={} -J size={}",
            self.plan.slots,
            self.cluster,
            self.plan.journal.bytes()
        );
        if self.sectors < SMALL {
            command += " -b 4096 -C 4096";
        }
        if !self.plan.features.is_empty() {
            let _ = write!(
                command,
                " --fs-features={}",
                quote(&self.plan.features.join(","))
            );
        }
        let text = script(&format!("run {command} {}\n", self.device));
        let (first, others) = there.split_at(there.len().min(1));
        let mut stage = Stage::new(first, &format!("format {}", self.device), FORMAT, &text);
        stage.tasks.extend(load(others).tasks);
        vec![stage]
    }

    fn join(&self, node: &NodeName, _there: &[NodeName], _topology: &Topology) -> Vec<Stage> {
        vec![load(std::slice::from_ref(node))]
    }

    fn probes(&self, node: &NodeName, _there: &[NodeName], _topology: &Topology) -> Vec<Probe> {
        let text = format!(
            "mounted.ocfs2 -d {} | {{\n\
             \x20   read -r header\n\
             \x20   read -r device stack cluster rest\n\
             \x20   echo \"$device $stack $cluster\"\n\
             }}\n",
            self.device
        );
        vec![Probe {
            node: node.clone(),
            title: format!(
                "the superblock of cluster {} is seen on {}",
                self.cluster, self.device
            ),
            script: text,
            expect: Expect::lines([format!("{} o2cb {}", self.device, self.cluster)]),
            deadline: PROBE,
        }]
    }

    fn down(&self, _there: &[NodeName], _topology: &Topology) -> Vec<Stage> {
        Vec::new()
    }

    fn state(&self) -> Vec<(String, String)> {
        let text = format!("timeout 10 mounted.ocfs2 -f {} 2>&1 || true\n", self.device);
        vec![("ocfs2.txt".to_owned(), text)]
    }
}

/// The first mount would load it as well, but on all nodes at once and between two rounds of the heartbeat.
fn load(on: &[NodeName]) -> Stage {
    Stage::new(
        on,
        "load the ocfs2 module",
        LOAD,
        &script("run modprobe ocfs2\n"),
    )
}
