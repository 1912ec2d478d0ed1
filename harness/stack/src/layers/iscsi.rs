//! iSCSI: tgt serves the disks, open-iscsi imports them. There is no udev here: the layer finds each session's disk in sysfs and
//! links it under the server's name, so that it has the same path on every client.

use std::fmt::Write as _;
use std::time::Duration;

use sanlab_plan::{Iscsi, LayerKind, NodeName, PlacedLayer, Plan, names};

use crate::description::layer::LayerCommands;
use crate::description::probe::{Expect, Probe};
use crate::description::work::{GuestFile, Stage};
use crate::layers::describe::{Describe, Hot, Watched};
use crate::nodes::present::{Peers, those};
use crate::nodes::topology::{Member, Topology};
use crate::shell::script::{script, wait_for_end_or_kill};

const SERVE: Duration = Duration::from_secs(90);
const LOG_IN: Duration = Duration::from_secs(180);
/// A client that tries to reach a lost server gives each attempt 15 s.
const PROBE: Duration = Duration::from_secs(90);
const STOP: Duration = Duration::from_secs(90);

/// Begins the qualified name of every target and initiator; the node's name follows.
const NAMES: &str = "iqn.2026-11.local.sanlab";

/// tgt's caching mode page, in which the bit for a write cache is unset: it writes through then, and says so. `tgt-admin` sets the same for
/// `write-cache off`.
const WRITE_THROUGH: &str =
    "mode_page=8:0:18:0x10:0:0xff:0xff:0:0:0xff:0xff:0xff:0xff:0x80:0x14:0:0:0:0:0:0";

/// `session TARGET` prints the folder of the session with a target, `disk FOLDER` the kernel's name of its disk, which is logical
/// unit 1; both print nothing where there is none.
const FIND: &str = r#"session() {
    for folder in /sys/class/iscsi_session/session*; do
        [ -e "$folder/targetname" ] || continue
        read -r name <"$folder/targetname" || continue
        [ "$name" = "$1" ] || continue
        echo "$folder"
        break
    done
}
disk() {
    for folder in "$1"/device/target*/*:1/block/*; do
        [ ! -e "$folder/size" ] || echo "${folder##*/}"
    done
}
"#;

/// Servers, clients, and the sessions between them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sessions {
    plan: Iscsi,
}

impl Describe for Iscsi {
    const HOT: Hot = Hot {
        modules: &["iscsi_tcp", "sd_mod"],
        commands: &[
            ("tgtd", "-V"),
            ("tgtadm", "-V"),
            ("iscsid", "-v"),
            ("iscsiadm", "-V"),
        ],
    };

    fn describe(
        &self,
        _placed: &PlacedLayer,
        _plan: &Plan,
        _watched: &mut Watched,
    ) -> Box<dyn LayerCommands> {
        Box::new(Sessions { plan: self.clone() })
    }
}

impl LayerCommands for Sessions {
    fn kind(&self) -> LayerKind {
        LayerKind::Iscsi
    }

    fn title(&self) -> String {
        format!(
            "iscsi from {} servers to {} clients, {} each",
            self.plan.servers.len(),
            self.plan.clients.len(),
            self.plan.disk
        )
    }

    fn up(&self, there: &[NodeName], topology: &Topology) -> Vec<Stage> {
        let clients = those(&self.plan.clients, there);
        let servers = those(&self.plan.servers, there);
        let mut first = self.serve(&servers, topology);
        first.tasks.extend(self.start_iscsid(&clients).tasks);
        vec![first, self.log_in(&clients, &servers, topology)]
    }

    fn join(&self, node: &NodeName, peers: &Peers, topology: &Topology) -> Vec<Stage> {
        let one = std::slice::from_ref(node);
        if self.plan.clients.contains(node) {
            let servers = those(&self.plan.servers, &peers.active);
            return vec![self.start_iscsid(one), self.log_in(one, &servers, topology)];
        }
        // Those that knew it log in again by themselves.
        let clients = those(&self.plan.clients, &peers.active);
        vec![
            self.serve(one, topology),
            self.log_in(&clients, one, topology),
        ]
    }

