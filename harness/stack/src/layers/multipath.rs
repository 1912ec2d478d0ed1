//! dm-multipath: one map for each disk, over all devices that lead to it. Real multipathd, which learns of paths from udev;
//! so udevd runs on these nodes, and on no other.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use sanlab_plan::guest::{MULTIPATH_PLUGINS, SETPRIV, UDEVD};
use sanlab_plan::{
    Layer, LayerKind, Multipath, MultipathMap, NodeName, PlacedLayer, Plan, Selector,
};

use crate::description::layer::LayerCommands;
use crate::description::probe::{Expect, Probe};
use crate::description::work::{GuestFile, Stage};
use crate::layers::describe::{Describe, Hot, Watched};
use crate::nodes::present::Peers;
use crate::nodes::topology::Topology;
use crate::shell::script::{script, wait_for_end};

const START: Duration = Duration::from_secs(120);
const PROBE: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(60);
/// multipathd's checker gives a request up so long after the device below should have failed it: a path is to fail when its
/// server has been fenced, which takes as long as that, and not before.
const CHECKER_SLACK: Duration = Duration::from_secs(20);

/// `gnbd_import` leaves a record of each device in a form that udev reads.
const GNBD_RULES: &str = "SUBSYSTEM==\"block\", KERNEL==\"nbd[0-9]*\", ENV{DEVTYPE}==\"disk\", ACTION==\"add|change\", \
    TEST==\"/run/gnbd/%k.env\", IMPORT{file}=\"/run/gnbd/%k.env\"\n\
    ENV{GNBD_NAME}==\"?*\", SYMLINK+=\"gnbd/$env{GNBD_NAME}\"\n";

/// What udev's own rules for disks ask of those behind SCSI.
const SCSI_RULES: &str = "SUBSYSTEM==\"block\", KERNEL==\"sd*\", ENV{DEVTYPE}==\"disk\", ACTION==\"add|change\", \
    IMPORT{program}=\"scsi_id --export --whitelisted -d $devnode\"\n";

/// The rules that device-mapper and the paths need. All others are hidden by empty files: nothing shall probe a network
/// block device behind a measurement's back, or put together what it finds there.
const FEW_RULES: &str = "for rules in /lib/udev/rules.d/*; do\n\
    \x20   case ${rules##*/} in\n\
    \x20       50-udev-default.rules | 55-dm.rules | 56-dm-mpath.rules | 95-dm-notify.rules) ;;\n\
    \x20       *) : >/etc/udev/rules.d/${rules##*/} ;;\n\
    \x20   esac\n\
    done\n";

/// The init turns libdevmapper's udev support off for everybody.
fn start_udevd() -> String {
    format!(
        "unset DM_DISABLE_UDEV\n\
         pidof systemd-udevd >/dev/null || run {UDEVD} --daemon --resolve-names=never\n"
    )
}

/// Prints how many paths of a node's maps carry requests and how many do not, as the kernel has it.
const PATHS: &str = "dmsetup status --target multipath | awk '\n\
    { for (i = 1; i < NF; i++) if ($i ~ /^[0-9]+:[0-9]+$/) { if ($(i + 1) == \"A\") active++; else failed++ } }\n\
    END { print \"active \" active + 0 \" failed \" failed + 0 }'\n";

/// What the paths are devices of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Below {
    Gnbd {
        /// The time-out of the exports.
        timeout: Duration,
        /// Who serves each path, by its device.
        servers: BTreeMap<String, NodeName>,
    },
    /// Disks behind SCSI controllers.
    Scsi,
}

impl Below {
    /// The devices, as multipath.conf and udev's triggers know them.
    const fn devices(&self) -> (&'static str, &'static str) {
        match self {
            Self::Gnbd { .. } => ("^nbd[0-9]+$", "nbd*"),
            Self::Scsi => ("^sd[a-z]+$", "sd*"),
        }
    }

    /// The property of a device by which multipathd knows its disk.
    const fn property(&self) -> &'static str {
        match self {
            Self::Gnbd { .. } => "GNBD_UID",
            Self::Scsi => "ID_SERIAL",
        }
    }

    /// multipathd's settings that depend on the devices. For those of nbd always `queue_mode bio`: the request-based kind dispatches
    /// under RCU, where nbd's driver sleeps.
    fn settings(&self) -> String {
        match self {
            Self::Gnbd { timeout, .. } => format!(
                "\x20   features \"2 queue_mode bio\"\n\
                 \x20   path_checker directio\n\
                 \x20   checker_timeout {}\n",
                (*timeout + CHECKER_SLACK).as_secs()
            ),
            Self::Scsi => "\x20   path_checker tur\n".to_owned(),
        }
    }

    const fn rules(&self) -> (&'static str, &'static str) {
        match self {
            Self::Gnbd { .. } => ("/etc/udev/rules.d/60-gnbd.rules", GNBD_RULES),
            Self::Scsi => ("/etc/udev/rules.d/60-scsi.rules", SCSI_RULES),
        }
    }

    /// Sets `usable` to the names of devices that can carry requests, each between two spaces.
    const fn list_usable(&self) -> &'static str {
        match self {
            Self::Gnbd { .. } => {
                "usable=\" $(gnbd_import -n -l | while read -r one two three four rest; do\n\
                 \x20   case \"$one $two\" in\n\
                 \x20       'Device name') name=$four ;;\n\
                 \x20       'State :') [ \"$four\" != Connected ] || echo \"$name\" ;;\n\
                 \x20   esac\n\
                 done | tr '\\n' ' ')\"\n"
            }
            Self::Scsi => {
                "usable=\" $(for link in /dev/shared*; do\n\
                 \x20   state=\n\
                 \x20   read -r state <\"/sys/block/$(readlink $link)/device/state\" || true\n\
                 \x20   [ \"$state\" != running ] || echo \"${link##*/}\"\n\
                 done | tr '\\n' ' ')\"\n"
            }
        }
    }
}

