//! The kernel's distributed lock manager: `dlm_controld` follows corosync, and tells the kernel who is a member.

use std::fmt::Write as _;
use std::time::Duration;

use sanlab_plan::{Dlm, LayerKind, NodeName, PlacedLayer, Plan};

use crate::description::layer::LayerCommands;
use crate::description::probe::{Expect, Probe};
use crate::description::work::{GuestFile, Stage};
use crate::layers::describe::{Describe, Hot, Watched};
use crate::layers::membership;
use crate::nodes::present::Peers;
use crate::nodes::topology::Topology;
use crate::shell::power;
use crate::shell::script::{script, wait_for_end};

const AGENT: &str = "/etc/dlm/fence";
const START: Duration = Duration::from_secs(90);
const STOP: Duration = Duration::from_secs(60);
const PROBE: Duration = Duration::from_secs(120);

/// By how much a member's loss may be noticed late: guests are slow.
const SLACK: Duration = Duration::from_secs(2);

/// `dlm_controld` and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
struct LockManager {
    plan: Dlm,
    /// Every node that ever has it.
    on: Vec<NodeName>,
}

impl Describe for Dlm {
    const HOT: Hot = Hot {
        modules: &["dlm"],
        commands: &[
            ("dlm_controld", "-V"),
            ("dlm_tool", "-V"),
            ("awk", "1 /dev/null"),
        ],
    };

    fn describe(
        &self,
        placed: &PlacedLayer,
        _plan: &Plan,
        _watched: &mut Watched,
    ) -> Box<dyn LayerCommands> {
        Box::new(LockManager {
            plan: self.clone(),
            on: placed.on.clone(),
        })
    }
}

impl LayerCommands for LockManager {
    fn kind(&self) -> LayerKind {
        LayerKind::Dlm
    }

    fn title(&self) -> String {
        let how = if self.plan.fencing {
            "lost members are fenced"
        } else {
            "no fencing"
        };
        format!("dlm in cluster {}, {how}", self.plan.cluster)
    }

    fn up(&self, there: &[NodeName], topology: &Topology) -> Vec<Stage> {
        // libdlm waits 10 s for udev to make /dev/misc/dlm-control, and fails: devtmpfs has it one folder above.
        let text = "run modprobe dlm\n\
                    [ -e /dev/misc ] || run ln -s . /dev/misc\n\
                    pidof dlm_controld >/dev/null && fail 'dlm_controld is running already'\n\
                    run dlm_controld\n";
        let start = Stage::new(there, "start dlm_controld", START, &script(text));
        vec![start.with_files(&self.files(topology))]
    }

    fn join(&self, node: &NodeName, _peers: &Peers, topology: &Topology) -> Vec<Stage> {
        self.up(std::slice::from_ref(node), topology)
    }

    fn daemons(&self, _node: &NodeName) -> &'static [&'static str] {
        &["dlm_controld"]
    }

    /// `dlm_controld` answers before it has joined, with zeros: its exit code proves nothing.
    fn probes(&self, node: &NodeName, peers: &Peers, topology: &Topology) -> Vec<Probe> {
        let text = "dlm_tool status | awk '\n\
             \x20   $1 == \"cluster\" { print $4, $5; if ($8 != 0 && $8 == $9) print \"in step with corosync\" }\n\
             \x20   $1 == \"node\" && $3 == \"M\" { members = members \" \" $2 }\n\
             \x20   $1 ~ /^fence_init/ { print \"waits for fencing\" }\n\
             \x20   END { print \"members\" members }\n\
             '\n";
        let members = membership::ids(topology.those(&peers.active));
        vec![Probe {
            node: node.clone(),
            title: format!(
                "the lock manager of {} has members {members}",
                self.plan.cluster
            ),
            script: text.to_owned(),
            expect: Expect::lines([
                "quorate 1".to_owned(),
                "in step with corosync".to_owned(),
                format!("members {members}"),
            ]),
            deadline: PROBE + 4 * self.plan.dead_after,
            stall: None,
        }]
    }

    fn down(&self, there: &[NodeName], _topology: &Topology) -> Vec<Stage> {
        let text = format!(
            "if pidof dlm_controld >/dev/null; then kill $(pidof dlm_controld); fi\n\
             {}\
             [ ! -L /dev/misc ] || run rm /dev/misc\n",
            wait_for_end("dlm_controld", 250, "$(dlm_tool ls 2>&1)")
        );
        vec![Stage::new(there, "stop dlm_controld", STOP, &script(&text))]
    }

    fn state(&self) -> Vec<(String, String)> {
        let text = "timeout 5 dlm_tool status -v\ntimeout 5 dlm_tool ls -n\ntimeout 5 dlm_tool dump | tail -n 300\n\
            cat /etc/dlm/dlm.conf\n";
        vec![("dlm.txt".to_owned(), text.to_owned())]
    }
}

