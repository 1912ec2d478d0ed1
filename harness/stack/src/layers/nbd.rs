//! Network block devices: servers export their disks, clients import all of them; a node may be both.

use std::fmt::Write as _;
use std::time::Duration;

use sanlab_plan::guest::DD;
use sanlab_plan::{DISK, LayerKind, Nbd, NbdServer, NodeName, PlacedLayer, Plan};

use crate::description::layer::LayerCommands;
use crate::description::probe::{Expect, Probe};
use crate::description::work::{GuestFile, Stage};
use crate::layers::describe::{Describe, Hot, Watched};
use crate::nodes::present::{Peers, those};
use crate::nodes::topology::{Member, Topology};
use crate::shell::script::{script, wait_for_end_or_kill};

/// The guests' page.
const PAGE: u32 = 4096;
const PID_FILE: &str = "/run/nbd-server.pid";
/// 1: the kernel promises any memory that it is asked for.
const OVERCOMMIT: &str = "/proc/sys/vm/overcommit_memory";
const SERVER_CONFIG: &str = "/etc/nbd-server/sanlab.conf";

const SERVE: Duration = Duration::from_secs(120);
/// nbd-server generates Diffie-Hellman parameters before it serves: up to 80 s of CPU in an emulated i386.
const SERVE_SLOWLY: Duration = Duration::from_secs(600);
const IMPORT: Duration = Duration::from_secs(120);
const PROBE: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(60);

/// What servers export, and clients import.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Exports {
    plan: Nbd,
}

impl Describe for Nbd {
    const HOT: Hot = Hot {
        modules: &["nbd"],
        commands: &[
            ("nbdkit", "file --version"),
            ("nbd-server", "-V"),
            ("nbd-client", "-V"),
            ("nbd-persist", "-V"),
        ],
    };

    fn describe(
        &self,
        _placed: &PlacedLayer,
        _plan: &Plan,
        _watched: &mut Watched,
    ) -> Box<dyn LayerCommands> {
        Box::new(Exports { plan: self.clone() })
    }
}

impl LayerCommands for Exports {
    fn kind(&self) -> LayerKind {
        LayerKind::Nbd
    }

    fn title(&self) -> String {
        let filters = match self.plan.filters.as_slice() {
            [] => String::new(),
            filters => format!(" behind {}", filters.join(", ")),
        };
        format!(
            "nbd with {}{filters}, {} each",
            self.plan.server, self.plan.disk
        )
    }

    fn up(&self, there: &[NodeName], topology: &Topology) -> Vec<Stage> {
        vec![
            self.serve(there, topology),
            self.import(&those(there, &self.plan.clients), there, topology),
        ]
    }

    fn join(&self, node: &NodeName, peers: &Peers, topology: &Topology) -> Vec<Stage> {
        vec![self.import(
            &those(std::slice::from_ref(node), &self.plan.clients),
            &peers.active,
            topology,
        )]
    }

    /// Its server comes up on the same disk, and its peers get their devices back.
    fn rejoin(&self, node: &NodeName, peers: &Peers, topology: &Topology) -> Vec<Stage> {
        let one = std::slice::from_ref(node);
        let mut active = peers.active.clone();
        let mut stages = Vec::new();
        if !self.daemons(node).is_empty() {
            active.push(node.clone());
            stages.push(self.serve(one, topology));
            stages.push(self.connect_again(
                node,
                &those(&peers.there, &self.plan.clients),
                topology,
            ));
        }
        stages.push(self.import(one, &active, topology));
        stages
    }

