//! The cluster file system: formatted once, by the first node. Mounting is the [`Volume`](crate::Volume)'s.

use std::fmt::Write as _;
use std::time::Duration;

use sanlab_plan::guest::{DD, MOUNT};
use sanlab_plan::{LayerKind, NodeName, Ocfs2, PlacedLayer, Plan, quote};

use crate::compose::Describe;
use crate::layer::{Expect, Layer, Probe, Stage};
use crate::present::Peers;
use crate::script::script;
use crate::stack::Watched;
use crate::topology::Topology;
use crate::volume::Volume;
use crate::warm::Hot;

const FORMAT: Duration = Duration::from_secs(300);
const LOAD: Duration = Duration::from_secs(60);
const PROBE: Duration = Duration::from_secs(60);

/// Sectors below which mkfs would take blocks of less than 4 KiB, which a device with sectors of that size cannot have.
const SMALL: u64 = 4 << (30 - 9);

impl Describe for Ocfs2 {
    fn describe(
        &self,
        placed: &PlacedLayer,
        _plan: &Plan,
        watched: &mut Watched,
    ) -> Box<dyn Layer> {
        watched.blocks = Some(self.device.blocks.clone());
        watched.volume = Some(Volume {
            device: self.device.path.clone(),
            at: self.at.clone(),
            cluster: self.cluster.clone(),
            on: placed.on.clone(),
            options: self.mount_options.clone(),
            mounted_from_start: self.mount,
        });
        Box::new(self.clone())
    }
}

/// What this layer reads of the root image.
pub(crate) const HOT: Hot = Hot {
    modules: &["ocfs2"],
    commands: &[
        ("mkfs.ocfs2", "-V"),
        ("mount.ocfs2", "-V"),
        ("mounted.ocfs2", "-V"),
        (MOUNT, "--version"),
        (DD, "--version"),
    ],
};

impl Layer for Ocfs2 {
    fn kind(&self) -> LayerKind {
        LayerKind::Ocfs2
    }

    fn title(&self) -> String {
        format!("ocfs2 with {} slots on {}", self.slots, self.device.path)
    }

    fn up(&self, there: &[NodeName], _topology: &Topology) -> Vec<Stage> {
        let mut command = format!(
            "mkfs.ocfs2 -N {} --cluster-stack=o2cb --cluster-name={} -J size={}",
            self.slots,
            self.cluster,
            self.journal.bytes()
        );
        if self.device.sectors < SMALL {
            command += " -b 4096 -C 4096";
        }
        if !self.features.is_empty() {
            let _ = write!(
                command,
                " --fs-features={}",
                quote(&self.features.join(","))
            );
        }
        let text = script(&format!("run {command} {}\n", self.device.path));
        let (first, others) = there.split_at(there.len().min(1));
        let mut stage = Stage::new(
            first,
            &format!("format {}", self.device.path),
            FORMAT,
            &text,
        );
        stage.tasks.extend(load(others).tasks);
        vec![stage]
    }

    fn join(&self, node: &NodeName, _peers: &Peers, _topology: &Topology) -> Vec<Stage> {
        vec![load(std::slice::from_ref(node))]
    }

    /// The superblock is read: nothing is asked while nobody serves a part of the device.
    fn probes(&self, node: &NodeName, peers: &Peers, _topology: &Topology) -> Vec<Probe> {
        if !self.device.blocks.is_held_by(&peers.serving) {
            return Vec::new();
        }
        let text = format!(
            "mounted.ocfs2 -d {} | {{\n\
             \x20   read -r header\n\
             \x20   read -r device stack cluster rest\n\
             \x20   echo \"$device $stack $cluster\"\n\
             }}\n",
            self.device.path
        );
        vec![Probe {
            node: node.clone(),
            title: format!(
                "the superblock of cluster {} is seen on {}",
                self.cluster, self.device.path
            ),
            script: text,
            expect: Expect::lines([format!("{} o2cb {}", self.device.path, self.cluster)]),
            deadline: PROBE,
            stall: None,
        }]
    }

    fn down(&self, _there: &[NodeName], _topology: &Topology) -> Vec<Stage> {
        Vec::new()
    }

    fn state(&self) -> Vec<(String, String)> {
        let text = format!(
            "timeout 10 mounted.ocfs2 -f {} 2>&1 || true\n",
            self.device.path
        );
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
