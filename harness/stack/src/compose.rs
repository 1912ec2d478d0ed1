//! A plan's layers put on one another: who offers which devices to whom.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use sanlab_plan::{NodeName, Plan};

use crate::layer::{Layer, Stage, Work};
use crate::linear::linear;
use crate::mapping::{Device, Mapping};
use crate::ocfs2::FileSystem;
use crate::striped::striped;
use crate::topology::Topology;
use crate::volume::Volume;

/// Why layers do not fit on one another, in words that finish "failed to".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StackError {
    /// A layer that needs devices is the lowest.
    #[error("compose the stack: no layer below `{layer}` offers a device")]
    NothingBelow {
        /// The layer's kind.
        layer: &'static str,
    },
    /// A file system on several devices.
    #[error(
        "compose the stack: `ocfs2` needs one device and has {count} below: put `striped` or `linear` between"
    )]
    ManyBelow {
        /// How many there are.
        count: usize,
    },
    /// A file system of a cluster, without the cluster.
    #[error("compose the stack: `ocfs2` needs `o2cb` below it")]
    NoCluster,
}

/// The layers of a scenario, lowest first, with their devices resolved.
#[derive(Debug)]
pub struct Stack {
    topology: Topology,
    at_start: Vec<NodeName>,
    layers: Vec<Box<dyn Layer>>,
    volume: Option<Volume>,
}

/// Puts the layers of `plan` on one another: nbd offers `/dev/nbd0` to `/dev/nbdN-1`, striped and linear offer
/// `/dev/mapper/NAME`, ocfs2 sits on the one device of the topmost of them.
pub fn compose(plan: &Plan) -> Result<Stack, StackError> {
    let topology = Topology::of(plan);
    let mut devices: Vec<Device> = Vec::new();
    let mut cluster = None;
    let mut volume = None;
    let mut layers: Vec<Box<dyn Layer>> = Vec::new();
    for layer in &plan.layers {
        match layer {
            sanlab_plan::Layer::Nbd(nbd) => {
                let sectors = nbd.disk.bytes() / 512;
                let device = |n: usize| Device {
                    path: format!("/dev/nbd{n}"),
                    sectors,
                };
                devices = (0..topology.exporters().count()).map(device).collect();
                layers.push(Box::new(nbd.clone()));
            }
            sanlab_plan::Layer::Striped(plan) => {
                devices = put(striped(plan, &devices), &mut layers)?;
            }
            sanlab_plan::Layer::Linear(plan) => {
                devices = put(linear(plan, &devices), &mut layers)?;
            }
            sanlab_plan::Layer::O2cb(o2cb) => {
                cluster = Some(o2cb.cluster.clone());
                layers.push(Box::new(o2cb.clone()));
            }
            sanlab_plan::Layer::Ocfs2(plan) => {
                let device = match devices.as_slice() {
                    [] => return Err(StackError::NothingBelow { layer: "ocfs2" }),
                    [device] => device.path.clone(),
                    many => return Err(StackError::ManyBelow { count: many.len() }),
                };
                let cluster = cluster.clone().ok_or(StackError::NoCluster)?;
                volume = Some(Volume {
                    device: device.clone(),
                    at: plan.at.clone(),
                    cluster: cluster.clone(),
                    mounted_from_start: plan.mount,
                });
                layers.push(Box::new(FileSystem {
                    plan: plan.clone(),
                    cluster,
                    device,
                }));
            }
        }
    }
    let at_start = plan.at_start().map(|node| node.name.clone()).collect();
    Ok(Stack {
        topology,
        at_start,
        layers,
        volume,
    })
}

/// Adds a mapping and gives what the next layer sees.
fn put(mapping: Mapping, layers: &mut Vec<Box<dyn Layer>>) -> Result<Vec<Device>, StackError> {
    if mapping.below.is_empty() {
        return Err(StackError::NothingBelow {
            layer: mapping.kind,
        });
    }
    let devices = vec![mapping.device()];
    layers.push(Box::new(mapping));
    Ok(devices)
}

impl Stack {
    /// Everybody who will ever take part.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Lowest first.
    pub fn layers(&self) -> &[Box<dyn Layer>] {
        &self.layers
    }

