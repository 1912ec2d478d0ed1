//! GFS2: formatted once, by the first node, with a journal for each that will mount it. Mounting is the
//! [`Volume`](crate::Volume)'s.

use std::time::Duration;

use sanlab_plan::guest::{DD, MOUNT};
use sanlab_plan::{Gfs2, LayerKind, NodeName, PlacedLayer, Plan, quote};

use crate::description::layer::LayerCommands;
use crate::description::probe::{Expect, Probe};
use crate::description::work::Stage;
use crate::layers::describe::{Describe, Hot, Watched};
use crate::layers::dlm;
use crate::layers::membership;
use crate::layers::volume::{Shared, Sharing};
use crate::nodes::present::Peers;
use crate::nodes::topology::{Member, Topology};
use crate::shell::script::script;

const FORMAT: Duration = Duration::from_secs(300);
const LOAD: Duration = Duration::from_secs(60);
const PROBE: Duration = Duration::from_secs(60);

/// The file system and its lock table.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Formatted {
    plan: Gfs2,
}

impl Describe for Gfs2 {
    const HOT: Hot = Hot {
        modules: &["gfs2"],
        commands: &[
            ("mkfs.gfs2", "-V"),
            ("tunegfs2", "-V"),
            (MOUNT, "--version"),
            (DD, "--version"),
        ],
    };

    fn describe(
        &self,
        placed: &PlacedLayer,
        _plan: &Plan,
        watched: &mut Watched,
    ) -> Box<dyn LayerCommands> {
        let formatted = Formatted { plan: self.clone() };
        watched.mounts(placed, Box::new(formatted.clone()));
        Box::new(formatted)
    }
}

impl Formatted {
    /// What names the file system's locks in its cluster.
    fn lock_table(&self) -> String {
        format!("{}:{}", self.plan.cluster, self.plan.name)
    }
}

impl Sharing for Formatted {
    /// Exactly those nodes are in its lock space, and no recovery keeps locks from anybody.
    fn shared_by(&self, members: &[&Member]) -> Shared {
        let name = &self.plan.name;
        let ids = membership::ids(members.iter().copied());
        let script = format!(
            "{}\
             read -r blocked </sys/fs/gfs2/{}/lock_module/block\n\
             echo \"locks blocked: $blocked\"\n",
            dlm::spaces(&[name]),
            self.lock_table()
        );
        Shared {
            title: format!("nodes {ids} share its lock space"),
            script,
            lines: vec![dlm::space(name, &ids), "locks blocked: 0".to_owned()],
        }
    }

    fn news(&self, newcomer: &Member) -> Option<String> {
        let id = membership::id(newcomer);
        Some(format!("dlm: {}: add member {id}", self.plan.name))
    }
}

impl LayerCommands for Formatted {
    fn kind(&self) -> LayerKind {
        LayerKind::Gfs2
    }

    fn title(&self) -> String {
        format!(
            "gfs2 with {} journals on {}",
            self.plan.journals, self.plan.device.path
        )
    }

    fn up(&self, there: &[NodeName], _topology: &Topology) -> Vec<Stage> {
        let Gfs2 {
            journals,
            journal,
            device,
            ..
        } = &self.plan;
        // Nothing is asked (-O), and nothing discarded (-K): on several paths that took 24 s, and the device is empty.
        let text = script(&format!(
            "run modprobe gfs2\n\
             run mkfs.gfs2 -O -K -p lock_dlm -t {} -j {journals} -J {} {}\n",
            quote(&self.lock_table()),
            journal.bytes() >> 20,
            device.path
        ));
        let (first, others) = there.split_at(there.len().min(1));
        let title = format!("format {}", device.path);
        let mut stage = Stage::new(first, &title, FORMAT, &text);
        stage.tasks.extend(load(others).tasks);
        vec![stage]
    }

    fn join(&self, node: &NodeName, _peers: &Peers, _topology: &Topology) -> Vec<Stage> {
        vec![load(std::slice::from_ref(node))]
    }

    /// The superblock is read: nothing is asked while nobody serves a part of the device.
    fn probes(&self, node: &NodeName, peers: &Peers, _topology: &Topology) -> Vec<Probe> {
        if !self.plan.device.blocks.is_held_by(&peers.serving) {
            return Vec::new();
        }
        let (path, table) = (&self.plan.device.path, self.lock_table());
        let text = format!(
            "tunegfs2 -l {path} | while read -r one two three four; do\n\
             \x20   case \"$one $two\" in\n\
             \x20       'Lock protocol:') echo \"protocol $three\" ;;\n\
             \x20       'Lock table:') echo \"table $three\" ;;\n\
             \x20   esac\n\
             done\n"
        );
        vec![Probe {
            node: node.clone(),
            title: format!("the superblock with lock table {table} is seen on {path}"),
            script: text,
            expect: Expect::lines(["protocol lock_dlm".to_owned(), format!("table {table}")]),
            deadline: PROBE,
            stall: None,
        }]
    }

    fn down(&self, _there: &[NodeName], _topology: &Topology) -> Vec<Stage> {
        Vec::new()
    }

    fn state(&self) -> Vec<(String, String)> {
        let (path, table) = (&self.plan.device.path, self.lock_table());
        let text = format!(
            "timeout 10 tunegfs2 -l {path} 2>&1\n\
             for file in /sys/fs/gfs2/{table}/lock_module/*; do echo \"$file $(cat $file 2>&1)\"; done\n\
             timeout 10 cat /sys/kernel/debug/gfs2/{table}/glstats 2>&1\n\
             timeout 10 head -n 200 /sys/kernel/debug/gfs2/{table}/glocks 2>&1\n"
        );
        vec![("gfs2.txt".to_owned(), text)]
    }
}

/// The first mount would load it as well, but on all nodes at once.
fn load(on: &[NodeName]) -> Stage {
    Stage::new(
        on,
        "load the gfs2 module",
        LOAD,
        &script("run modprobe gfs2\n"),
    )
}
