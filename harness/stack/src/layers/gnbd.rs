//! GNBD: servers export what lies below, or their own disks; clients import everything from all of them.

use std::fmt::Write as _;
use std::time::Duration;

use sanlab_plan::{Export, Gnbd, Layer, LayerKind, NodeName, PlacedLayer, Plan};

use crate::description::layer::LayerCommands;
use crate::description::probe::{Expect, Probe};
use crate::description::work::{GuestFile, Stage};
use crate::layers::describe::{Describe, Hot, Watched};
use crate::nodes::present::{Peers, those};
use crate::nodes::topology::{Member, Topology};
use crate::shell::power;
use crate::shell::script::script;

const SERVE: Duration = Duration::from_secs(90);
const IMPORT: Duration = Duration::from_secs(120);
const PROBE: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(60);

/// The programs' way to ask corosync.
const COROSYNC: &str = "ln -sf /usr/share/gnbd/corosync /etc/gnbd/membership\n";

/// For a server without a cluster manager: it may export without its page cache only if somebody says its name.
const NO_CLUSTER: &str = "#!/bin/sh\n\
    # There is no cluster here: this says the host's name and knows of nobody else.\n\
    [ \"$1\" = name ] && exec hostname\n\
    exit 1\n";

/// Servers, clients, and what goes from one to the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Imports {
    pub(crate) plan: Gnbd,
    /// The nodes that corosync runs on.
    pub(crate) clustered: Vec<NodeName>,
    /// Whether there are several paths to each disk: then a server's death is worth an error at once.
    pub(crate) multipath: bool,
}

/// A server's share.
struct Share<'a> {
    member: &'a Member,
    export: &'a Export,
}

