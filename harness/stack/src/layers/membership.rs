//! corosync, cman's successor: who is a member of a cluster. It grows as in the article: the first node alone, with
//! version 1 of the configuration; then a higher version that names all, loaded while it runs; then the others.

use std::fmt::Write as _;
use std::time::Duration;

use sanlab_plan::guest::{PROGRAMS, SETPRIV};
use sanlab_plan::{LayerKind, Membership, NodeName, PlacedLayer, Plan, Transport};

use crate::description::layer::LayerCommands;
use crate::description::probe::{Expect, Probe};
use crate::description::work::{GuestFile, Stage};
use crate::layers::describe::{Describe, Hot, Watched};
use crate::nodes::present::Peers;
use crate::nodes::topology::{Member, Topology};
use crate::shell::script::{script, wait_for_end};

const CONFIG: &str = "/etc/corosync/corosync.conf";
/// 32 members that start at once on two CPUs agree after 70 s, and when their first ring breaks after a token's time more.
const START: Duration = Duration::from_secs(300);
const STOP: Duration = Duration::from_secs(60);

/// By how many milliseconds each pair of members lengthens the time between two pings of knet on a link. All members together
/// send 200 pings a second then: thousands take whole CPUs of the host from emulated guests.
const PAIR_PING_MS: u128 = 10;

/// Prints `NODEID NAME` for each member that this node sees, in the order of their numbers. corosync-quorumtool would look for each name
/// among all members' settings, and takes a second for 32; /etc/hosts has them too.
pub(crate) const MEMBERS: &str = "corosync-quorumtool -l -i | awk '\n\
    \x20   NR == FNR { name[$1] = $2; next }\n\
    \x20   $1 ~ /^[0-9]+$/ {\n\
    \x20       seen = $3 in name ? name[$3] : $3\n\
    \x20       sub(/\\..*/, \"\", seen)\n\
    \x20       print $1, seen\n\
    \x20   }\n\
    ' /etc/hosts - | sort -n\n";

/// What `cman_tool nodes` showed, from corosync and its log: the incarnation is the number of the ring in which a
/// node joined.
const CMAN_TOOL: &str = r#"#!/bin/sh
# cman_tool nodes: the members of this node's cluster, in the historic layout.
[ "$1" = nodes ] || { echo "usage: cman_tool nodes" >&2; exit 1; }
{
    echo members
    corosync-quorumtool -l
    echo log
    cat /var/log/corosync.log
    echo names
    corosync-cmapctl nodelist.node
} | awk -v year=$(date +%Y) '
function decimal(hex, i, n) {
    for (i = 1; i <= length(hex); i++) n = n * 16 + index("0123456789abcdef", substr(hex, i, 1)) - 1
    return n
}
NF == 1 && ($1 == "members" || $1 == "log" || $1 == "names") { part = $1; next }
part == "members" && $1 ~ /^[0-9]+$/ { there[$1] = 1 }
part == "log" && match($0, /new membership \([0-9]+\.[0-9a-f]+\)/) {
    ring = substr($0, RSTART, RLENGTH - 1)
    sub(/^.*\./, "", ring)
    month = (index("JanFebMarAprMayJunJulAugSepOctNovDec", $1) + 2) / 3
    time = sprintf("%s-%02d-%02d %s", year, month, $2, substr($3, 1, 8))
    if (match($0, /Members joined:[ 0-9]+/)) {
        count = split(substr($0, RSTART + 15, RLENGTH - 15), ids, " ")
        for (i = 1; i <= count; i++) { rings[ids[i]] = decimal(ring); joined[ids[i]] = time }
    }
}
part == "names" && $1 ~ /\.name$/ { split($1, key, "."); name[key[3]] = $4 }
part == "names" && $1 ~ /\.nodeid$/ { split($1, key, "."); id[key[3]] = $4; if (key[3] > last) last = key[3] }
END {
    print "Node  Sts   Inc   Joined               Name"
    for (i = 0; i <= last; i++) {
        n = id[i]
        if (n == "") continue
        if (there[n]) printf "%4d   M %6d   %s  %s\n", n, rings[n], joined[n], name[i]
        else printf "%4d   X %6d   %19s  %s\n", n, 0, "", name[i]
    }
}'
"#;

/// A cluster and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cluster {
    pub(crate) plan: Membership,
    /// Every node that is ever a member.
    pub(crate) on: Vec<NodeName>,
}

