//! DRBD: a disk of which two nodes hold a copy each. Both may be primary at once, so that both can serve it.

use std::fmt::Write as _;
use std::time::Duration;

use sanlab_plan::{
    Drbd, DrbdFencing, FirstSync, LayerKind, NodeName, PlacedLayer, Plan, Primaries,
};

use crate::description::layer::LayerCommands;
use crate::description::probe::{Expect, Probe};
use crate::description::work::{GuestFile, Stage};
use crate::layers::describe::{Describe, Hot, Watched};
use crate::nodes::present::Peers;
use crate::nodes::topology::Topology;
use crate::shell::power;
use crate::shell::script::script;

const UP: Duration = Duration::from_secs(120);
const PROBE: Duration = Duration::from_secs(60);
/// For a whole disk to be copied: at the configured rate, and ten times slower.
const SYNC: Duration = Duration::from_secs(600);
/// TCP port of the first resource.
const PORT: u16 = 7788;

/// The generation of data that new copies share; an even number: of disks that are no primary's.
const GENERATION: &str = "0x73616E6C61620000";
const NO_GENERATION: &str = "0x0000000000000000";

/// `Connected`, `SyncSource`, `SyncTarget`, `PausedSync`: the pair has agreed on who is up to date. Not `StandAlone`: then
/// it has not, and will not.
const LINKED: &str = "cs:[CPS][aoy]* *";

/// A resource and its two nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resource {
    pub(crate) plan: Drbd,
    /// The two nodes; the first of them decides where something is done once.
    pub(crate) pair: Vec<NodeName>,
    /// Whether other layers stand on its device.
    pub(crate) used: bool,
}

impl Resource {
    fn is_first(&self, node: &NodeName) -> bool {
        self.pair.first() == Some(node)
    }

    fn is_primary(&self, node: &NodeName) -> bool {
        self.plan.primaries == Primaries::Both || self.is_first(node)
    }

    /// The same file on both nodes. The size is said, since a node's disk is as large as the largest that any layer asks for.
    fn config(&self, topology: &Topology) -> GuestFile {
        let Drbd {
            resource,
            minor,
            device,
            primaries,
            ping_interval,
            ping_timeout,
            after_sb_0pri,
            after_sb_1pri,
            after_sb_2pri,
            on_io_error,
            fencing,
            ..
        } = &self.plan;
        let mut text = format!(
            "resource {resource} {{\n\
             \x20   protocol C;\n\
             \x20   net {{\n"
        );
        if *primaries == Primaries::Both {
            text += "\x20       allow-two-primaries yes;\n";
        }
        let _ = write!(
            text,
            "\x20       after-sb-0pri {after_sb_0pri};\n\
             \x20       after-sb-1pri {after_sb_1pri};\n\
             \x20       after-sb-2pri {after_sb_2pri};\n\
             \x20       timeout 300;\n\
             \x20       connect-int 10;\n\
             \x20       ping-int {};\n\
             \x20       ping-timeout {};\n\
             \x20       ko-count 0;\n\
             \x20   }}\n\
             \x20   disk {{\n\
             \x20       size {}K;\n\
             \x20       on-io-error {on_io_error};\n\
             \x20       fencing {fencing};\n\
             \x20       c-plan-ahead 0;\n\
             \x20       resync-rate 60M;\n\
             \x20       c-min-rate 20M;\n\
             \x20   }}\n",
            ping_interval.as_secs(),
            ping_timeout.as_millis() / 100,
            device.sectors / 2,
        );
        if self.fences() {
            let handler = self.handler_path();
            let _ = writeln!(text, "\x20   handlers {{ fence-peer {handler}; }}");
        }
        if *primaries == Primaries::Both {
            text += "\x20   startup { become-primary-on both; }\n";
        }
        for member in topology.those(&self.pair) {
            let _ = write!(
                text,
                "\x20   on {} {{\n\
                 \x20       device {} minor {minor};\n\
                 \x20       disk {};\n\
                 \x20       address {}:{};\n\
                 \x20       meta-disk internal;\n\
                 \x20   }}\n",
                member.name,
                self.plan.device.path,
                member.disk,
                member.address(&self.plan.network),
                PORT + u16::from(*minor)
            );
        }
        text += "}\n";
        GuestFile {
            path: format!("/etc/drbd.d/{resource}.res"),
            text,
            mode: 0o644,
        }
    }