impl Imports {
    /// What those of `there` serve, in the servers' order.
    fn shares<'a>(
        &'a self,
        there: &[NodeName],
        topology: &'a Topology,
    ) -> impl Iterator<Item = Share<'a>> {
        let all = self.plan.servers.iter().zip(&self.plan.exports);
        all.filter(|(server, _)| there.contains(server))
            .filter_map(|(server, export)| {
                let member = topology.member(server)?;
                Some(Share { member, export })
            })
    }

    fn has_cluster(&self, node: &NodeName) -> bool {
        self.clustered.contains(node)
    }

    fn files(&self, node: &NodeName) -> Vec<GuestFile> {
        let mut files = Vec::new();
        if !self.has_cluster(node) && !self.plan.cached && self.plan.servers.contains(node) {
            files.push(executable("/etc/gnbd/membership", NO_CLUSTER));
        }
        if self.plan.membership && self.plan.clients.contains(node) {
            let ask = power::cut(self.plan.timeout);
            let agent = format!(
                "#!/bin/sh\n\
                 # /etc/gnbd/fence NODE: has the lab cut the power of a node. Success: it is off.\n\
                 node=$1\n\
                 {ask}"
            );
            files.push(executable("/etc/gnbd/fence", &agent));
        }
        files
    }

    /// Starts the server and exports. A server whose exports are cached needs no cluster manager.
    fn serve(&self, there: &[NodeName], topology: &Topology) -> Stage {
        let Gnbd {
            cached,
            port,
            timeout,
            ..
        } = &self.plan;
        let servers: Vec<NodeName> = self
            .shares(there, topology)
            .map(|share| share.member.name.clone())
            .collect();
        let mut stage = Stage::new(&servers, &format!("export on port {port}"), SERVE, "");
        for (task, share) in stage.tasks.iter_mut().zip(self.shares(there, topology)) {
            let export = share.export;
            let lone = !self.has_cluster(&task.node) && *cached;
            let mut text = String::new();
            if self.has_cluster(&task.node) {
                text += "mkdir -p /etc/gnbd\n";
                text += COROSYNC;
            }
            let how = if *cached {
                "-c".to_owned()
            } else {
                format!("-t {} -u {}", timeout.as_secs(), export.uid)
            };
            let _ = write!(
                text,
                "run gnbd_serv -p {port}{}\n\
                 run gnbd_export -d {} -e {} {how}\n",
                if lone { " -n" } else { "" },
                share.member.path(&export.source.path),
                export.name,
            );
            task.script = script(&text);
            task.files = self.files(&task.node);
        }
        stage
    }

    /// The driver, and the programs that the import asks.
    fn prepare(&self, clients: &[NodeName]) -> Stage {
        let mut text = format!(
            "run modprobe nbd nbds_max={} max_part=0\n",
            self.plan.servers.len()
        );
        if self.plan.membership {
            text += COROSYNC;
        }
        let mut stage = Stage::new(clients, "load the nbd driver", SERVE, &script(&text));
        for task in &mut stage.tasks {
            task.files = self.files(&task.node);
        }
        stage
    }

    /// One after another: each takes the lowest device that is free.
    fn import(&self, clients: &[NodeName], there: &[NodeName], topology: &Topology) -> Stage {
        let command = self.import_command();
        let hosts: Vec<String> = self
            .shares(there, topology)
            .map(|share| share.member.host(&self.plan.network))
            .collect();
        let text = format!(
            "for server in {}; do run {command} -i $server; done\n",
            hosts.join(" ")
        );
        let title = format!("import from {} servers", hosts.len());
        Stage::new(clients, &title, IMPORT, &script(&text))
    }

    fn import_command(&self) -> String {
        let mut command = format!("gnbd_import -p {}", self.plan.port);
        if !self.plan.membership {
            command += " -n";
        }
        if let Some(after) = self.plan.fail_fast {
            let _ = write!(command, " -F{}", after.as_secs());
        }
        // Another path takes over at once when a server's program is dead for sure.
        if self.multipath && self.plan.membership && !self.plan.cached {
            command += " -D";
        }
        command
    }

    fn imported(&self, client: &NodeName, there: &[NodeName], topology: &Topology) -> Probe {
        let shares: Vec<Share<'_>> = self.shares(there, topology).collect();
        let names: Vec<&str> = shares
            .iter()
            .map(|share| share.export.name.as_str())
            .collect();
        let text = format!(
            "gnbd_import -n -l | while read -r one two three four rest; do\n\
             \x20   case \"$one $two\" in\n\
             \x20       'Device name') name=$four ;;\n\
             \x20       'Server :') server=$three ;;\n\
             \x20       'State :') state=$four ;;\n\
             \x20       'Sectors :') case ' {} ' in *\" $name \"*) echo \"$name $server $state $three\" ;; esac ;;\n\
             \x20   esac\n\
             done\n",
            names.join(" ")
        );
        let line = |share: &Share<'_>| {
            format!(
                "{} {} Connected {}",
                share.export.name,
                share.member.host(&self.plan.network),
                share.export.source.sectors
            )
        };
        Probe {
            node: client.clone(),
            title: format!("{} are imported", names.join(" ")),
            script: text,
            expect: Expect::lines(shares.iter().map(line)),
            deadline: PROBE,
            stall: None,
        }
    }

    fn exported(&self, share: &Share<'_>) -> Probe {
        let Share { member, export } = share;
        let text = "gnbd_export -l | while read -r one two three rest; do\n\
             \x20   case \"$one $two\" in\n\
             \x20       'Server['*) name=$three ;;\n\
             \x20       'file :') file=$three ;;\n\
             \x20       'sectors :') sectors=$three ;;\n\
             \x20       'timeout :') echo \"$name $file $sectors $three\" ;;\n\
             \x20   esac\n\
             done\n";
        let timeout = if self.plan.cached {
            "no".to_owned()
        } else {
            self.plan.timeout.as_secs().to_string()
        };
        Probe {
            node: member.name.clone(),
            title: format!("{} is exported", export.name),
            script: text.to_owned(),
            expect: Expect::lines([format!(
                "{} {} {} {timeout}",
                export.name,
                member.path(&export.source.path),
                export.source.sectors
            )]),
            deadline: PROBE,
            stall: None,
        }
    }
}

impl Describe for Gnbd {
    const HOT: Hot = Hot {
        modules: &["nbd"],
        commands: &[
            ("gnbd_serv", "-V"),
            ("gnbd_export", "-V"),
            ("gnbd_import", "-V"),
        ],
    };

    fn describe(
        &self,
        _placed: &PlacedLayer,
        plan: &Plan,
        _watched: &mut Watched,
    ) -> Box<dyn LayerCommands> {
        let clustered = plan.layers.iter().filter_map(|placed| match placed.layer {
            Layer::Membership(_) => Some(&placed.on),
            _ => None,
        });
        let mut layers = plan.layers.iter();
        Box::new(Imports {
            plan: self.clone(),
            clustered: clustered.flatten().cloned().collect(),
            multipath: layers.any(|placed| match &placed.layer {
                Layer::Multipath(multipath) => multipath.below == LayerKind::Gnbd,
                _ => false,
            }),
        })
    }
}