impl Describe for Membership {
    const HOT: Hot = Hot {
        modules: &[],
        commands: &[
            ("corosync", "-v"),
            ("corosync-quorumtool", "-V"),
            ("corosync-cfgtool", "-h"),
            ("corosync-cmapctl", "-h"),
            ("awk", "1 /dev/null"),
        ],
    };

    fn describe(
        &self,
        placed: &PlacedLayer,
        _plan: &Plan,
        watched: &mut Watched,
    ) -> Box<dyn LayerCommands> {
        let cluster = Cluster {
            plan: self.clone(),
            on: placed.on.clone(),
        };
        watched.clusters.push(cluster.clone());
        Box::new(cluster)
    }
}

impl LayerCommands for Cluster {
    fn kind(&self) -> LayerKind {
        LayerKind::Membership
    }

    fn title(&self) -> String {
        let transport = match (self.plan.transport, self.plan.crypto) {
            (Transport::Knet, true) => "knet, encrypted",
            (Transport::Knet, false) => "knet",
            (Transport::Udpu, _) => "udpu",
        };
        let links = match self.plan.networks.len() {
            1 => String::new(),
            links => format!(" on {links} links"),
        };
        format!(
            "membership cluster {} by {transport}{links}",
            self.plan.cluster
        )
    }

    fn up(&self, there: &[NodeName], topology: &Topology) -> Vec<Stage> {
        let (first, others) = there.split_at(there.len().min(1));
        let grow = if others.is_empty() {
            String::new()
        } else {
            format!(
                "cat >{CONFIG} <<'CONFIG'\n{}CONFIG\n{}",
                self.config(there, topology),
                reload(there.len())
            )
        };
        let alone = Stage::new(
            first,
            "start the first member, then load a configuration that names all",
            START,
            &script(&format!("{}{grow}", start())),
        );
        let mut stages = vec![alone.with_files(&self.files(first, topology))];
        if !others.is_empty() {
            let rest = Stage::new(others, "start the other members", START, &script(&start()));
            stages.push(rest.with_files(&self.files(there, topology)));
        }
        if self.plan.networks.len() > 1 {
            stages.push(self.linked(there, topology));
        }
        stages
    }

    fn join(&self, node: &NodeName, peers: &Peers, topology: &Topology) -> Vec<Stage> {
        let mut all = peers.there.clone();
        all.push(node.clone());
        let known = topology.known(&self.on, &all);
        let config = [self.config_file(&known, topology)];
        let (first, _) = peers.active.split_at(peers.active.len().min(1));
        let write = Stage::new(
            &peers.there,
            &format!("write a configuration that names {node}"),
            START,
            &script("true\n"),
        );
        let load = Stage::new(
            first,
            "load the configuration",
            START,
            &script(&reload(known.len())),
        );
        let begin = Stage::new(
            std::slice::from_ref(node),
            "start the new member",
            START,
            &script(&start()),
        );
        vec![
            write.with_files(&config),
            load,
            begin.with_files(&self.files(&known, topology)),
        ]
    }

    fn rejoin(&self, node: &NodeName, peers: &Peers, topology: &Topology) -> Vec<Stage> {
        let mut all = peers.there.clone();
        all.push(node.clone());
        let known = topology.known(&self.on, &all);
        let begin = Stage::new(
            std::slice::from_ref(node),
            "start the member with the present configuration",
            START,
            &script(&start()),
        );
        vec![begin.with_files(&self.files(&known, topology))]
    }

    fn daemons(&self, _node: &NodeName) -> &'static [&'static str] {
        &["corosync"]
    }

    fn service(&self, node: &NodeName, _peers: &Peers, _topology: &Topology) -> Vec<Stage> {
        vec![Stage::new(
            std::slice::from_ref(node),
            "start corosync",
            START,
            &script(&start()),
        )]
    }

    fn probes(&self, node: &NodeName, peers: &Peers, topology: &Topology) -> Vec<Probe> {
        vec![self.sees(node, &peers.active, topology, self.patience(peers))]
    }

    fn down(&self, there: &[NodeName], _topology: &Topology) -> Vec<Stage> {
        // After its peers have agreed, so that nobody waits for a token that is lost.
        let text = format!(
            "pidof corosync >/dev/null || exit 0\n\
             said=$(corosync-cfgtool -H 2>&1) || kill $(pidof corosync) || true\n\
             {}",
            wait_for_end("corosync", 150, "$said")
        );
        vec![Stage::new(there, "stop corosync", STOP, &script(&text))]
    }

    fn state(&self) -> Vec<(String, String)> {
        let text = format!(
            "cman_tool nodes\ncorosync-quorumtool -s\ncorosync-cmapctl totem.config_version\n\
             cat {CONFIG}\ntail -n 200 /var/log/corosync.log\n"
        );
        vec![(format!("membership-{}.txt", self.plan.cluster), text)]
    }
}

