//! OCFS2: formatted once, by the first node. Mounting is the [`Volume`](crate::Volume)'s.

use std::fmt::Write as _;
use std::time::Duration;

use sanlab_plan::guest::{DD, MOUNT};
use sanlab_plan::{
    ClusterName, ClusterStack, LayerKind, NodeName, Ocfs2, PlacedLayer, Plan, quote,
};

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

/// The volume's UUID where the kernel's lock manager guards it: its lock space has that name.
const LOCK_SPACE: &str = "5A11AB0CF52000000000000000000001";

/// Sectors below which mkfs would take blocks of less than 4 KiB, which a device with sectors of that size cannot have.
const SMALL: u64 = 4 << (30 - 9);

impl Describe for Ocfs2 {
    const HOT: Hot = Hot {
        modules: &["ocfs2"],
        commands: &[
            ("mkfs.ocfs2", "-V"),
            ("mount.ocfs2", "-V"),
            ("mounted.ocfs2", "-V"),
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
        watched.mounts(placed, Box::new(self.clone()));
        Box::new(self.clone())
    }
}

impl Sharing for Ocfs2 {
    fn shared_by(&self, members: &[&Member]) -> Shared {
        match self.cluster_stack {
            ClusterStack::O2cb => in_lock_domain(&self.cluster, members),
            ClusterStack::Pcmk => in_lock_space(members),
        }
    }

    fn news(&self, newcomer: &Member) -> Option<String> {
        Some(match self.cluster_stack {
            ClusterStack::O2cb => format!("Node {} joins domain", newcomer.number),
            ClusterStack::Pcmk => {
                let id = membership::id(newcomer);
                format!("dlm: {LOCK_SPACE}: add member {id}")
            }
        })
    }
}

/// The heartbeat region is active, and exactly those nodes beat on it and are in its lock domain.
fn in_lock_domain(cluster: &ClusterName, members: &[&Member]) -> Shared {
    let numbers: Vec<String> = members
        .iter()
        .map(|member| member.number.to_string())
        .collect();
    let numbers = numbers.join(" ");
    let script = format!(
        "for region in /sys/kernel/config/cluster/{cluster}/heartbeat/*/; do\n\
         \x20   read -r pid <$region/pid\n\
         \x20   [ ! -d /proc/$pid ] || echo 'heartbeat active'\n\
         done\n\
         cd /sys/kernel/debug\n\
         read -r alive <o2hb/livenodes\n\
         echo \"alive $alive\"\n\
         while read -r line; do\n\
         \x20   case $line in 'Domain Map: '*) echo \"domain ${{line#*: }}\" ;; esac\n\
         done <$(echo o2dlm/*/dlm_state)\n"
    );
    Shared {
        title: format!("nodes {numbers} are alive in its lock domain"),
        script,
        lines: vec![
            "heartbeat active".to_owned(),
            format!("alive {numbers}"),
            format!("domain {numbers}"),
        ],
    }
}

/// Exactly those nodes share its lock space.
fn in_lock_space(members: &[&Member]) -> Shared {
    let ids = membership::ids(members.iter().copied());
    Shared {
        title: format!("nodes {ids} share its lock space"),
        script: dlm::spaces(&[LOCK_SPACE]),
        lines: vec![dlm::space(LOCK_SPACE, &ids)],
    }
}

impl LayerCommands for Ocfs2 {
    fn kind(&self) -> LayerKind {
        LayerKind::Ocfs2
    }

    fn title(&self) -> String {
        format!("ocfs2 with {} slots on {}", self.slots, self.device.path)
    }

    fn up(&self, there: &[NodeName], _topology: &Topology) -> Vec<Stage> {
        let mut command = format!(
            "mkfs.ocfs2 -N {} --cluster-stack={} --cluster-name={} -J size={}",
            self.slots,
            self.cluster_stack.as_str(),
            self.cluster,
            self.journal.bytes()
        );
        if self.cluster_stack == ClusterStack::Pcmk {
            let _ = write!(command, " -U {LOCK_SPACE}");
        }
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
        let text = script(&format!(
            "{}run {command} {}\n",
            choose(self.cluster_stack),
            self.device.path
        ));
        let (first, others) = there.split_at(there.len().min(1));
        let mut stage = Stage::new(
            first,
            &format!("format {}", self.device.path),
            FORMAT,
            &text,
        );
        stage.tasks.extend(load(self.cluster_stack, others).tasks);
        vec![stage]
    }

    fn join(&self, node: &NodeName, _peers: &Peers, _topology: &Topology) -> Vec<Stage> {
        vec![load(self.cluster_stack, std::slice::from_ref(node))]
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
            expect: Expect::lines([format!(
                "{} {} {}",
                self.device.path,
                self.cluster_stack.as_str(),
                self.cluster
            )]),
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

/// The o2cb service chooses its own plug-in of the kernel's; the other one is chosen here.
fn choose(stack: ClusterStack) -> String {
    match stack {
        ClusterStack::O2cb => String::new(),
        ClusterStack::Pcmk => format!(
            "run modprobe ocfs2_stack_user\necho {} >/sys/fs/ocfs2/cluster_stack\n",
            stack.as_str()
        ),
    }
}

/// The first mount would load it as well, but on all nodes at once and between two rounds of the heartbeat.
fn load(stack: ClusterStack, on: &[NodeName]) -> Stage {
    let text = format!("{}run modprobe ocfs2\n", choose(stack));
    Stage::new(on, "load the ocfs2 module", LOAD, &script(&text))
}