impl LayerCommands for Imports {
    fn kind(&self) -> LayerKind {
        LayerKind::Gnbd
    }

    fn title(&self) -> String {
        let Gnbd {
            servers,
            clients,
            cached,
            timeout,
            ..
        } = &self.plan;
        let how = if *cached {
            "cached".to_owned()
        } else {
            format!("time-out {} s", timeout.as_secs())
        };
        format!(
            "gnbd from {} servers to {} clients, {how}",
            servers.len(),
            clients.len()
        )
    }

    fn up(&self, there: &[NodeName], topology: &Topology) -> Vec<Stage> {
        let clients = those(&self.plan.clients, there);
        let mut first = self.serve(there, topology);
        first.tasks.extend(self.prepare(&clients).tasks);
        vec![first, self.import(&clients, there, topology)]
    }

    fn join(&self, node: &NodeName, peers: &Peers, topology: &Topology) -> Vec<Stage> {
        let one = std::slice::from_ref(node);
        if self.plan.clients.contains(node) {
            vec![self.prepare(one), self.import(one, &peers.active, topology)]
        } else {
            let clients = those(&self.plan.clients, &peers.active);
            vec![
                self.serve(one, topology),
                self.import(&clients, one, topology),
            ]
        }
    }

    /// Clients that knew a server go back to it by themselves; they are made to do so at once, and those that came while it
    /// was away import from it now.
    fn rejoin(&self, node: &NodeName, peers: &Peers, topology: &Topology) -> Vec<Stage> {
        let mut stages = self.join(node, peers, topology);
        if self.plan.servers.contains(node) {
            let again = script(&format!("run {} -a\n", self.import_command()));
            let clients = those(&self.plan.clients, &peers.active);
            let title = format!("go back to {node}");
            stages.push(Stage::new(&clients, &title, IMPORT, &again));
        }
        stages
    }

    fn daemons(&self, node: &NodeName) -> &'static [&'static str] {
        if self.plan.servers.contains(node) {
            &["gnbd_serv"]
        } else {
            &["gnbd_recvd"]
        }
    }

    fn service(&self, node: &NodeName, _peers: &Peers, topology: &Topology) -> Vec<Stage> {
        let one = std::slice::from_ref(node);
        if self.plan.servers.contains(node) {
            vec![self.serve(one, topology)]
        } else {
            let text = script(&format!("run {} -a\n", self.import_command()));
            vec![Stage::new(one, "start dead receivers", IMPORT, &text)]
        }
    }

    fn probes(&self, node: &NodeName, peers: &Peers, topology: &Topology) -> Vec<Probe> {
        if self.plan.clients.contains(node) {
            return vec![self.imported(node, &peers.active, topology)];
        }
        self.shares(std::slice::from_ref(node), topology)
            .map(|share| self.exported(&share))
            .collect()
    }

    fn down(&self, there: &[NodeName], topology: &Topology) -> Vec<Stage> {
        let clients = those(&self.plan.clients, there);
        let servers: Vec<NodeName> = self
            .shares(there, topology)
            .map(|share| share.member.name.clone())
            .collect();
        let remove = script("[ ! -d /sys/module/nbd ] || run gnbd_import -n -R\n");
        let stop = script("run gnbd_export -q -R -O || true\nrun gnbd_serv -K\n");
        vec![
            Stage::new(&clients, "remove imported devices", STOP, &remove),
            Stage::new(&servers, "stop the server", STOP, &stop),
        ]
    }

    fn state(&self) -> Vec<(String, String)> {
        let exports = "gnbd_export -l\ngnbd_export -L\ntail -n 100 /run/gnbd/gnbd_serv.log\n";
        let imports = "gnbd_import -n -l\nls -l /dev/gnbd\n\
                       for file in /run/gnbd/*.env /run/gnbd/gnbd_recvd-*.log /run/gnbd/fenced/*; do\n\
                       \x20   echo \"== $file\"\n\
                       \x20   tail -n 100 $file\n\
                       done\n";
        vec![
            ("gnbd-exports.txt".to_owned(), exports.to_owned()),
            ("gnbd-imports.txt".to_owned(), imports.to_owned()),
        ]
    }
}

fn executable(path: &str, text: &str) -> GuestFile {
    GuestFile {
        path: path.to_owned(),
        text: text.to_owned(),
        mode: 0o755,
    }
}
