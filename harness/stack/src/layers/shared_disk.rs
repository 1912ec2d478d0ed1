//! Disks that QEMU attaches to several nodes. Which letter the kernel gives one depends on how many others there are: the layer links
//! each under its serial number, and each path of several with the path's number, so that they are called alike everywhere.

use std::fmt::Write as _;
use std::time::Duration;

use sanlab_plan::{Device, DiskBus, LayerKind, NodeName, PlacedLayer, Plan, SharedDisk};

use crate::description::layer::LayerCommands;
use crate::description::probe::{Expect, Probe};
use crate::description::work::Stage;
use crate::layers::describe::{Describe, Hot, Watched};
use crate::nodes::present::Peers;
use crate::nodes::topology::Topology;
use crate::shell::script::script;

const LINK: Duration = Duration::from_secs(60);
const PROBE: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(60);

/// Print the kernel's name of a disk of virtio-blk with that serial number, and of one behind SCSI with that World Wide Name and target.
/// The kernel ends a serial number without a new line.
const FIND: &str = r#"virtio_blk() {
    for folder in /sys/block/vd*; do
        serial=
        read -r serial <"$folder/serial" || true
        [ "$serial" != "$1" ] || echo "${folder##*/}"
    done
}
virtio_scsi() {
    for folder in /sys/block/sd*; do
        [ -e "$folder/device/wwid" ] || continue
        read -r wwid <"$folder/device/wwid" || continue
        [ "$wwid" = "naa.$1" ] || continue
        case $(readlink "$folder/device") in */*:0:$2:*) echo "${folder##*/}" ;; esac
    done
}
attach() {
    name=$1
    shift
    tries=0
    until found=$("$@") && [ -n "$found" ]; do
        tries=$((tries + 1))
        [ $tries -lt 300 ] || fail "no disk is $name: $*"
        sleep 0.1
    done
    ln -sfn "$found" "/dev/$name"
}
"#;

/// The disks, and the links by which they are called alike everywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Links {
    plan: SharedDisk,
}

impl Describe for SharedDisk {
    const HOT: Hot = Hot {
        modules: &["virtio_scsi", "sd_mod"],
        commands: &[],
    };

    fn describe(
        &self,
        _placed: &PlacedLayer,
        _plan: &Plan,
        _watched: &mut Watched,
    ) -> Box<dyn LayerCommands> {
        Box::new(Links { plan: self.clone() })
    }
}

impl LayerCommands for Links {
    fn kind(&self) -> LayerKind {
        LayerKind::SharedDisk
    }

    fn title(&self) -> String {
        let disks = match self.plan.count {
            1 => format!("a shared disk of {}", self.plan.size),
            count => format!("{count} shared disks of {}", self.plan.size),
        };
        match self.plan.paths {
            1 => disks,
            paths => format!("{disks} over {paths} paths"),
        }
    }

    fn up(&self, there: &[NodeName], _topology: &Topology) -> Vec<Stage> {
        vec![self.link(there)]
    }

    fn join(&self, node: &NodeName, _peers: &Peers, _topology: &Topology) -> Vec<Stage> {
        vec![self.link(std::slice::from_ref(node))]
    }

    fn probes(&self, node: &NodeName, _peers: &Peers, _topology: &Topology) -> Vec<Probe> {
        let text = format!(
            "for disk in {}; do\n\
             \x20   size=$(blockdev --getsz /dev/$disk 2>&1) || true\n\
             \x20   echo \"$disk $size\"\n\
             done\n",
            self.names()
        );
        let sectors = self.plan.size.bytes() / 512;
        let devices = self.plan.devices.iter();
        let lines = devices.map(|device| format!("{} {sectors}", name(device)));
        vec![Probe {
            node: node.clone(),
            title: format!("{} of {sectors} sectors", self.names()),
            script: text,
            expect: Expect::lines(lines),
            deadline: PROBE,
            stall: None,
        }]
    }

    fn down(&self, there: &[NodeName], _topology: &Topology) -> Vec<Stage> {
        let text = format!("cd /dev\nrun rm -f {}\n", self.names());
        let title = "remove the links to shared disks";
        vec![Stage::new(there, title, STOP, &script(&text))]
    }

    fn state(&self) -> Vec<(String, String)> {
        let text = "ls -l /dev/shared* || true\n\
                    grep -s . /sys/block/vd*/serial /sys/block/sd*/device/wwid /sys/block/sd*/device/state \
                    /sys/block/[sv]d*/size /sys/block/[sv]d*/queue/write_cache || true\n";
        vec![("shared-disks.txt".to_owned(), text.to_owned())]
    }
}

impl Links {
    /// `shared0 shared1`
    fn names(&self) -> String {
        self.plan
            .devices
            .iter()
            .map(name)
            .collect::<Vec<_>>()
            .join(" ")
    }

    fn link(&self, on: &[NodeName]) -> Stage {
        let mut text = FIND.to_owned();
        if self.plan.bus == DiskBus::VirtioScsi {
            text += "run modprobe -a virtio_scsi sd_mod\n";
        }
        for (device, disk, path) in self.plan.by_path() {
            let finder = match self.plan.bus {
                DiskBus::VirtioBlk => format!("virtio_blk {}", SharedDisk::serial(disk)),
                DiskBus::VirtioScsi => format!("virtio_scsi {:016x} {path}", SharedDisk::wwn(disk)),
            };
            let _ = writeln!(text, "attach {} {finder}", name(device));
        }
        Stage::new(on, "find the shared disks", LINK, &script(&text))
    }
}

/// What it is called below `/dev`.
fn name(device: &Device) -> &str {
    device.path.strip_prefix("/dev/").unwrap_or(&device.path)
}