    fn daemons(&self, node: &NodeName) -> &'static [&'static str] {
        match self.plan.server {
            _ if !self.plan.servers.contains(node) => &[],
            NbdServer::Nbdkit => &["nbdkit"],
            NbdServer::NbdServer => &["nbd-server"],
        }
    }

    fn service(&self, node: &NodeName, peers: &Peers, topology: &Topology) -> Vec<Stage> {
        if self.daemons(node).is_empty() {
            return Vec::new();
        }
        vec![
            self.serve(std::slice::from_ref(node), topology),
            self.connect_again(node, &those(&peers.there, &self.plan.clients), topology),
        ]
    }

    fn probes(&self, node: &NodeName, peers: &Peers, topology: &Topology) -> Vec<Probe> {
        let mut devices = self.imported(&peers.active, topology);
        devices.retain(|_| self.plan.clients.contains(node));
        let count = devices.len();
        let sectors = self.plan.devices.first().map_or(0, |device| device.sectors);
        let line = |(n, _): &(usize, &Member)| format!("nbd{n} {sectors}");
        let mut lines: Vec<String> = devices.iter().map(line).collect();
        let mut text = format!(
            "for n in {}; do\n\
             \x20   b=/sys/block/nbd$n\n\
             \x20   read -r size <$b/size\n\
             \x20   [ -e $b/pid ] || size='not connected'\n\
             \x20   echo \"nbd$n $size\"\n\
             done\n",
            numbers(devices.iter().map(|(n, _)| *n))
        );
        if self.plan.servers.contains(node) {
            // A process that has ended but is not reaped has no executable.
            let _ = writeln!(
                text,
                "read -r pid <{PID_FILE}\n\
                 [ -e \"/proc/$pid/exe\" ] && echo 'serving {DISK}' || echo 'the server has ended'"
            );
            lines.push(format!("serving {DISK}"));
        }
        vec![Probe {
            node: node.clone(),
            title: match count {
                0 => format!("{DISK} is served"),
                _ => format!("{count} NBD devices of {sectors} sectors are connected"),
            },
            script: text,
            expect: Expect(lines),
            deadline: PROBE,
            stall: None,
        }]
    }

    fn down(&self, there: &[NodeName], topology: &Topology) -> Vec<Stage> {
        let devices = numbers(0..self.plan.servers.len());
        let disconnect = script(&format!(
            "for n in {devices}; do\n\
             \x20   [ ! -e /sys/block/nbd$n/pid ] || run nbd-client -d /dev/nbd$n\n\
             done\n"
        ));
        // nbdkit does not end while the connection of a client is open that crashed; it holds nothing that is not on the disk.
        let stop = script(&format!(
            "[ -e {PID_FILE} ] || exit 0\n\
             read -r pid <{PID_FILE}\n\
             kill \"$pid\" || true\n\
             {}\
             rm -f {PID_FILE}\n",
            wait_for_end_or_kill(self.plan.server.as_str(), 25, 100)
        ));
        let servers = self.exporting(there, topology);
        let clients = those(there, &self.plan.clients);
        vec![
            Stage::new(&clients, "disconnect NBD devices", STOP, &disconnect),
            Stage::new(&servers, "stop the server", STOP, &stop),
        ]
    }

    fn state(&self) -> Vec<(String, String)> {
        let text = "grep -s . /sys/block/nbd*/size /sys/block/nbd*/pid || true\n\
                    ss -tnp || true\n\
                    ps w | grep -i nbd || true\n\
                    grep -s . /run/nbd-persist-*.log || true\n";
        vec![("nbd.txt".to_owned(), text.to_owned())]
    }
}