    fn fences(&self) -> bool {
        self.plan.fencing != DrbdFencing::DontCare
    }

    fn handler_path(&self) -> String {
        format!("/etc/drbd.d/{}.fence-peer", self.plan.resource)
    }

    /// What DRBD runs to have the peer fenced: ends with 7 when its power is off.
    fn handler(&self) -> GuestFile {
        let pair: Vec<&str> = self.pair.iter().map(NodeName::as_str).collect();
        // DRBD also notices at once a peer that ends a connection: nothing is known of a silence.
        let text = format!(
            "#!/bin/sh\n\
             read -r here </proc/sys/kernel/hostname\n\
             for node in {}; do\n\
             \x20   [ $node = $here ] || break\n\
             done\n\
             (\n{})\n\
             [ $? = 0 ] && exit 7\n\
             exit 1\n",
            pair.join(" "),
            power::cut(Duration::ZERO)
        );
        GuestFile {
            path: self.handler_path(),
            text,
            mode: 0o755,
        }
    }

    /// What both nodes have.
    fn files(&self, topology: &Topology) -> Vec<GuestFile> {
        let mut files = vec![self.config(topology)];
        if self.fences() {
            files.push(self.handler());
        }
        files
    }

    /// A shell function that looks at this resource in /proc/drbd, which costs no process: `see` sets `state` to what stands
    /// behind its number.
    fn looking(&self) -> String {
        format!(
            "see() {{\n\
             \x20   state='not configured'\n\
             \x20   while read -r number words; do\n\
             \x20       [ \"$number\" != {}: ] || state=$words\n\
             \x20   done </proc/drbd\n\
             }}\n",
            self.plan.minor
        )
    }

    /// And one that waits until it matches one of some patterns.
    fn waiting(&self) -> String {
        format!(
            "{}await() {{\n\
             \x20   tries=0\n\
             \x20   while see; do\n\
             \x20       for wanted; do\n\
             \x20           case $state in $wanted) return 0 ;; esac\n\
             \x20       done\n\
             \x20       tries=$((tries + 1))\n\
             \x20       [ $tries -lt 300 ] || fail \"{} did not become $*: $state\"\n\
             \x20       sleep 0.1\n\
             \x20   done\n\
             }}\n",
            self.looking(),
            self.plan.resource
        )
    }

    /// The module keeps a megabyte in reserve for each of the devices that it expects, by default 32.
    fn load(&self) -> String {
        format!(
            "{}run modprobe drbd minor_count=2\nmkdir -p /run/lock /var/lib/drbd\n",
            self.waiting()
        )
    }

    fn attach(&self) -> String {
        format!("run drbdadm up {}\n", self.plan.resource)
    }

    /// Makes the metadata of a disk that nobody has used.
    fn create(&self) -> String {
        let resource = &self.plan.resource;
        format!(
            "said=$(drbdadm create-md --force {resource} 2>&1) || fail \"exit code $?: drbdadm create-md {resource}: $said\"\n"
        )
    }

    /// And says there that it is a copy: of one generation with the peer's, up to date, and no block to be sent.
    ///
    /// `drbdadm new-current-uuid --clear-bitmap` says the same of two that are connected. But a state that the peer has sent just before comes
    /// in after it at times, and then one node takes the other for inconsistent for good (DRBD 8.4.11).
    fn create_alike(&self, disk: &str) -> String {
        let Self { plan, .. } = self;
        let file = format!("/run/{}.md", plan.resource);
        format!(
            "{create}\
             echo '{metadata}' >{file}\n\
             said=$(drbdmeta --force {minor} v08 {disk} internal restore-md {file} 2>&1) || fail \"exit code $?: drbdmeta restore-md: $said\"\n",
            create = self.create(),
            metadata = alike(plan.device.sectors),
            minor = plan.minor,
        )
    }

