//! Linux software RAID by mdadm, over devices that several nodes share. Each node runs the array for itself, and none of
//! them knows of the others: whether that goes well is what scenarios with it find out.

use std::time::Duration;

use sanlab_plan::{LayerKind, Md, NodeName, PlacedLayer, Plan, RaidLevel};

use crate::compose::warm::Hot;
use crate::description::layer::LayerCommands;
use crate::description::probe::{Expect, Probe};
use crate::description::work::Stage;
use crate::layers::describe::{Describe, Watched};
use crate::nodes::present::Peers;
use crate::nodes::topology::Topology;
use crate::shell::script::script;

const CREATE: Duration = Duration::from_secs(120);
const PROBE: Duration = Duration::from_secs(60);
/// mdadm makes the nodes under /dev itself, whether udevd runs or not, and need not wait for it.
const NO_UDEV: &str = "export MDADM_NO_UDEV=1\n";

/// What is asked and done of an array, which looks the same on every node.
trait Array {
    fn devices(&self) -> String;
    fn level(&self) -> &'static str;
    fn create(&self) -> String;
    fn assemble(&self, on: &[NodeName]) -> Stage;
    fn runs(&self, node: &NodeName, active: &str, fold: &str) -> Probe;
}

impl Array for Md {
    fn devices(&self) -> String {
        let paths: Vec<&str> = self
            .below
            .iter()
            .map(|device| device.path.as_str())
            .collect();
        paths.join(" ")
    }

    fn level(&self) -> &'static str {
        match self.level {
            RaidLevel::Striped => "0",
            RaidLevel::Mirrored => "1",
        }
    }

    fn create(&self) -> String {
        let particular = match self.level {
            RaidLevel::Striped => format!("--chunk={}K", self.chunk.bytes() / 1024),
            // New disks are alike.
            RaidLevel::Mirrored => {
                format!(
                    "--size={}K --assume-clean --bitmap=none",
                    self.device.sectors / 2
                )
            }
        };
        script(&format!(
            "{NO_UDEV}run modprobe raid{level}\n\
             mkdir -p /dev/md\n\
             run mdadm --create {device} --run --quiet --homehost=any --name={name} --metadata=1.2 --data-offset={data}K \
             --level={level} --raid-devices={count} {particular} {below}\n",
            level = self.level(),
            device = self.device.path,
            name = self.name,
            data = Self::DATA_OFFSET / 2,
            count = self.below.len(),
            below = self.devices(),
        ))
    }

    fn assemble(&self, on: &[NodeName]) -> Stage {
        let text = format!(
            "{NO_UDEV}run modprobe raid{}\n\
             mkdir -p /dev/md\n\
             run mdadm --assemble {} --run --quiet {}\n",
            self.level(),
            self.device.path,
            self.devices()
        );
        let title = format!("assemble {}", self.device.path);
        Stage::new(on, &title, CREATE, &script(&text))
    }

    /// That it runs with so many disks; `fold` may change what `$active` counts.
    fn runs(&self, node: &NodeName, active: &str, fold: &str) -> Probe {
        let (count, level) = (self.below.len(), self.level());
        let text = format!(
            "device=$(readlink -f {})\n\
             cd /sys/block/${{device##*/}}\n\
             read -r level <md/level\n\
             read -r count <md/raid_disks\n\
             active=0\n\
             for disk in md/dev-*; do\n\
             \x20   read -r state <$disk/state\n\
             \x20   [ $state != in_sync ] || active=$((active + 1))\n\
             done\n\
             {fold}\
             read -r sectors <size\n\
             echo \"$level of $count disks, $active active, $sectors sectors\"\n",
            self.device.path
        );
        let sectors = self.device.sectors;
        Probe {
            node: node.clone(),
            title: format!("{} runs with {count} disks, {active}", self.name),
            script: text,
            expect: Expect::lines([format!(
                "raid{level} of {count} disks, {active}, {sectors} sectors"
            )]),
            deadline: PROBE,
            stall: None,
        }
    }
}

impl Describe for Md {
    fn describe(
        &self,
        _placed: &PlacedLayer,
        _plan: &Plan,
        _watched: &mut Watched,
    ) -> Box<dyn LayerCommands> {
        Box::new(self.clone())
    }
}

/// What this layer reads of the root image.
pub(crate) const HOT: Hot = Hot {
    modules: &["raid0", "raid1"],
    commands: &[("mdadm", "--version")],
};

impl LayerCommands for Md {
    fn kind(&self) -> LayerKind {
        LayerKind::Md
    }

    fn title(&self) -> String {
        format!(
            "md {}, RAID {} over {} devices",
            self.name,
            self.level(),
            self.below.len()
        )
    }

    fn up(&self, there: &[NodeName], _topology: &Topology) -> Vec<Stage> {
        let (first, others) = there.split_at(there.len().min(1));
        let title = format!("create {}", self.device.path);
        let mut stages = vec![Stage::new(first, &title, CREATE, &self.create())];
        if !others.is_empty() {
            stages.push(self.assemble(others));
        }
        stages
    }

    fn join(&self, node: &NodeName, _peers: &Peers, _topology: &Topology) -> Vec<Stage> {
        vec![self.assemble(std::slice::from_ref(node))]
    }

    fn probes(&self, node: &NodeName, _peers: &Peers, _topology: &Topology) -> Vec<Probe> {
        let count = self.below.len();
        vec![self.runs(node, &format!("{count} active"), "")]
    }

    /// A mirror that a step made miss a disk runs on; what became of the others is in the kernel's log.
    fn probes_at_end(&self, node: &NodeName, _peers: &Peers, _topology: &Topology) -> Vec<Probe> {
        let enough = match self.level {
            RaidLevel::Striped => self.below.len(),
            RaidLevel::Mirrored => 1,
        };
        let fold = format!("[ $active -lt {enough} ] || active=enough\n");
        vec![self.runs(node, "enough active", &fold)]
    }

    fn down(&self, there: &[NodeName], _topology: &Topology) -> Vec<Stage> {
        let path = &self.device.path;
        let text = format!("{NO_UDEV}[ ! -e {path} ] || run mdadm --stop --quiet {path}\n");
        let title = format!("stop {path}");
        vec![Stage::new(there, &title, CREATE, &script(&text))]
    }

    fn state(&self) -> Vec<(String, String)> {
        let text = format!(
            "cat /proc/mdstat\nmdadm --detail {}\nfor device in {}; do timeout 5 mdadm --examine $device; done\n",
            self.device.path,
            self.devices()
        );
        vec![(format!("md-{}.txt", self.name), text)]
    }
}
