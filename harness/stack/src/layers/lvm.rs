//! A volume group that nodes share: made by the first node, with locks that lvmlockd takes from the DLM.

use std::fmt::Write as _;
use std::time::Duration;

use sanlab_plan::{
    Device, Extents, LayerKind, Layout, LogicalVolume, Lvm, NodeName, PlacedLayer, Plan,
};

use crate::description::layer::LayerCommands;
use crate::description::probe::{Expect, Probe};
use crate::description::work::{GuestFile, Stage};
use crate::layers::describe::{Describe, Hot, Watched};
use crate::layers::dlm;
use crate::layers::mapping;
use crate::layers::membership;
use crate::nodes::present::Peers;
use crate::nodes::topology::Topology;
use crate::shell::script::{script, wait_for_end};

const START: Duration = Duration::from_secs(60);
const MAKE: Duration = Duration::from_secs(180);
const ACTIVATE: Duration = Duration::from_secs(120);
const STOP: Duration = Duration::from_secs(120);
const PROBE: Duration = Duration::from_secs(60);

/// lvmlockd's lock space for what belongs to no group.
const GLOBAL: &str = "lvm_global";

/// A group and its volumes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct VolumeGroup {
    plan: Lvm,
}

impl Describe for Lvm {
    const HOT: Hot = Hot {
        modules: &["dm-mod"],
        commands: &[
            ("lvm", "version"),
            ("lvmlockd", "--version"),
            ("lvmlockctl", "--help"),
        ],
    };

    fn describe(
        &self,
        _placed: &PlacedLayer,
        _plan: &Plan,
        _watched: &mut Watched,
    ) -> Box<dyn LayerCommands> {
        Box::new(VolumeGroup { plan: self.clone() })
    }
}

impl LayerCommands for VolumeGroup {
    fn kind(&self) -> LayerKind {
        LayerKind::Lvm
    }

    fn title(&self) -> String {
        let Lvm {
            group,
            volumes,
            below,
            layout,
            ..
        } = &self.plan;
        format!(
            "lvm group {group} with {} {layout} volumes on {} devices",
            volumes.len(),
            below.len()
        )
    }

    fn up(&self, there: &[NodeName], _topology: &Topology) -> Vec<Stage> {
        let (first, others) = there.split_at(there.len().min(1));
        let make = Stage::new(
            first,
            &format!("make volume group {}", self.plan.group),
            MAKE,
            &script(&self.make()),
        );
        let title = format!("activate the volumes of {}", self.plan.group);
        // vgcreate has started the locks where it ran.
        let mut activate = Stage::new(others, &title, ACTIVATE, &script(&self.begin()));
        let on_first = Stage::new(first, &title, ACTIVATE, &script(&self.activate()));
        activate.tasks.extend(on_first.tasks);
        vec![self.start(there), make, activate]
    }

    fn join(&self, node: &NodeName, _peers: &Peers, _topology: &Topology) -> Vec<Stage> {
        let one = std::slice::from_ref(node);
        let title = format!("activate the volumes of {}", self.plan.group);
        vec![
            self.start(one),
            Stage::new(one, &title, ACTIVATE, &script(&self.begin())),
        ]
    }

    fn daemons(&self, _node: &NodeName) -> &'static [&'static str] {
        &["lvmlockd"]
    }

    fn probes(&self, node: &NodeName, peers: &Peers, topology: &Topology) -> Vec<Probe> {
        let mut probes = vec![self.tables(node)];
        probes.extend(self.probes_at_end(node, peers, topology));
        probes
    }

    /// Commands may have made volumes larger.
    fn probes_at_end(&self, node: &NodeName, peers: &Peers, topology: &Topology) -> Vec<Probe> {
        let mut probes = vec![self.locks(node, peers, topology)];
        let mut devices = self.plan.below.iter();
        // The devices are read: nothing is asked while nobody serves a part of them.
        if devices.all(|device| device.blocks.is_held_by(&peers.serving)) {
            probes.push(self.locked_by(node));
        }
        probes
    }

    fn down(&self, there: &[NodeName], _topology: &Topology) -> Vec<Stage> {
        let group = &self.plan.group;
        let text = format!(
            "pidof lvmlockd >/dev/null || exit 0\n\
             if vgs {group} >/dev/null 2>&1; then\n\
             \x20   run lvchange -an {group}\n\
             \x20   run vgchange --lock-stop {group}\n\
             fi\n\
             run lvmlockctl --stop-lockspaces --wait 1\n\
             kill $(pidof lvmlockd)\n\
             {}",
            wait_for_end("lvmlockd", 250, "$(lvmlockctl -i 2>&1)")
        );
        let title = format!("deactivate {group} and stop lvmlockd");
        vec![Stage::new(there, &title, STOP, &script(&text))]
    }

    fn state(&self) -> Vec<(String, String)> {
        let text = "timeout 5 lvmlockctl -i\ntimeout 5 lvmlockctl -d | tail -n 200\n\
            dmsetup table\ndmsetup info -c\n\
            timeout 20 vgs -a -o+lock_type,lock_args 2>&1\ntimeout 20 lvs -a -o+devices,lock_args 2>&1\n\
            cat /etc/lvm/lvm.conf\n";
        vec![("lvm.txt".to_owned(), text.to_owned())]
    }
}