    /// What one node does before both come up for the first time: the first of them is up at once, and listens.
    ///
    /// Two that begin to connect at the same moment take each other's attempts for their own ("initial packet S crossed"), and begin again after
    /// up to 15 s.
    fn make(&self, node: &NodeName, disk: &str) -> String {
        let mut text = self.load();
        text += &match self.plan.sync {
            FirstSync::Skip => self.create_alike(disk),
            FirstSync::Full => self.create(),
        };
        if self.is_first(node) {
            text += &self.attach();
            text += "await 'cs:WFConnection *'\n";
        }
        script(&text)
    }

    /// What one node does then, until both agree on who is up to date.
    fn connect(&self, node: &NodeName) -> String {
        let resource = &self.plan.resource;
        let mut text = self.waiting();
        if !self.is_first(node) {
            text += &self.attach();
        }
        if self.plan.sync == FirstSync::Full && self.is_first(node) {
            let _ = writeln!(
                text,
                "await 'cs:Connected *'\n\
                 run drbdadm primary --force {resource}"
            );
        }
        match (self.plan.sync, self.is_first(node)) {
            (FirstSync::Skip, _) => text += "await '*ds:UpToDate/UpToDate *'\n",
            // The copying may take long, and is awaited by the probe.
            (FirstSync::Full, false) => {
                text += "await 'cs:SyncTarget *' 'cs:Connected * ds:UpToDate/UpToDate *'\n";
            }
            (FirstSync::Full, true) => {}
        }
        script(&text)
    }

    /// Who becomes primary once both agree, one after the other: a node that is amid a change of its own refuses its peer's.
    fn promotions(&self, there: &[NodeName]) -> Vec<Stage> {
        let title = format!("make {} primary", self.plan.resource);
        let text = script(&format!("run drbdadm primary {}\n", self.plan.resource));
        let is_yet_to_be = |node: &&NodeName| {
            self.is_primary(node) && !(self.plan.sync == FirstSync::Full && self.is_first(node))
        };
        let promoted = there.iter().filter(is_yet_to_be);
        promoted
            .map(|node| Stage::new(std::slice::from_ref(node), &title, UP, &text))
            .collect()
    }

    /// What a node does that comes back; its peer runs, or is away as well.
    ///
    /// Where only one may be primary and the peer is by now, that one stays it.
    fn again(&self, node: &NodeName, peer: Option<&NodeName>) -> String {
        let resource = &self.plan.resource;
        let mut text = self.load() + &self.attach();
        if peer.is_some() {
            let _ = writeln!(text, "await '{LINKED}'");
        }
        if self.is_primary(node) {
            let promote = format!("run drbdadm primary {resource}\n");
            match peer {
                Some(peer) if self.plan.primaries == Primaries::First => {
                    let stays = if self.used {
                        format!(
                            "fail '{peer} is primary of {resource} by now: the layers above have no device on {node}'"
                        )
                    } else {
                        format!("echo '{peer} stays primary of {resource}'")
                    };
                    let _ = write!(
                        text,
                        "case $state in\n\
                         \x20   *' ro:Secondary/Primary '*) {stays} ;;\n\
                         \x20   *) {} ;;\n\
                         esac\n",
                        promote.trim_end()
                    );
                }
                _ => text += &promote,
            }
        }
        script(&text)
    }