    fn daemons(&self, node: &NodeName) -> &'static [&'static str] {
        if self.plan.servers.contains(node) {
            &["tgtd"]
        } else {
            &["iscsid"]
        }
    }

    fn service(&self, node: &NodeName, peers: &Peers, topology: &Topology) -> Vec<Stage> {
        let one = std::slice::from_ref(node);
        if self.plan.servers.contains(node) {
            let clients = those(&self.plan.clients, &peers.active);
            vec![
                self.serve(one, topology),
                self.log_in(&clients, one, topology),
            ]
        } else {
            vec![self.start_iscsid(one)]
        }
    }

    fn probes(&self, node: &NodeName, peers: &Peers, topology: &Topology) -> Vec<Probe> {
        if self.plan.clients.contains(node) {
            let servers = those(&self.plan.servers, &peers.active);
            return vec![self.imported(node, &servers)];
        }
        topology
            .member(node)
            .map(|member| self.exported(member))
            .into_iter()
            .collect()
    }

    fn down(&self, there: &[NodeName], _topology: &Topology) -> Vec<Stage> {
        let clients = those(&self.plan.clients, there);
        let servers = those(&self.plan.servers, there);
        let mut leave = FIND.to_owned();
        for server in &self.plan.servers {
            let _ = write!(
                leave,
                "rm -f /dev/iscsi/{server}\n\
                 [ -z \"$(session {0})\" ] || run iscsiadm -m node -T {0} --logout >/dev/null\n",
                name(server)
            );
        }
        leave += "pidof iscsid >/dev/null || exit 0\n\
                  run iscsiadm -k 0\n";
        leave += &wait_for_end_or_kill("iscsid", 50, 100);
        let stop = format!(
            "pidof tgtd >/dev/null || exit 0\n\
             timeout 10 tgtadm --lld iscsi --op delete --mode target --tid 1 --force || true\n\
             timeout 10 tgtadm --op delete --mode system || true\n\
             {}",
            wait_for_end_or_kill("tgtd", 50, 100)
        );
        vec![
            Stage::new(&clients, "log out and stop iscsid", STOP, &script(&leave)),
            Stage::new(&servers, "stop tgtd", STOP, &script(&stop)),
        ]
    }

    fn state(&self) -> Vec<(String, String)> {
        let targets = "timeout 5 tgtadm --lld iscsi --op show --mode target\n\
                       timeout 5 tgtadm --lld iscsi --op show --mode conn --tid 1\n";
        let sessions = "timeout 20 iscsiadm -m session -P 3\n\
                        ls -l /dev/iscsi\n\
                        grep -s . /sys/class/iscsi_session/*/state /sys/block/sd*/size /sys/block/sd*/device/state\n\
                        cat /etc/iscsi/iscsid.conf\n";
        vec![
            ("iscsi-targets.txt".to_owned(), targets.to_owned()),
            ("iscsi-sessions.txt".to_owned(), sessions.to_owned()),
        ]
    }
}

impl Sessions {
    /// Starts tgtd. It listens for clients when the disk is there: who asks earlier is told that there is no such target.
    fn serve(&self, servers: &[NodeName], topology: &Topology) -> Stage {
        let port = self.plan.port;
        let title = format!("serve a disk by tgt on port {port}");
        let mut stage = Stage::new(servers, &title, SERVE, "");
        for (task, member) in stage.tasks.iter_mut().zip(topology.those(servers)) {
            let admin = "run tgtadm --lld iscsi --op";
            let cache = if self.plan.write_cache {
                String::new()
            } else {
                format!(
                    "{admin} update --mode logicalunit --tid 1 --lun 1 --params {WRITE_THROUGH}\n"
                )
            };
            let text = format!(
                "run tgtd --iscsi portal=127.0.0.1:{port}\n\
                 tries=0\n\
                 until said=$(tgtadm --lld iscsi --op show --mode target 2>&1); do\n\
                 \x20   tries=$((tries + 1))\n\
                 \x20   [ $tries -lt 200 ] || fail \"tgtd does not answer: $said\"\n\
                 \x20   sleep 0.1\n\
                 done\n\
                 {admin} new --mode target --tid 1 --targetname {target}\n\
                 {admin} new --mode logicalunit --tid 1 --lun 1 --backing-store {disk}\n\
                 {admin} update --mode logicalunit --tid 1 --lun 1 --params scsi_sn={node}\n\
                 {cache}\
                 {admin} bind --mode target --tid 1 --initiator-address ALL\n\
                 {admin} new --mode portal --param portal={address}:{port}\n",
                target = name(&member.name),
                disk = member.disk,
                node = member.name,
                address = member.address(&self.plan.network),
            );
            task.script = script(&text);
        }
        stage
    }

    /// open-iscsi's defaults, but for the time that a request waits for a lost session, and more patience with a server that is busy.
    fn config(&self) -> String {
        format!(
            "node.startup = manual\n\
             node.session.timeo.replacement_timeout = {}\n\
             node.conn[0].timeo.login_timeout = 15\n\
             node.conn[0].timeo.logout_timeout = 15\n\
             node.conn[0].timeo.noop_out_interval = 5\n\
             node.conn[0].timeo.noop_out_timeout = 15\n",
            self.plan.timeout.as_secs()
        )
    }

