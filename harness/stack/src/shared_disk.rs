//! Disks that QEMU attaches to several nodes. Which letter the kernel gives one depends on how many others there are: the layer links
//! each under its serial number, so that it has the same path everywhere.

use std::time::Duration;

use sanlab_plan::{LayerKind, NodeName, PlacedLayer, Plan, SharedDisk};

use crate::compose::Describe;
use crate::layer::{Expect, Layer, Probe, Stage};
use crate::present::Peers;
use crate::script::script;
use crate::stack::Watched;
use crate::topology::Topology;

const LINK: Duration = Duration::from_secs(60);
const PROBE: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(60);

impl Describe for SharedDisk {
    fn describe(
        &self,
        _placed: &PlacedLayer,
        _plan: &Plan,
        _watched: &mut Watched,
    ) -> Box<dyn Layer> {
        Box::new(self.clone())
    }
}

impl Layer for SharedDisk {
    fn kind(&self) -> LayerKind {
        LayerKind::SharedDisk
    }

    fn title(&self) -> String {
        match self.devices.len() {
            1 => format!("a shared disk of {}", self.size),
            count => format!("{count} shared disks of {}", self.size),
        }
    }

    fn up(&self, there: &[NodeName], _topology: &Topology) -> Vec<Stage> {
        vec![link(self, there)]
    }

    fn join(&self, node: &NodeName, _peers: &Peers, _topology: &Topology) -> Vec<Stage> {
        vec![link(self, std::slice::from_ref(node))]
    }

    fn probes(&self, node: &NodeName, _peers: &Peers, _topology: &Topology) -> Vec<Probe> {
        let text = format!(
            "for disk in {}; do\n\
             \x20   size=$(blockdev --getsz /dev/$disk 2>&1) || true\n\
             \x20   echo \"$disk $size\"\n\
             done\n",
            names(self)
        );
        let sectors = self.size.bytes() / 512;
        let lines =
            (0..self.devices.len()).map(|at| format!("{} {sectors}", SharedDisk::serial(at)));
        vec![Probe {
            node: node.clone(),
            title: format!("{} of {sectors} sectors", names(self)),
            script: text,
            expect: Expect::lines(lines),
            deadline: PROBE,
            stall: None,
        }]
    }

    fn down(&self, there: &[NodeName], _topology: &Topology) -> Vec<Stage> {
        let text = format!("cd /dev\nrun rm -f {}\n", names(self));
        let title = "remove the links to shared disks";
        vec![Stage::new(there, title, STOP, &script(&text))]
    }

    fn state(&self) -> Vec<(String, String)> {
        let text = "ls -l /dev/shared* || true\n\
                    grep -s . /sys/block/vd*/serial /sys/block/vd*/size /sys/block/vd*/queue/write_cache || true\n";
        vec![("shared-disks.txt".to_owned(), text.to_owned())]
    }
}

/// `shared0 shared1`
fn names(disks: &SharedDisk) -> String {
    let names = (0..disks.devices.len()).map(SharedDisk::serial);
    names.collect::<Vec<_>>().join(" ")
}

fn link(disks: &SharedDisk, on: &[NodeName]) -> Stage {
    // The kernel ends a serial number without a new line.
    let text = format!(
        "for disk in {}; do\n\
         \x20   found=\n\
         \x20   for folder in /sys/block/vd*; do\n\
         \x20       serial=\n\
         \x20       read -r serial <\"$folder/serial\" || true\n\
         \x20       [ \"$serial\" != \"$disk\" ] || found=${{folder##*/}}\n\
         \x20   done\n\
         \x20   [ -n \"$found\" ] || fail \"no disk has the serial number $disk\"\n\
         \x20   ln -sfn $found /dev/$disk\n\
         done\n",
        names(disks)
    );
    Stage::new(on, "find the shared disks", LINK, &script(&text))
}
