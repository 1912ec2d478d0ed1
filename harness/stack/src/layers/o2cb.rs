//! OCFS2's own membership: cluster.conf on every node, and the o2cb service that puts it into the kernel.

use std::fmt::Write as _;
use std::time::Duration;

use sanlab_plan::guest::{O2CB_SERVICE, O2CB_SETTINGS};
use sanlab_plan::{LayerKind, NodeName, O2cb, PlacedLayer, Plan};

use crate::description::layer::LayerCommands;
use crate::description::probe::{Expect, Probe};
use crate::description::work::{GuestFile, Stage};
use crate::layers::describe::{Describe, Hot, Watched};
use crate::nodes::present::Peers;
use crate::nodes::topology::{Member, Topology};
use crate::shell::script::script;

const START: Duration = Duration::from_secs(120);
const PROBE: Duration = Duration::from_secs(60);

/// Parameters in configfs, in the order in which the probe prints them.
const PARAMETERS: [&str; 5] = [
    "heartbeat/dead_threshold",
    "idle_timeout_ms",
    "keepalive_delay_ms",
    "reconnect_delay_ms",
    "fence_method",
];

/// The cluster and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) plan: O2cb,
    /// Every node that is ever a member.
    pub(crate) on: Vec<NodeName>,
}

impl Describe for O2cb {
    const HOT: Hot = Hot {
        modules: &["ocfs2_stack_o2cb", "ocfs2_dlmfs"],
        commands: &[
            ("o2cb_ctl", "-V"),
            ("o2cb", "--version"),
            ("bash -n", O2CB_SERVICE),
        ],
    };

    fn describe(
        &self,
        placed: &PlacedLayer,
        _plan: &Plan,
        _watched: &mut Watched,
    ) -> Box<dyn LayerCommands> {
        Box::new(Service {
            plan: self.clone(),
            on: placed.on.clone(),
        })
    }
}

impl LayerCommands for Service {
    fn kind(&self) -> LayerKind {
        LayerKind::O2cb
    }

    fn title(&self) -> String {
        format!("o2cb cluster {}", self.plan.cluster)
    }

    fn up(&self, there: &[NodeName], topology: &Topology) -> Vec<Stage> {
        vec![self.start(there, there, topology)]
    }

    fn join(&self, node: &NodeName, peers: &Peers, topology: &Topology) -> Vec<Stage> {
        let Some(newcomer) = topology.member(node) else {
            return Vec::new();
        };
        let register = script(&format!(
            "said=$(o2cb_ctl -C -n {name} -t node -i -a ip_port={port} -a ip_address={address} -a number={number} \
             -a cluster={cluster} 2>&1) || fail \"exit code $?: o2cb_ctl -C -n {name}: $said\"\n\
             echo \"$said\"\n\
             [ \"$said\" = 'Node {name} created' ] || fail \"o2cb_ctl -C -n {name} said: $said\"\n",
            name = newcomer.name,
            port = self.plan.port,
            address = newcomer.address(&self.plan.network),
            number = newcomer.number,
            cluster = self.plan.cluster,
        ));
        let mut all = peers.there.clone();
        all.push(node.clone());
        vec![
            Stage::new(&peers.there, &format!("register {node}"), START, &register),
            self.begin(node, &all, topology),
        ]
    }

    /// The others know it still.
    fn rejoin(&self, node: &NodeName, peers: &Peers, topology: &Topology) -> Vec<Stage> {
        let mut all = peers.there.clone();
        all.push(node.clone());
        vec![self.begin(node, &all, topology)]
    }

    fn probes(&self, node: &NodeName, peers: &Peers, topology: &Topology) -> Vec<Probe> {
        let text = format!(
            "cd /sys/kernel/config/cluster/{}\n\
             for name in {}; do\n\
             \x20   read -r value <$name\n\
             \x20   echo \"$name $value\"\n\
             done\n\
             cd node\n\
             for name in *; do\n\
             \x20   read -r number <$name/num\n\
             \x20   read -r address <$name/ipv4_address\n\
             \x20   read -r port <$name/ipv4_port\n\
             \x20   read -r here <$name/local\n\
             \x20   if [ $here = 1 ]; then here=' local'; else here=; fi\n\
             \x20   echo \"$name $number $address:$port$here\"\n\
             done\n",
            self.plan.cluster,
            PARAMETERS.join(" ")
        );
        let values = [
            self.plan.heartbeat_threshold.to_string(),
            self.plan.idle_timeout.as_millis().to_string(),
            self.plan.keepalive_delay.as_millis().to_string(),
            self.plan.reconnect_delay.as_millis().to_string(),
            self.plan.fence_method.to_string(),
        ];
        let mut lines: Vec<String> = PARAMETERS
            .iter()
            .zip(values)
            .map(|(name, value)| format!("{name} {value}"))
            .collect();
        let known = topology.known(&self.on, &peers.there);
        let mut members: Vec<&Member> = topology.those(&known).collect();
        members.sort_by_key(|member| &member.name);
        lines.extend(members.iter().map(|member| {
            let here = if member.name == *node { " local" } else { "" };
            format!(
                "{} {} {}:{}{here}",
                member.name,
                member.number,
                member.address(&self.plan.network),
                self.plan.port
            )
        }));
        vec![Probe {
            node: node.clone(),
            title: format!(
                "the kernel knows the {} members of {}",
                members.len(),
                self.plan.cluster
            ),
            script: text,
            expect: Expect(lines),
            deadline: PROBE,
            stall: None,
        }]
    }