impl Exports {
    /// The exporters among `active`, with the numbers of their devices.
    fn imported<'a>(
        &self,
        active: &[NodeName],
        topology: &'a Topology,
    ) -> Vec<(usize, &'a Member)> {
        let all = self.plan.servers.iter().enumerate();
        all.filter(|(_, server)| active.contains(server))
            .filter_map(|(number, server)| Some((number, topology.member(server)?)))
            .collect()
    }

    fn exporting(&self, there: &[NodeName], topology: &Topology) -> Vec<NodeName> {
        topology
            .those(there)
            .filter(|member| self.plan.servers.contains(&member.name))
            .map(|member| member.name.clone())
            .collect()
    }

    fn serve(&self, there: &[NodeName], topology: &Topology) -> Stage {
        let servers = self.exporting(there, topology);
        let title = format!("serve {DISK} on port {}", self.plan.port);
        let (deadline, files) = match self.plan.server {
            NbdServer::Nbdkit => (SERVE, Vec::new()),
            NbdServer::NbdServer => {
                let config = GuestFile {
                    path: SERVER_CONFIG.to_owned(),
                    text: "[generic]\n\tallowlist = true\n".to_owned(),
                    mode: 0o644,
                };
                (SERVE_SLOWLY, vec![config])
            }
        };
        let mut stage = Stage::new(&servers, &title, deadline, "").with_files(&files);
        for (task, member) in stage.tasks.iter_mut().zip(topology.those(&servers)) {
            task.script = script(&self.server(member.disk));
        }
        stage
    }

    /// Starts the server of a disk.
    fn server(&self, disk: &str) -> String {
        let port = self.plan.port;
        match self.plan.server {
            // Its parent process ends when it listens. Its program asks for 192 MiB of zeros that it never touches: in a guest with
            // less memory than that the kernel would refuse, both when the program starts and when it forks.
            NbdServer::Nbdkit => {
                let filters = self
                    .plan
                    .filters
                    .iter()
                    .map(|filter| format!("--filter={filter}"));
                let mut words = vec![format!("run nbdkit --pidfile={PID_FILE} --port={port}")];
                words.extend(filters);
                words.push(format!("file {disk}"));
                words.extend(self.plan.options.iter().cloned());
                format!(
                    "overcommit=$(cat {OVERCOMMIT})\n\
                     echo 1 >{OVERCOMMIT}\n\
                     {}\n\
                     echo $overcommit >{OVERCOMMIT}\n",
                    words.join(" ")
                )
            }
            // It goes to the background first and then takes its time: its first answer must be waited for.
            NbdServer::NbdServer => format!(
                "run nbd-server -C {SERVER_CONFIG} -p {PID_FILE} {port} {disk}\n\
                 tries=0\n\
                 until said=$(nbd-client -l 127.0.0.1 {port} 2>&1); do\n\
                 \x20   tries=$((tries + 1))\n\
                 \x20   [ $tries -lt 100 ] || fail \"nbd-server does not list its export: $said\"\n\
                 \x20   sleep 0.2\n\
                 done\n"
            ),
        }
    }

    /// How a node imports the disk of `member` as `/dev/nbdN`. `nbd-client` 3.24 does not persist: over netlink it ignores that option, and
    /// over ioctl the kernel tells it that a lost connection ended well.
    fn client(&self, member: &Member, n: usize) -> String {
        let program = self.plan.persist.map_or("nbd-client", |_| "nbd-persist");
        let mut command = format!(
            "{program} {} {} /dev/nbd{n} -b {}",
            member.host(&self.plan.network),
            self.plan.port,
            self.plan.block_size.bytes()
        );
        let times = [
            ("timeout", self.plan.timeout),
            ("dead-timeout", self.plan.persist),
        ];
        for (word, time) in times {
            if let Some(time) = time {
                let _ = write!(command, " -{word} {}", time.as_secs());
            }
        }
        command
    }

    /// On the nodes `on`: their devices of the disk of `node` have a connection again. A client that persists makes it by itself; the
    /// device of any other gets one anew, for which nothing may have it open.
    fn connect_again(&self, node: &NodeName, on: &[NodeName], topology: &Topology) -> Stage {
        let mut text = String::new();
        for (n, member) in self.imported(std::slice::from_ref(node), topology) {
            let (before, attempt) = match self.plan.persist {
                // It waits while there is none.
                Some(_) => (
                    String::new(),
                    format!("{DD} if=/dev/nbd{n} of=/dev/null bs={PAGE} count=1 iflag=direct"),
                ),
                None => (
                    format!("run nbd-client -d /dev/nbd{n}\n"),
                    self.client(member, n),
                ),
            };
            let _ = write!(
                text,
                "{before}tries=0\n\
                 until said=$({attempt} 2>&1); do\n\
                 \x20   tries=$((tries + 1))\n\
                 \x20   [ $tries -lt 50 ] || fail \"/dev/nbd{n} gets no new connection: $said\"\n\
                 \x20   sleep 0.2\n\
                 done\n"
            );
        }
        let title = format!("import the disk of {node} again");
        Stage::new(on, &title, IMPORT, &script(&text))
    }

    /// On the nodes `on`, from the exporters among `active`.
    fn import(&self, on: &[NodeName], active: &[NodeName], topology: &Topology) -> Stage {
        let count = self.plan.servers.len();
        let devices = self.imported(active, topology);
        // No partitions: the kernel need not look for any at every import.
        let mut text = format!("run modprobe nbd nbds_max={count} max_part=0\npids=\n");
        for (n, member) in &devices {
            let command = self.client(member, *n);
            let _ = writeln!(text, "run {command} & pids=\"$pids $!\"");
        }
        text += "failed=\n\
                 for pid in $pids; do wait \"$pid\" || failed=1; done\n\
                 [ -z \"$failed\" ] || fail 'not every disk could be imported'\n";
        Stage::new(
            on,
            &format!("import {} disks", devices.len()),
            IMPORT,
            &script(&text),
        )
    }
}

/// `0 1 2 3`
fn numbers(numbers: impl Iterator<Item = usize>) -> String {
    numbers.map(|n| n.to_string()).collect::<Vec<_>>().join(" ")
}