    /// The drivers, and the daemon that logs in again when a session is lost.
    fn start_iscsid(&self, clients: &[NodeName]) -> Stage {
        let text = script(
            "run modprobe -a iscsi_tcp sd_mod\n\
             pidof iscsid >/dev/null || run iscsid\n",
        );
        let mut stage = Stage::new(clients, "start iscsid", SERVE, &text);
        for task in &mut stage.tasks {
            let file = |path: &str, text: String| GuestFile {
                path: path.to_owned(),
                text,
                mode: 0o600,
            };
            task.files = vec![
                file("/etc/iscsi/iscsid.conf", self.config()),
                file(
                    "/etc/iscsi/initiatorname.iscsi",
                    format!("InitiatorName={}\n", name(&task.node)),
                ),
            ];
        }
        stage
    }

    /// On each of `clients`: a session with each of `servers`, and the link to its disk. Where there is a session, it is left to
    /// iscsid.
    fn log_in(&self, clients: &[NodeName], servers: &[NodeName], topology: &Topology) -> Stage {
        let mut text = format!(
            "{FIND}\
             mkdir -p /dev/iscsi\n\
             log_in() {{\n\
             \x20   target={NAMES}:$1\n\
             \x20   if [ -z \"$(session $target)\" ]; then\n\
             \x20       run iscsiadm -m node -T $target -p $2 -o new >/dev/null\n\
             \x20       run iscsiadm -m node -T $target -p $2 --login >/dev/null\n\
             \x20   fi\n\
             \x20   tries=0\n\
             \x20   found=$(disk \"$(session $target)\")\n\
             \x20   until [ -n \"$found\" ]; do\n\
             \x20       tries=$((tries + 1))\n\
             \x20       [ $tries -lt 300 ] || fail \"the session with $target has no disk\"\n\
             \x20       sleep 0.1\n\
             \x20       found=$(disk \"$(session $target)\")\n\
             \x20   done\n\
             \x20   ln -sfn ../$found /dev/iscsi/$1\n\
             }}\n"
        );
        for member in topology.those(servers) {
            let (name, address) = (&member.name, member.address(&self.plan.network));
            let _ = writeln!(text, "log_in {name} {address}:{}", self.plan.port);
        }
        let title = format!("log in to {}", names(servers));
        Stage::new(clients, &title, LOG_IN, &script(&text))
    }

    /// A client has a session with each server, and the disk under its name.
    fn imported(&self, client: &NodeName, servers: &[NodeName]) -> Probe {
        let names: Vec<&str> = servers.iter().map(NodeName::as_str).collect();
        let names = names.join(" ");
        let text = format!(
            "{FIND}\
             for server in {names}; do\n\
             \x20   folder=$(session {NAMES}:$server)\n\
             \x20   [ -n \"$folder\" ] || {{ echo \"$server: no session\"; continue; }}\n\
             \x20   read -r state <$folder/state\n\
             \x20   disk=$(disk $folder)\n\
             \x20   [ -n \"$disk\" ] || {{ echo \"$server: $state, no disk\"; continue; }}\n\
             \x20   [ \"$(readlink /dev/iscsi/$server)\" = ../$disk ] || {{ echo \"$server: $state, not the disk of its link\"; continue; }}\n\
             \x20   read -r running </sys/block/$disk/device/state\n\
             \x20   read -r size </sys/block/$disk/size\n\
             \x20   read -r cache </sys/block/$disk/queue/write_cache\n\
             \x20   echo \"$server: $state, $running, $size sectors, $cache\"\n\
             done\n"
        );
        let sectors = self.plan.disk.bytes() / 512;
        let cache = if self.plan.write_cache {
            "write back"
        } else {
            "write through"
        };
        let line =
            |server: &NodeName| format!("{server}: LOGGED_IN, running, {sectors} sectors, {cache}");
        Probe {
            node: client.clone(),
            title: format!("logged in to {names}"),
            script: text,
            expect: Expect::lines(servers.iter().map(line)),
            deadline: PROBE,
            stall: None,
        }
    }

    /// A server has its target, and the disk in it.
    fn exported(&self, member: &Member) -> Probe {
        let text = format!(
            "tgtadm --lld iscsi --op show --mode target | while read -r one two three four rest; do\n\
             \x20   case \"$one $two\" in\n\
             \x20       'Target 1:') target=$three ;;\n\
             \x20       'Backing store') [ \"$three $four\" != 'path: None' ] && [ \"$three\" = path: ] && echo \"$target $four\" || true ;;\n\
             \x20   esac\n\
             done\n\
             netstat -tln | grep -q '{}:{} ' && echo listening || echo 'no listener'\n",
            member.address(&self.plan.network),
            self.plan.port
        );
        Probe {
            node: member.name.clone(),
            title: format!("{} is a target", member.disk),
            script: text,
            expect: Expect::lines([
                format!("{} {}", name(&member.name), member.disk),
                "listening".to_owned(),
            ]),
            deadline: PROBE,
            stall: None,
        }
    }
}

/// The qualified name of a node, as target or as initiator.
fn name(node: &NodeName) -> String {
    format!("{NAMES}:{node}")
}