    /// The shared file system, when the stack has one.
    pub fn volume(&self) -> Option<&Volume> {
        self.volume.as_ref()
    }

    /// Brings every layer up on the nodes of the start, lowest first, and mounts the volume there if the scenario
    /// has it mounted from the start.
    pub fn up(&self) -> Vec<Work> {
        let there = &self.at_start;
        let mut works = Vec::new();
        for layer in &self.layers {
            let stages = layer.up(there, &self.topology);
            works.push(self.work(layer.as_ref(), stages, there, there));
        }
        let volume = self
            .volume
            .iter()
            .filter(|volume| volume.mounted_from_start);
        works.extend(volume.map(|volume| volume.mount(there, &[], &self.topology)));
        works
    }

    /// Brings every layer up on `node` while `there` (without it) run, lowest first, but does not mount the volume.
    ///
    /// Whoever has a task is probed afterwards, and `node` always.
    pub fn join(&self, node: &NodeName, there: &[NodeName]) -> Vec<Work> {
        let mut all = there.to_vec();
        all.push(node.clone());
        let mut works = Vec::new();
        for layer in &self.layers {
            let stages = layer.join(node, there, &self.topology);
            let tasks = || stages.iter().flat_map(|stage| &stage.tasks);
            let touched = |who: &&NodeName| *who == node || tasks().any(|task| task.node == **who);
            let touched: Vec<NodeName> = all.iter().filter(touched).cloned().collect();
            works.push(self.work(layer.as_ref(), stages, &touched, &all));
        }
        works
    }

    /// Takes everything down on `there`, topmost first: unmounts the volume on `mounted`, then each layer.
    pub fn down(&self, there: &[NodeName], mounted: &[NodeName]) -> Vec<Work> {
        let mut works = Vec::new();
        if !mounted.is_empty() {
            works.extend(
                self.volume
                    .iter()
                    .map(|volume| volume.unmount(mounted, mounted, &self.topology)),
            );
        }
        for layer in self.layers.iter().rev() {
            let stages = layer.down(there, &self.topology);
            works.push(self.work(layer.as_ref(), stages, &[], &[]));
        }
        works.retain(|work| !work.stages.is_empty());
        works
    }

    fn work(
        &self,
        layer: &dyn Layer,
        stages: Vec<Stage>,
        on: &[NodeName],
        there: &[NodeName],
    ) -> Work {
        let probes = on
            .iter()
            .flat_map(|node| layer.probes(node, there, &self.topology));
        Work {
            kind: layer.kind(),
            title: layer.title(),
            stages,
            probes: probes.collect(),
        }
    }

    /// A script that reads what the layers will read of the root image, so that a guest has it in memory. What cannot be
    /// read is left: it is no more than slow then.
    pub fn warm(&self) -> String {
        let modules: BTreeSet<&str> = self.hot().flat_map(|hot| hot.modules).copied().collect();
        let commands: BTreeSet<&str> = self.hot().flat_map(|hot| hot.commands).copied().collect();
        let modules = modules.into_iter().collect::<Vec<_>>().join(" ");
        let mut text = format!(
            "exec >/dev/null 2>&1 </dev/null\n\
             set +e\n\
             modprobe -a --show-depends {modules} | while read -r insmod file rest; do cat \"$file\"; done\n"
        );
        for command in commands {
            // Only Strings are written to.
            let _ = writeln!(text, "{command}");
        }
        text + "true\n"
    }

    fn hot(&self) -> impl Iterator<Item = crate::layer::Hot> {
        self.layers.iter().map(|layer| layer.hot())
    }

    /// What to collect on a node when something failed: file names, and scripts whose output goes there.
    pub fn state(&self) -> Vec<(String, String)> {
        let fixed = [
            ("dmesg.txt", "dmesg\n"),
            ("mounts.txt", "cat /proc/mounts\n"),
            ("partitions.txt", "cat /proc/partitions /proc/devices\n"),
            ("processes.txt", "ps w\n"),
            ("network.txt", "/usr/sbin/ip -s addr; cat /etc/hosts\n"),
        ];
        let fixed = fixed
            .iter()
            .map(|&(name, text)| (name.to_owned(), text.to_owned()));
        fixed
            .chain(self.layers.iter().flat_map(|layer| layer.state()))
            .collect()
    }
}