    /// That `node` sees itself up to date, and its peer as well if that is there: in the roles `ro`, or whatever they are.
    fn settled(&self, node: &NodeName, peer: Option<&NodeName>, ro: Option<&str>) -> Probe {
        let ro = ro.map_or_else(String::new, |ro| format!(" ro:{ro}"));
        let wanted = match peer {
            Some(_) => format!("cs:Connected{ro} ds:UpToDate/UpToDate"),
            None => format!("cs:WFConnection{ro} ds:UpToDate/DUnknown"),
        };
        let sectors = self.plan.device.sectors;
        let without_roles = match ro.as_str() {
            "" => {
                "words=\n\
                 for word in $state; do\n\
                 \x20   case $word in cs:* | ds:*) words=\"$words $word\" ;; esac\n\
                 done\n\
                 [ -z \"$words\" ] || state=${words# }\n"
            }
            _ => "",
        };
        let text = format!(
            "{looking}see\n\
             state=${{state%% [ABC] *}}\n\
             {without_roles}\
             case $state in *Sync*) state=\"$state $(grep -m 1 finish /proc/drbd)\" ;; esac\n\
             echo \"$state\"\n\
             read -r sectors </sys/block/drbd{minor}/size\n\
             echo \"$sectors\"\n",
            looking = self.looking(),
            minor = self.plan.minor,
        );
        Probe {
            node: node.clone(),
            title: format!(
                "{} has {sectors} sectors and is {wanted}",
                self.plan.device.path
            ),
            script: text,
            expect: Expect::lines([wanted, sectors.to_string()]),
            deadline: if peer.is_some() { SYNC } else { PROBE },
            // The figures of a synchronisation change all the time.
            stall: Some(PROBE),
        }
    }

    /// That `node` sees the connection and the disks in those states.
    pub(crate) fn sees(
        &self,
        node: &NodeName,
        connection: Option<&str>,
        disk: Option<&str>,
        deadline: Duration,
    ) -> Probe {
        let mut text = format!(
            "{}see\n\
             for word in $state; do\n\
             \x20   case $word in\n",
            self.looking()
        );
        let mut lines = Vec::new();
        for (key, value) in [("cs", connection), ("ds", disk)] {
            if let Some(value) = value {
                let _ = writeln!(text, "\x20   {key}:*) echo $word ;;");
                lines.push(format!("{key}:{value}"));
            }
        }
        text += "\x20   esac\ndone\n";
        let state = lines.join(" ");
        Probe {
            node: node.clone(),
            title: format!("{} is {state}", self.plan.resource),
            script: text,
            expect: Expect(lines),
            deadline,
            stall: None,
        }
    }
}

impl Describe for Drbd {
    const HOT: Hot = Hot {
        modules: &["drbd"],
        commands: &[
            ("drbdadm", "--version"),
            ("drbdmeta", "--version"),
            ("drbdsetup", "help"),
        ],
    };

    fn describe(
        &self,
        placed: &PlacedLayer,
        plan: &Plan,
        watched: &mut Watched,
    ) -> Box<dyn LayerCommands> {
        let above = |other: &PlacedLayer| {
            let apart = [LayerKind::Drbd, LayerKind::Membership];
            !apart.contains(&other.layer.kind())
                && placed.on.iter().any(|node| other.on.contains(node))
        };
        let resource = Resource {
            plan: self.clone(),
            pair: placed.on.clone(),
            used: plan.layers.iter().any(above),
        };
        watched.resources.push(resource.clone());
        Box::new(resource)
    }
}

impl LayerCommands for Resource {
    fn kind(&self) -> LayerKind {
        LayerKind::Drbd
    }

    fn title(&self) -> String {
        let pair: Vec<&str> = self.pair.iter().map(NodeName::as_str).collect();
        format!(
            "drbd {} of {}, {} each",
            self.plan.resource,
            pair.join(" and "),
            self.plan.disk
        )
    }

    fn up(&self, there: &[NodeName], topology: &Topology) -> Vec<Stage> {
        let title = format!("make the copies of {}", self.plan.resource);
        let mut make = Stage::new(there, &title, UP, "").with_files(&self.files(topology));
        for member in topology.those(there) {
            let own = make.tasks.iter_mut().find(|task| task.node == member.name);
            if let Some(task) = own {
                task.script = self.make(&member.name, member.disk);
            }
        }
        let title = format!("bring {} up", self.plan.resource);
        let mut connect = Stage::new(there, &title, UP, "");
        for task in &mut connect.tasks {
            task.script = self.connect(&task.node);
        }
        let mut stages = vec![make, connect];
        stages.extend(self.promotions(there));
        stages
    }

