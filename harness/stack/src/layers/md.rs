//! Linux software RAID by mdadm, over devices that several nodes share. Each node runs the array for itself, and none of
//! them knows of the others: whether that goes well is what scenarios with it find out.

use std::time::Duration;

use sanlab_plan::{LayerKind, Md, NodeName, PlacedLayer, Plan, RaidLevel};

use crate::description::layer::LayerCommands;
use crate::description::probe::{Expect, Probe};
use crate::description::work::Stage;
use crate::layers::describe::{Describe, Hot, Watched};
use crate::nodes::present::Peers;
use crate::nodes::topology::Topology;
use crate::shell::script::script;

const CREATE: Duration = Duration::from_secs(120);
const PROBE: Duration = Duration::from_secs(60);
/// mdadm makes the nodes under /dev itself, whether udevd runs or not, and need not wait for it.
const NO_UDEV: &str = "export MDADM_NO_UDEV=1\n";

/// An array, which looks the same on every node.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Array {
    plan: Md,
}

impl Describe for Md {
    const HOT: Hot = Hot {
        modules: &["raid0", "raid1"],
        commands: &[("mdadm", "--version")],
    };

    fn describe(
        &self,
        _placed: &PlacedLayer,
        _plan: &Plan,
        _watched: &mut Watched,
    ) -> Box<dyn LayerCommands> {
        Box::new(Array { plan: self.clone() })
    }
}

impl LayerCommands for Array {
    fn kind(&self) -> LayerKind {
        LayerKind::Md
    }

    fn title(&self) -> String {
        format!(
            "md {}, RAID {} over {} devices",
            self.plan.name,
            self.level(),
            self.plan.below.len()
        )
    }

    fn up(&self, there: &[NodeName], _topology: &Topology) -> Vec<Stage> {
        let (first, others) = there.split_at(there.len().min(1));
        let title = format!("create {}", self.plan.device.path);
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
        let count = self.plan.below.len();
        vec![self.runs(node, &format!("{count} active"), "")]
    }

    /// A mirror that a step made miss a disk runs on; what became of the others is in the kernel's log.
    fn probes_at_end(&self, node: &NodeName, _peers: &Peers, _topology: &Topology) -> Vec<Probe> {
        let enough = match self.plan.level {
            RaidLevel::Striped => self.plan.below.len(),
            RaidLevel::Mirrored => 1,
        };
        let fold = format!("[ $active -lt {enough} ] || active=enough\n");
        vec![self.runs(node, "enough active", &fold)]
    }

    fn down(&self, there: &[NodeName], _topology: &Topology) -> Vec<Stage> {
        let path = &self.plan.device.path;
        let text = format!("{NO_UDEV}[ ! -e {path} ] || run mdadm --stop --quiet {path}\n");
        let title = format!("stop {path}");
        vec![Stage::new(there, &title, CREATE, &script(&text))]
    }

    fn state(&self) -> Vec<(String, String)> {
        let text = format!(
            "cat /proc/mdstat\nmdadm --detail {}\nfor device in {}; do timeout 5 mdadm --examine $device; done\n",
            self.plan.device.path,
            self.devices()
        );
        vec![(format!("md-{}.txt", self.plan.name), text)]
    }
}

impl Array {
    fn devices(&self) -> String {
        let paths: Vec<&str> = self
            .plan
            .below
            .iter()
            .map(|device| device.path.as_str())
            .collect();
        paths.join(" ")
    }

    fn level(&self) -> &'static str {
        match self.plan.level {
            RaidLevel::Striped => "0",
            RaidLevel::Mirrored => "1",
        }
    }

    fn create(&self) -> String {
        let particular = match self.plan.level {
            RaidLevel::Striped => format!("--chunk={}K", self.plan.chunk.bytes() / 1024),
            // New disks are alike.
            RaidLevel::Mirrored => {
                format!(
                    "--size={}K --assume-clean --bitmap=none",
                    self.plan.device.sectors / 2
                )
            }
        };
        script(&format!(
            "{NO_UDEV}run modprobe raid{level}\n\
             mkdir -p /dev/md\n\
             run mdadm --create {device} --run --quiet --homehost=any --name={name} --metadata=1.2 --data-offset={data}K \
             --level={level} --raid-devices={count} {particular} {below}\n",
            level = self.level(),
            device = self.plan.device.path,
            name = self.plan.name,
            data = Md::DATA_OFFSET / 2,
            count = self.plan.below.len(),
            below = self.devices(),
        ))
    }

    fn assemble(&self, on: &[NodeName]) -> Stage {
        let text = format!(
            "{NO_UDEV}run modprobe raid{}\n\
             mkdir -p /dev/md\n\
             run mdadm --assemble {} --run --quiet {}\n",
            self.level(),
            self.plan.device.path,
            self.devices()
        );
        let title = format!("assemble {}", self.plan.device.path);
        Stage::new(on, &title, CREATE, &script(&text))
    }

    /// That it runs with so many disks; `fold` may change what `$active` counts.
    fn runs(&self, node: &NodeName, active: &str, fold: &str) -> Probe {
        let (count, level) = (self.plan.below.len(), self.level());
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
            self.plan.device.path
        );
        let sectors = self.plan.device.sectors;
        Probe {
            node: node.clone(),
            title: format!("{} runs with {count} disks, {active}", self.plan.name),
            script: text,
            expect: Expect::lines([format!(
                "raid{level} of {count} disks, {active}, {sectors} sectors"
            )]),
            deadline: PROBE,
            stall: None,
        }
    }
}