impl LockManager {
    fn files(&self, topology: &Topology) -> Vec<GuestFile> {
        // Nobody is waited for: who is lost is lost, since the power switch is asked and has no delay of its own.
        let mut config = "log_debug=1\n\
                          enable_startup_fencing=0\n\
                          post_join_delay=0\n"
            .to_owned();
        if !self.plan.fencing {
            config += "enable_fencing=0\n";
            return vec![config_file(config)];
        }
        // Only a String is written to.
        let _ = writeln!(config, "fence_all {AGENT}");
        let agent = GuestFile {
            path: AGENT.to_owned(),
            text: self.agent(topology),
            mode: 0o755,
        };
        vec![config_file(config), agent]
    }

    /// `dlm_controld` writes lines to an agent's standard input, one of which is `node=` and a number of corosync's.
    fn agent(&self, topology: &Topology) -> String {
        let mut text = "#!/bin/sh\n\
             # dlm_controld's fence agent: has the lab cut the power of a node. Success: it is off.\n\
             node=\n\
             while read -r line; do\n\
             \x20   case $line in\n"
            .to_owned();
        for member in topology.those(&self.on) {
            let (id, name) = (membership::id(member), &member.name);
            let _ = writeln!(text, "        node={id}) node={name} ;;");
        }
        text += "    esac\n\
                 done\n\
                 [ -n \"$node\" ] || { echo 'fence: no node of this cluster was named' >&2; exit 1; }\n";
        text + &power::cut(self.plan.dead_after + SLACK)
    }
}

fn config_file(text: String) -> GuestFile {
    GuestFile {
        path: "/etc/dlm/dlm.conf".to_owned(),
        text,
        mode: 0o644,
    }
}

/// Prints, for each of these lock spaces that this node has joined, `space NAME members 1 2` once no change of them is under way.
pub(crate) fn spaces(names: &[&str]) -> String {
    format!(
        "dlm_tool ls | {{\n\
         \x20   name= members= changes=\n\
         \x20   show() {{\n\
         \x20       case \" {} \" in *\" $name \"*) echo \"lock space $name$changes: $members\" ;; esac\n\
         \x20       changes=\n\
         \x20   }}\n\
         \x20   while read -r key value rest; do\n\
         \x20       case $key in\n\
         \x20           name) name=$value ;;\n\
         \x20           flags) [ $value = 0x00000000 ] || changes=\" with flags $value\" ;;\n\
         \x20           new) changes=' is changing' ;;\n\
         \x20           members) members=\"$value $rest\" ;;\n\
         \x20           '') [ -z \"$name\" ] || show; name= ;;\n\
         \x20       esac\n\
         \x20   done\n\
         \x20   [ -z \"$name\" ] || show\n\
         }} | sort\n",
        names.join(" ")
    )
}

/// What [`spaces`] prints of a lock space that exactly these nodes share.
pub(crate) fn space(name: &str, members: &str) -> String {
    format!("lock space {name}: {members}")
}