impl Cluster {
    /// That `node` sees exactly `members`.
    pub(crate) fn sees(
        &self,
        node: &NodeName,
        members: &[NodeName],
        topology: &Topology,
        deadline: Duration,
    ) -> Probe {
        let seen = topology
            .those(members)
            .map(|member| format!("{} {}", id(member), member.name));
        let names: Vec<&str> = topology
            .those(members)
            .map(|member| member.name.as_str())
            .collect();
        Probe {
            node: node.clone(),
            title: format!("{} has the members {}", self.plan.cluster, names.join(" ")),
            script: MEMBERS.to_owned(),
            expect: Expect::lines(seen),
            deadline,
            stall: None,
        }
    }

    /// Waits until each of `there` has all the others on every link: corosync itself is content with one.
    fn linked(&self, there: &[NodeName], topology: &Topology) -> Stage {
        let wanted = self.plan.networks.len() * there.len();
        let text = format!(
            "tries=0\n\
             while :; do\n\
             \x20   links=$(corosync-cfgtool -s 2>&1) || true\n\
             \x20   up=$(echo \"$links\" | while read -r word number state; do\n\
             \x20       case \"$word ${{number%:}} $state\" in\n\
             \x20           'nodeid: '*' localhost' | 'nodeid: '*' connected') echo \"$number\" ;;\n\
             \x20       esac\n\
             \x20   done | wc -l)\n\
             \x20   [ \"$up\" -lt {wanted} ] || break\n\
             \x20   tries=$((tries + 1))\n\
             \x20   [ $tries -lt 300 ] || fail \"not every link to the nodes {} is connected: $links\"\n\
             \x20   sleep 0.2\n\
             done\n",
            ids(topology.those(there))
        );
        Stage::new(
            there,
            "see that every link is connected",
            START,
            &script(&text),
        )
    }

    /// A lost node is reported after 2.2 times the token's time.
    fn patience(&self, peers: &Peers) -> Duration {
        Duration::from_secs(60) + 4 * self.plan.silence(peers.there.len())
    }

    fn files(&self, members: &[NodeName], topology: &Topology) -> Vec<GuestFile> {
        let mut files = vec![
            self.config_file(members, topology),
            GuestFile {
                path: format!("{PROGRAMS}/cman_tool"),
                text: CMAN_TOOL.to_owned(),
                mode: 0o755,
            },
        ];
        if self.plan.crypto {
            files.push(GuestFile {
                path: "/etc/corosync/authkey".to_owned(),
                text: self.key(),
                mode: 0o400,
            });
        }
        files
    }

    fn config_file(&self, members: &[NodeName], topology: &Topology) -> GuestFile {
        GuestFile {
            path: CONFIG.to_owned(),
            text: self.config(members, topology),
            mode: 0o644,
        }
    }

    /// 256 bytes, the same on every node and in every run: it keeps nobody out who can read a scenario.
    fn key(&self) -> String {
        format!("{}.", self.plan.cluster)
            .chars()
            .cycle()
            .take(256)
            .collect()
    }