/// The maps that every client has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Maps {
    pub(crate) plan: Multipath,
    pub(crate) below: Below,
}

/// That `node` has so many paths in all maps together.
pub(crate) fn sees(node: &NodeName, active: u32, failed: u32, deadline: Duration) -> Probe {
    Probe {
        node: node.clone(),
        title: format!("{active} paths carry requests and {failed} do not"),
        script: PATHS.to_owned(),
        expect: Expect::lines([format!("active {active} failed {failed}")]),
        deadline,
        stall: None,
    }
}

impl Maps {
    /// multipath.conf.
    fn config(&self) -> String {
        let Multipath {
            selector,
            grouping,
            no_path,
            polling,
            ..
        } = &self.plan;
        let polling = polling.as_secs();
        let (devnode, property) = (self.below.devices().0, self.below.property());
        let mut text = format!(
            "defaults {{\n\
             \x20   user_friendly_names no\n\
             \x20   find_multipaths no\n\
             \x20   uid_attribute {property}\n\
             \x20   detect_checker no\n\
             \x20   detect_prio no\n\
             \x20   prio const\n\
             \x20   path_selector \"{selector} 0\"\n\
             \x20   path_grouping_policy {grouping}\n\
             \x20   rr_min_io_rq 1\n\
             \x20   failback immediate\n\
             \x20   no_path_retry {no_path}\n\
             \x20   polling_interval {polling}\n\
             \x20   max_polling_interval {}\n\
             {}\
             \x20   skip_kpartx yes\n\
             }}\n\
             blacklist {{\n\
             \x20   devnode \"^vd\"\n\
             \x20   devnode \"^(loop|ram|zram|dm-)\"\n\
             }}\n\
             blacklist_exceptions {{\n\
             \x20   devnode \"{devnode}\"\n\
             \x20   property \"{property}\"\n\
             }}\n",
            2 * polling,
            self.below.settings(),
        );
        let named = self.plan.maps.iter().filter(|map| map.name != map.wwid);
        for MultipathMap { name, wwid, .. } in named {
            let _ = write!(
                text,
                "multipaths {{\n\
                 \x20   multipath {{\n\
                 \x20       wwid {wwid}\n\
                 \x20       alias {name}\n\
                 \x20   }}\n\
                 }}\n"
            );
        }
        text
    }

    fn modules(&self) -> &'static [&'static str] {
        match self.plan.selector {
            Selector::RoundRobin => &["dm-multipath", "dm-round-robin"],
            Selector::ServiceTime => &["dm-multipath", "dm-service-time"],
            Selector::QueueLength => &["dm-multipath", "dm-queue-length"],
        }
    }

    fn start(&self, on: &[NodeName]) -> Stage {
        // Locked in memory multipathd would be 26 MB large instead of 10; a guest has no swap.
        // The devices were there before udevd: it gets their events once more. multipathd takes in what udev knows when it
        // starts, and later paths as they come.
        let text = format!(
            "{FEW_RULES}{}\
             run modprobe -a {}\n\
             run udevadm trigger --action=add --settle --subsystem-match=block --sysname-match='{}'\n\
             mkdir -p /etc/multipath\n\
             pidof multipathd >/dev/null || {SETPRIV} --bounding-set=-ipc_lock multipathd -d -v2 >/run/multipathd.log 2>&1 </dev/null &\n",
            start_udevd(),
            self.modules().join(" "),
            self.below.devices().1,
        );
        let (path, rules) = self.below.rules();
        let files = [
            GuestFile {
                path: "/etc/multipath.conf".to_owned(),
                text: self.config(),
                mode: 0o644,
            },
            GuestFile {
                path: path.to_owned(),
                text: rules.to_owned(),
                mode: 0o644,
            },
        ];
        Stage::new(on, "start udevd and multipathd", START, &script(&text)).with_files(&files)
    }
}

impl Describe for Multipath {
    const HOT: Hot = Hot {
        modules: &[
            "dm-multipath",
            "dm-round-robin",
            "dm-service-time",
            "dm-queue-length",
        ],
        commands: &[
            (UDEVD, "--version"),
            ("udevadm", "--version"),
            ("multipathd", "-h"),
            ("dmsetup", "--version"),
            ("awk", "1 /dev/null"),
            ("cat", MULTIPATH_PLUGINS),
        ],
    };