impl VolumeGroup {
    fn start(&self, on: &[NodeName]) -> Stage {
        let text = "run modprobe dm-mod\n\
                    mkdir -p /run/lvm /run/lock/lvm\n\
                    pidof lvmlockd >/dev/null && fail 'lvmlockd is running already'\n\
                    run lvmlockd\n";
        let config = GuestFile {
            path: "/etc/lvm/lvm.conf".to_owned(),
            text: self.config(),
            mode: 0o644,
        };
        Stage::new(on, "start lvmlockd", START, &script(text)).with_files(&[config])
    }

    /// lvm.conf. There is no udev, or none that knows of LVM: LVM scans /dev, and makes its devices itself. Only the devices below
    /// are physical volumes: a path of multipath's must never be one, nor anything on a logical volume.
    fn config(&self) -> String {
        let accept = |device: &Device| format!("\"a|^{}$|\"", device.path.replace('.', "\\."));
        let accept: Vec<String> = self.plan.below.iter().map(accept).collect();
        format!(
            "devices {{\n\
             \x20   scan = [ \"/dev\" ]\n\
             \x20   filter = [ {}, \"r|.*|\" ]\n\
             \x20   use_devicesfile = 0\n\
             \x20   obtain_device_list_from_udev = 0\n\
             \x20   external_device_info_source = \"none\"\n\
             \x20   multipath_component_detection = 0\n\
             \x20   md_component_detection = 0\n\
             }}\n\
             global {{\n\
             \x20   use_lvmlockd = 1\n\
             \x20   use_lvmpolld = 0\n\
             \x20   event_activation = 0\n\
             }}\n\
             activation {{\n\
             \x20   udev_sync = 0\n\
             \x20   udev_rules = 0\n\
             \x20   monitoring = 0\n\
             }}\n\
             backup {{\n\
             \x20   backup = 0\n\
             \x20   archive = 0\n\
             }}\n",
            accept.join(", ")
        )
    }

    /// Makes the group and its volumes, each on the extents that the plan has for it.
    fn make(&self) -> String {
        let Lvm {
            group,
            volumes,
            below,
            ..
        } = &self.plan;
        let devices: Vec<&str> = below.iter().map(|device| device.path.as_str()).collect();
        let devices = devices.join(" ");
        let mut text = format!(
            "run pvcreate --dataalignment {}b {devices}\n\
             run vgcreate --shared --lock-type dlm --physicalextentsize {}b {group} {devices}\n",
            Lvm::DATA.bytes(),
            Lvm::EXTENT.bytes()
        );
        for volume in volumes {
            text += &self.create(volume);
        }
        text
    }

    fn create(&self, volume: &LogicalVolume) -> String {
        let Lvm {
            group,
            below,
            layout,
            chunk,
            ..
        } = &self.plan;
        let name = &volume.name;
        let place = |run: &Extents| {
            let last = run.first + run.count - 1;
            format!("{}:{}-{last}", below[run.device].path, run.first)
        };
        // Nothing is wiped and nothing activated: the device is empty, and no other node is to find it in use.
        let create = format!("run lvcreate -an -Wn -Zn -n {name}");
        if *layout == Layout::Striped {
            let count: u64 = volume.runs.iter().map(|run| run.count).sum();
            let places: Vec<String> = volume.runs.iter().map(place).collect();
            return format!(
                "{create} -i {} -I {}b -l {count} {group} {}\n",
                places.len(),
                chunk.bytes(),
                places.join(" ")
            );
        }
        let mut text = String::new();
        // One run after another, so that they lie in this order.
        for (number, run) in volume.runs.iter().enumerate() {
            let (count, place) = (run.count, place(run));
            // Only a String is written to.
            let _ = match number {
                0 => writeln!(text, "{create} -l {count} {group} {place}"),
                _ => writeln!(text, "run lvextend -l +{count} {group}/{name} {place}"),
            };
        }
        text
    }