    fn down(&self, there: &[NodeName], _topology: &Topology) -> Vec<Stage> {
        // Not `stop`: that would unload the modules as well, which takes longer than all the rest.
        let folder = format!("/sys/kernel/config/cluster/{}", self.plan.cluster);
        let text = script(&format!(
            "[ -d {folder} ] || exit 0\n\
             said=$({O2CB_SERVICE} offline 2>&1) || fail \"exit code $?: {O2CB_SERVICE} offline: $said\"\n\
             [ ! -d {folder} ] || fail \"the cluster is still online after {O2CB_SERVICE} offline: $said\"\n"
        ));
        vec![Stage::new(there, "take the cluster offline", START, &text)]
    }

    fn state(&self) -> Vec<(String, String)> {
        let configfs = "cd /sys/kernel/config 2>/dev/null || exit 0\n\
                        find cluster -type f | while read -r file; do echo \"$file: $(cat \"$file\" 2>&1)\"; done\n";
        let debugfs = "cd /sys/kernel/debug 2>/dev/null || exit 0\n\
                       find o2net o2hb o2dlm -type f 2>/dev/null | while read -r file; do\n\
                       \x20   echo \"== $file\"\n\
                       \x20   head -c 65536 \"$file\" 2>&1 || true\n\
                       done\n";
        vec![
            (
                "cluster.conf".to_owned(),
                "cat /etc/ocfs2/cluster.conf || true\n".to_owned(),
            ),
            ("o2cb-configfs.txt".to_owned(), configfs.to_owned()),
            ("o2cb-debugfs.txt".to_owned(), debugfs.to_owned()),
        ]
    }
}

impl Service {
    /// Starts the service on `node`, one of `there`.
    fn begin(&self, node: &NodeName, there: &[NodeName], topology: &Topology) -> Stage {
        let known = topology.known(&self.on, there);
        self.start(std::slice::from_ref(node), &known, topology)
    }

    /// Writes the configuration that names `members` on the nodes `on`, and starts the service there.
    fn start(&self, on: &[NodeName], members: &[NodeName], topology: &Topology) -> Stage {
        // The service ends with code 0 whatever happened, and has no setting for the way to fence.
        let text = script(&format!(
            "said=$({O2CB_SERVICE} start 2>&1) || fail \"exit code $?: {O2CB_SERVICE} start: $said\"\n\
             echo \"$said\"\n\
             cluster=/sys/kernel/config/cluster/{}\n\
             [ -d $cluster ] || fail \"no cluster after {O2CB_SERVICE} start: $said\"\n\
             echo {} >$cluster/fence_method\n",
            self.plan.cluster, self.plan.fence_method
        ));
        let files = [
            GuestFile {
                path: "/etc/ocfs2/cluster.conf".to_owned(),
                text: self.cluster_conf(topology.those(members)),
                mode: 0o644,
            },
            GuestFile {
                path: O2CB_SETTINGS.to_owned(),
                text: self.service_conf(),
                mode: 0o644,
            },
        ];
        Stage::new(on, "start the o2cb service", START, &text).with_files(&files)
    }

    /// In the form that `o2cb_ctl` reads and writes: one stanza a node, indented by tabs, and one for the cluster.
    fn cluster_conf<'a>(&self, members: impl Iterator<Item = &'a Member>) -> String {
        let mut text = String::new();
        let mut count = 0;
        for member in members {
            count += 1;
            let _ = write!(
                text,
                "node:\n\tip_port = {}\n\tip_address = {}\n\tnumber = {}\n\tname = {}\n\tcluster = {}\n\n",
                self.plan.port,
                member.address(&self.plan.network),
                member.number,
                member.name,
                self.plan.cluster
            );
        }
        let _ = writeln!(
            text,
            "cluster:\n\tnode_count = {count}\n\tname = {}",
            self.plan.cluster
        );
        text
    }

    /// Debian's place for what the article writes into /etc/sysconfig/o2cb.
    fn service_conf(&self) -> String {
        format!(
            "O2CB_ENABLED=true\n\
             O2CB_BOOTCLUSTER={}\n\
             O2CB_HEARTBEAT_THRESHOLD={}\n\
             O2CB_IDLE_TIMEOUT_MS={}\n\
             O2CB_KEEPALIVE_DELAY_MS={}\n\
             O2CB_RECONNECT_DELAY_MS={}\n",
            self.plan.cluster,
            self.plan.heartbeat_threshold,
            self.plan.idle_timeout.as_millis(),
            self.plan.keepalive_delay.as_millis(),
            self.plan.reconnect_delay.as_millis()
        )
    }
}