    fn describe(
        &self,
        _placed: &PlacedLayer,
        plan: &Plan,
        _watched: &mut Watched,
    ) -> Box<dyn LayerCommands> {
        Box::new(Maps {
            plan: self.clone(),
            below: match self.below {
                LayerKind::SharedDisk => Below::Scsi,
                _ => imported(plan),
            },
        })
    }
}

fn imported(plan: &Plan) -> Below {
    let gnbd = plan.layers.iter().find_map(|placed| match &placed.layer {
        Layer::Gnbd(gnbd) => Some(gnbd),
        _ => None,
    });
    let paths = gnbd.iter().flat_map(|gnbd| {
        let paths = gnbd.exports.iter().map(|export| export.imported().path);
        paths.zip(gnbd.servers.iter().cloned())
    });
    Below::Gnbd {
        timeout: gnbd.map(|gnbd| gnbd.timeout).unwrap_or_default(),
        servers: paths.collect(),
    }
}

impl LayerCommands for Maps {
    fn kind(&self) -> LayerKind {
        LayerKind::Multipath
    }

    fn title(&self) -> String {
        let paths: usize = self.plan.maps.iter().map(|map| map.paths.len()).sum();
        format!(
            "multipath with {} maps of {paths} paths",
            self.plan.maps.len()
        )
    }

    fn up(&self, there: &[NodeName], _topology: &Topology) -> Vec<Stage> {
        vec![self.start(there)]
    }

    fn join(&self, node: &NodeName, _peers: &Peers, _topology: &Topology) -> Vec<Stage> {
        vec![self.start(std::slice::from_ref(node))]
    }

    fn daemons(&self, _node: &NodeName) -> &'static [&'static str] {
        &["multipathd", "systemd-udevd"]
    }

    fn service(&self, node: &NodeName, _peers: &Peers, _topology: &Topology) -> Vec<Stage> {
        vec![self.start(std::slice::from_ref(node))]
    }

    /// Each map has a path for every device of its disk that can carry requests, whichever servers of GNBD are away; of a map without
    /// any server nothing is asked.
    fn probes(&self, node: &NodeName, peers: &Peers, _topology: &Topology) -> Vec<Probe> {
        let is_there = |path: &String| match &self.below {
            Below::Gnbd { servers, .. } => servers
                .get(path)
                .is_some_and(|server| peers.serving.contains(server)),
            Below::Scsi => true,
        };
        let maps = self.plan.maps.iter();
        let maps: Vec<_> = maps.filter(|map| map.paths.iter().any(is_there)).collect();
        let mut text = self.below.list_usable().to_owned();
        text += "paths() { dmsetup status \"$1\" | awk '{ for (i = 1; i < NF; i++) if ($i ~ /^[0-9]+:[0-9]+$/ && $(i + 1) == \"A\") n++ } END { print n + 0 }'; }\n";
        let mut lines = Vec::new();
        for map in &maps {
            let names: Vec<&str> = map
                .paths
                .iter()
                .map(|path| path.rsplit('/').next().unwrap_or(path))
                .collect();
            let _ = write!(
                text,
                "wanted=0\n\
                 for name in {}; do\n\
                 \x20   case $usable in *\" $name \"*) wanted=$((wanted + 1)) ;; esac\n\
                 done\n\
                 active=$(paths {name})\n\
                 [ $wanted != 0 ] && [ $active = $wanted ] && active=all\n\
                 echo \"{name} $(blockdev --getsz {device}) $active\"\n",
                names.join(" "),
                name = map.name,
                device = map.device.path,
            );
            lines.push(format!("{} {} all", map.name, map.device.sectors));
        }
        vec![Probe {
            node: node.clone(),
            title: format!("{} maps have all their paths", maps.len()),
            script: text,
            expect: Expect(lines),
            deadline: PROBE,
            stall: None,
        }]
    }

    fn down(&self, there: &[NodeName], _topology: &Topology) -> Vec<Stage> {
        let mut text = format!(
            "if pidof multipathd >/dev/null; then kill $(pidof multipathd); fi\n\
             {}\
             export DM_DISABLE_UDEV=1\n",
            wait_for_end("multipathd", 100, "")
        );
        for map in &self.plan.maps {
            let _ = writeln!(
                text,
                "if dmsetup info {0} >/dev/null 2>&1; then run dmsetup remove --retry {0}; fi",
                map.name
            );
        }
        text += "if pidof systemd-udevd >/dev/null; then run udevadm control --exit; fi\n";
        let title = "stop multipathd and udevd";
        vec![Stage::new(there, title, STOP, &script(&text))]
    }

    fn state(&self) -> Vec<(String, String)> {
        let text = "timeout 5 multipathd show maps topology\ntimeout 5 multipathd show paths\n\
            dmsetup table --target multipath\ndmsetup status --target multipath\n\
            cat /etc/multipath.conf\ntail -n 200 /run/multipathd.log\n\
            for device in /sys/block/nbd* /sys/block/sd*; do timeout 5 udevadm info $device; done\n";
        vec![("multipath.txt".to_owned(), text.to_owned())]
    }
}