    fn join(&self, node: &NodeName, peers: &Peers, topology: &Topology) -> Vec<Stage> {
        // A pair is there from the start, or comes one by one: then the newcomer's disk is no copy yet.
        let mut text = self.load() + &self.create() + &self.attach();
        if peers.there.is_empty() {
            let _ = writeln!(text, "run drbdadm primary --force {}", self.plan.resource);
        } else {
            let _ = writeln!(text, "await '{LINKED}'");
            if self.is_primary(node) {
                let _ = writeln!(text, "run drbdadm primary {}", self.plan.resource);
            }
        }
        self.on_one(node, &script(&text), topology)
    }

    fn rejoin(&self, node: &NodeName, peers: &Peers, topology: &Topology) -> Vec<Stage> {
        let text = self.again(node, peers.there.first());
        self.on_one(node, &text, topology)
    }

    fn probes(&self, node: &NodeName, peers: &Peers, _topology: &Topology) -> Vec<Probe> {
        let role = |node: &NodeName| {
            if self.is_primary(node) {
                "Primary"
            } else {
                "Secondary"
            }
        };
        let peer = peers.there.iter().find(|peer| *peer != node);
        let ro = format!("{}/{}", role(node), peer.map_or("Unknown", role));
        vec![self.settled(node, peer, Some(&ro))]
    }

    /// Of a pair with one primary the roles are what the steps have made of them.
    fn probes_again(&self, node: &NodeName, peers: &Peers, topology: &Topology) -> Vec<Probe> {
        match self.plan.primaries {
            Primaries::Both => self.probes(node, peers, topology),
            Primaries::First => self.probes_at_end(node, peers, topology),
        }
    }

    /// Commands may have changed the roles.
    fn probes_at_end(&self, node: &NodeName, peers: &Peers, _topology: &Topology) -> Vec<Probe> {
        let peer = peers.there.iter().find(|peer| *peer != node);
        vec![self.settled(node, peer, None)]
    }

    fn down(&self, there: &[NodeName], _topology: &Topology) -> Vec<Stage> {
        let text = format!(
            "[ ! -e /proc/drbd ] || run drbdadm down {}\n",
            self.plan.resource
        );
        let title = format!("take {} down", self.plan.resource);
        vec![Stage::new(there, &title, UP, &script(&text))]
    }

    fn state(&self) -> Vec<(String, String)> {
        let resource = &self.plan.resource;
        let text = format!(
            "cat /proc/drbd\ncat /etc/drbd.d/{resource}.res\ntimeout 5 drbdsetup show {resource}\n"
        );
        vec![(format!("drbd-{resource}.txt"), text)]
    }
}

impl Resource {
    fn on_one(&self, node: &NodeName, text: &str, topology: &Topology) -> Vec<Stage> {
        let title = format!("bring {} up", self.plan.resource);
        let stage = Stage::new(std::slice::from_ref(node), &title, UP, text);
        vec![stage.with_files(&self.files(topology))]
    }
}

/// The metadata of a copy of so many sectors, as `drbdmeta dump-md` prints it. The flags: consistent, and was up to date.
fn alike(sectors: u64) -> String {
    format!(
        "version \"v08\";\n\
         uuid {{ {GENERATION}; {NO_GENERATION}; {NO_GENERATION}; {NO_GENERATION}; flags 0x00000011; }}\n\
         la-size-sect {sectors};\n\
         bm-byte-per-bit 4096;\n\
         device-uuid {NO_GENERATION};\n\
         la-peer-max-bio-size 0;\n\
         al-stripes 1;\n\
         al-stripe-size-4k 8;\n\
         bm {{ }}"
    )
}