    /// corosync.conf; its version is the number of members. Tools talk to it by sockets: shared memory would have to be
    /// laid out for every question, and takes twice the time.
    fn config(&self, members: &[NodeName], topology: &Topology) -> String {
        let Membership {
            cluster,
            transport,
            crypto,
            token,
            two_node,
            wait_for_all,
            networks,
        } = &self.plan;
        let mut text = format!(
            "totem {{\n\
             \x20   version: 2\n\
             \x20   cluster_name: {cluster}\n\
             \x20   config_version: {}\n",
            members.len()
        );
        match transport {
            // The default interval, a quarter of the token's time, makes joining slow.
            Transport::Knet => {
                let (cipher, hash) = if *crypto {
                    ("aes256", "sha256")
                } else {
                    ("none", "none")
                };
                let _ = write!(
                    text,
                    "\x20   transport: knet\n\
                     \x20   crypto_cipher: {cipher}\n\
                     \x20   crypto_hash: {hash}\n"
                );
                let (interval, timeout) = if networks.len() == 1 {
                    let interval = 500.max(pairs(members.len()) * PAIR_PING_MS);
                    (interval, 5000.max(4 * interval))
                } else {
                    // Another link must take over before the token is given up for lost.
                    let timeout = token.as_millis() / 2;
                    ((timeout / 4).min(500), timeout)
                };
                for link in 0..networks.len() {
                    let _ = write!(
                        text,
                        "\x20   interface {{\n\
                         \x20       linknumber: {link}\n\
                         \x20       knet_ping_interval: {interval}\n\
                         \x20       knet_ping_timeout: {timeout}\n\
                         \x20       knet_pong_count: 1\n\
                         \x20   }}\n"
                    );
                }
            }
            Transport::Udpu => text += "\x20   transport: udpu\n",
        }
        let _ = write!(
            text,
            "\x20   token: {}\n\
             \x20   token_retransmits_before_loss_const: 10\n\
             \x20   join: 1000\n\
             }}\n\
             system {{\n\
             \x20   qb_ipc_type: socket\n\
             }}\n\
             quorum {{\n\
             \x20   provider: corosync_votequorum\n",
            token.as_millis()
        );
        let is_pair = *two_node && members.len() <= 2;
        if is_pair {
            text += "\x20   two_node: 1\n";
        }
        // `two_node` alone would ask for it.
        if is_pair || *wait_for_all {
            let _ = writeln!(text, "\x20   wait_for_all: {}", u8::from(*wait_for_all));
        }
        text += "}\n\
                 logging {\n\
                 \x20   to_syslog: no\n\
                 \x20   to_stderr: no\n\
                 \x20   to_logfile: yes\n\
                 \x20   logfile: /var/log/corosync.log\n\
                 \x20   timestamp: hires\n\
                 }\n\
                 nodelist {\n";
        for member in topology.those(members) {
            let _ = write!(
                text,
                "\x20   node {{\n\
                 \x20       name: {}\n\
                 \x20       nodeid: {}\n",
                member.name,
                id(member),
            );
            for (link, network) in networks.iter().enumerate() {
                let address = member.address(network);
                let _ = writeln!(text, "\x20       ring{link}_addr: {address}");
            }
            text += "\x20   }\n";
        }
        text + "}\n"
    }
}

/// How many pairs so many members are.
fn pairs(members: usize) -> u128 {
    let members = u128::try_from(members).unwrap_or(u128::MAX);
    members * members.saturating_sub(1) / 2
}

/// A node's number in its cluster: node 0 is none to corosync.
pub(crate) fn id(member: &Member) -> u16 {
    u16::from(member.number) + 1
}

/// The numbers of these nodes, as corosync and the dlm list them: "1 2".
pub(crate) fn ids<'a>(members: impl Iterator<Item = &'a Member>) -> String {
    let ids: Vec<String> = members.map(|member| id(member).to_string()).collect();
    ids.join(" ")
}

/// Starts corosync and waits for its first answer. It leaves shared memory behind when it is killed, over which the next
/// one stumbles. Without the right to lock its memory it is 70 MB large instead of 130; a guest has no swap.
///
/// It refuses every question until its services agree with the other members'. Asking takes a guest half a second: while many
/// members start, they would keep each other from ever agreeing. So its log tells when to ask.
fn start() -> String {
    format!(
        "pidof corosync >/dev/null && fail 'corosync is running already'\n\
     rm -rf /dev/shm/qb-*\n\
     mkdir -p /var/log /var/lib/corosync\n\
     log=/var/log/corosync.log\n\
     agreed() {{ grep -c 'ready to provide service' $log 2>/dev/null || true; }}\n\
     before=$(agreed)\n\
     run {SETPRIV} --bounding-set=-ipc_lock,-sys_resource corosync\n\
     tries=0\n\
     until [ $(agreed) -gt ${{before:-0}} ] && said=$(corosync-quorumtool -l -i 2>&1); do\n\
     \x20   tries=$((tries + 1))\n\
     \x20   [ $tries -lt 220 ] || fail \"corosync does not answer: ${{said-}}: $(tail -n 5 $log)\"\n\
     \x20   if [ $tries -lt 20 ]; then sleep 0.1; continue; fi\n\
     \x20   pidof corosync >/dev/null || fail \"corosync has ended: $(tail -n 5 $log)\"\n\
     \x20   sleep 1\n\
     done\n"
    )
}

/// Has the whole cluster load what is written; every member reads its own file.
fn reload(version: usize) -> String {
    format!(
        "run corosync-cfgtool -R\n\
         said=$(corosync-cmapctl totem.config_version 2>&1)\n\
         [ \"${{said##* = }}\" = {version} ] || fail \"corosync has another configuration: $said\"\n"
    )
}