    /// Joins the group's locks, and activates.
    fn begin(&self) -> String {
        format!("run vgchange --lock-start {}\n", self.plan.group) + &self.activate()
    }

    /// Several nodes at the same time: by locks that are shared.
    fn activate(&self) -> String {
        format!("run lvchange -asy {}\n", self.plan.group)
    }

    /// That each volume lies where the plan has it.
    fn tables(&self, node: &NodeName) -> Probe {
        let Lvm { group, volumes, .. } = &self.plan;
        let (mut text, mut lines) = (String::new(), Vec::new());
        for volume in volumes {
            let path = &volume.device.path;
            text += &mapping::table(path, &self.plan.below);
            // Only a String is written to.
            let _ = writeln!(text, "blockdev --getsize {path}");
            lines.extend(self.table(volume));
            lines.push(volume.device.sectors.to_string());
        }
        Probe {
            node: node.clone(),
            title: format!("the volumes of {group} lie where they must"),
            script: text,
            expect: Expect(lines),
            deadline: PROBE,
            stall: None,
        }
    }

    /// A volume's lines in device-mapper's words.
    fn table(&self, volume: &LogicalVolume) -> Vec<String> {
        let place = |run: &Extents| {
            let device = &self.plan.below[run.device];
            format!("{} {}", device.path, run.offset() / 512)
        };
        if self.plan.layout == Layout::Striped {
            let places: Vec<String> = volume.runs.iter().map(place).collect();
            return vec![format!(
                "0 {} striped {} {} {}",
                volume.device.sectors,
                places.len(),
                self.plan.chunk.bytes() / 512,
                places.join(" ")
            )];
        }
        let mut begin = 0;
        let line = |run: &Extents| {
            let (from, length) = (begin, run.length() / 512);
            begin += length;
            format!("{from} {length} linear {}", place(run))
        };
        volume.runs.iter().map(line).collect()
    }

    /// That exactly the group's nodes share its lock spaces, and this one has each volume active as one of several.
    fn locks(&self, node: &NodeName, peers: &Peers, topology: &Topology) -> Probe {
        let Lvm { group, volumes, .. } = &self.plan;
        let space = format!("lvm_{group}");
        let members = membership::ids(topology.those(&peers.there));
        let text = format!(
            "{}\
             lvmlockctl -i | {{\n\
             \x20   inside= active=0\n\
             \x20   while read -r one two three rest; do\n\
             \x20       case \"$one $two\" in\n\
             \x20           'VG {group}') inside=1 ;;\n\
             \x20           'VG '*) inside= ;;\n\
             \x20           'LK LV') [ -z \"$inside\" ] || [ \"$three\" != sh ] || active=$((active + 1)) ;;\n\
             \x20       esac\n\
             \x20   done\n\
             \x20   echo \"volumes locked as shared: $active\"\n\
             }}\n",
            dlm::spaces(&[GLOBAL, &space])
        );
        let mut lines = vec![dlm::space(GLOBAL, &members), dlm::space(&space, &members)];
        lines.sort();
        lines.push(format!("volumes locked as shared: {}", volumes.len()));
        Probe {
            node: node.clone(),
            title: format!("nodes {members} share the locks of {group}"),
            script: text,
            expect: Expect(lines),
            deadline: PROBE,
            stall: None,
        }
    }

    /// That the group is locked by that cluster's DLM.
    fn locked_by(&self, node: &NodeName) -> Probe {
        let Lvm { group, cluster, .. } = &self.plan;
        let text = format!(
            "vgs --noheadings -o vg_name,lock_type,lock_args {group} | while read -r name type arguments; do\n\
             \x20   echo \"$name $type $arguments\"\n\
             done\n"
        );
        Probe {
            node: node.clone(),
            title: format!("{group} is locked by the lock manager of {cluster}"),
            script: text,
            expect: Expect::lines([format!("{group} dlm 1.0.0:{cluster}")]),
            deadline: PROBE,
            stall: None,
        }
    }
}
