//! The layers of a scenario as a whole: what is done to all of them, in which order, and where.

use std::collections::BTreeMap;
use std::time::Duration;

use sanlab_plan::guest::IP;
use sanlab_plan::{Awaited, BlockMap, Device, DiskFault, LayerKind, NodeName, WaitFor};

use crate::compose::faulty_disks::FaultyDisks;
use crate::description::layer::LayerCommands;
use crate::description::probe::{LayerProbe, Probe};
use crate::description::work::{Stage, Work, WorkKind};
use crate::layers::describe::Watched;
use crate::layers::multipath;
use crate::layers::volume::Volume;
use crate::nodes::present::{Peers, Present, those};
use crate::nodes::topology::Topology;

/// The layers of a scenario, lowest first, with their devices resolved.
#[derive(Debug)]
pub struct Stack {
    pub(crate) topology: Topology,
    pub(crate) at_start: Vec<NodeName>,
    pub(crate) faulty_disks: FaultyDisks,
    pub(crate) placed_layers: Vec<Placed>,
    /// What the topmost layer offers on each node.
    pub(crate) devices: BTreeMap<NodeName, Vec<Device>>,
    pub(crate) watched: Watched,
}

/// A layer and the nodes that ever have it.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) on: Vec<NodeName>,
    pub(crate) layer: Box<dyn LayerCommands>,
}

impl Placed {
    fn is_on(&self, node: &NodeName) -> bool {
        self.on.contains(node)
    }

    /// What it must know of the nodes.
    fn peers(&self, present: &Present) -> Peers {
        let (there, kind) = (those(&present.there, &self.on), self.layer.kind());
        let is_active = |node: &&NodeName| !present.is_stopped(node, kind);
        Peers {
            active: there.iter().filter(is_active).cloned().collect(),
            there,
            serving: present.serving(),
        }
    }

    /// What is done, and what is looked at afterwards.
    fn work(&self, stages: Vec<Stage>, probes: Vec<Probe>) -> Work {
        Work {
            kind: WorkKind::Layer(self.layer.kind()),
            title: self.layer.title(),
            stages,
            probes,
        }
    }
}

/// Those of `peers` that have a task, and `node`.
fn touched<'a>(peers: &'a Peers, node: &NodeName, stages: &[Stage]) -> Vec<&'a NodeName> {
    let tasks = || stages.iter().flat_map(|stage| &stage.tasks);
    let is_touched = |who: &&NodeName| *who == node || tasks().any(|task| task.node == **who);
    peers.active.iter().filter(is_touched).collect()
}

/// Whether a layer can come up side by side with another of its kind on other nodes.
fn side_by_side(one: &Placed, other: &Placed) -> bool {
    one.layer.kind() == other.layer.kind() && !other.on.iter().any(|node| one.is_on(node))
}

impl Work {
    /// Does that as well, stage beside stage.
    fn beside(&mut self, other: Self) {
        self.title = format!("{}; {}", self.title, other.title);
        for (number, stage) in other.stages.into_iter().enumerate() {
            match self.stages.get_mut(number) {
                Some(mine) => {
                    if mine.title != stage.title {
                        mine.title = format!("{}; {}", mine.title, stage.title);
                    }
                    mine.tasks.extend(stage.tasks);
                }
                None => self.stages.push(stage),
            }
        }
        self.probes.extend(other.probes);
    }
}

impl Stack {
    /// Everybody who will ever take part.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Lowest first.
    pub fn layers(&self) -> Vec<&dyn LayerCommands> {
        self.placed_layers
            .iter()
            .map(|placed| placed.layer.as_ref())
            .collect()
    }

    /// The shared file system, when the stack has one.
    pub fn volume(&self) -> Option<&Volume> {
        self.watched.volume.as_ref()
    }

    /// The path of the one block device that all layers together give a node, such as `/dev/mapper/nbdsan`; with a file
    /// system, the device that it is on. `None`: the node has none, or several.
    pub fn top_device(&self, node: &NodeName) -> Option<&str> {
        match self.devices.get(node)?.as_slice() {
            [device] => Some(&device.path),
            _ => None,
        }
    }

    /// Whether the [`Stack::top_device`] of both is one and has the same bytes: what one writes the other reads.
    pub fn share_device(&self, one: &NodeName, other: &NodeName) -> bool {
        self.top_device(one).is_some() && self.devices.get(one) == self.devices.get(other)
    }

    /// Brings every layer up on the nodes of the start, lowest first, and mounts the volume there if the scenario
    /// has it mounted from the start.
    ///
    /// Layers of one kind that have no node in common and stand next to one another come up in one work, side by side.
    /// That a cluster has found together is awaited only when the disks below the next layer are ready as well. Below all of them
    /// come the devices through which disks are used that steps let fail.
    pub fn up(&self) -> Vec<Work> {
        let mut works: Vec<Work> = self.faulty_disks.up(&self.at_start).into_iter().collect();
        let mut before: Vec<&Placed> = Vec::new();
        for placed in &self.placed_layers {
            let peers = placed.peers(&Present::all(&self.at_start));
            let stages = placed.layer.up(&peers.there, &self.topology);
            let probes = peers.there.iter();
            let probes = probes.flat_map(|node| placed.layer.probes(node, &peers, &self.topology));
            let work = placed.work(stages, probes.collect());
            let beside = !before.is_empty() && before.iter().all(|one| side_by_side(one, placed));
            match works.last_mut() {
                Some(last) if beside => last.beside(work),
                _ => {
                    before.clear();
                    works.push(work);
                }
            }
            before.push(placed);
        }
        let awaited_above = [LayerKind::Membership, LayerKind::Drbd].map(WorkKind::Layer);
        for number in 1..works.len() {
            if let [.., below, above] = &mut works[..=number]
                && [below.kind, above.kind] == awaited_above
            {
                above.probes.append(&mut below.probes);
            }
        }
        let volume = self
            .watched
            .volume
            .iter()
            .filter(|volume| volume.mounted_from_start);
        works.extend(volume.map(|volume| {
            let on = those(&volume.on, &self.at_start);
            volume.mount(&on, &[], &self.topology)
        }));
        works
    }

    /// Brings every layer that `node` has up there while `present` (without it) run, lowest first, but does not mount the
    /// volume.
    ///
    /// Whoever has a task is probed afterwards, and `node` always.
    pub fn join(&self, node: &NodeName, present: &Present) -> Vec<Work> {
        let topology = &self.topology;
        self.extend(
            node,
            present,
            |layer, peers| layer.join(node, peers, topology),
            |layer, node, peers| layer.probes(node, peers, topology),
        )
    }

    /// Brings every layer up again on `node`, whose machine came back with its disk, while `present` (without it) run, lowest
    /// first. It does not mount the volume.
    ///
    /// Whoever has a task is probed afterwards, and `node` always.
    pub fn rejoin(&self, node: &NodeName, present: &Present) -> Vec<Work> {
        let topology = &self.topology;
        self.extend(
            node,
            present,
            |layer, peers| layer.rejoin(node, peers, topology),
            |layer, node, peers| layer.probes_again(node, peers, topology),
        )
    }

    fn extend(
        &self,
        node: &NodeName,
        present: &Present,
        stages: impl Fn(&dyn LayerCommands, &Peers) -> Vec<Stage>,
        probes: impl Fn(&dyn LayerCommands, &NodeName, &Peers) -> Vec<Probe>,
    ) -> Vec<Work> {
        // Nothing of what is stopped there is: its machine has just come up.
        let mut all = present.clone();
        all.there.push(node.clone());
        all.stopped.retain(|(other, _)| other != node);
        let mut works: Vec<Work> = Vec::new();
        works.extend(self.faulty_disks.up(std::slice::from_ref(node)));
        for placed in self
            .placed_layers
            .iter()
            .filter(|placed| placed.is_on(node))
        {
            let layer = placed.layer.as_ref();
            let stages = stages(layer, &placed.peers(present));
            let peers = placed.peers(&all);
            let touched = touched(&peers, node, &stages).into_iter();
            let probes = touched.flat_map(|who| probes(layer, who, &peers)).collect();
            works.push(placed.work(stages, probes));
        }
        works
    }

    /// Which layer on `node` has a daemon of that name.
    pub fn daemon_of(&self, node: &NodeName, process: &str) -> Option<LayerKind> {
        let mut placed_layers = self.placed_layers.iter().filter(|it| it.is_on(node));
        let found = placed_layers.find(|it| it.layer.daemons(node).contains(&process));
        found.map(|placed| placed.layer.kind())
    }

    /// What must hold of every layer at the end of a run while `present` run. What a step crashed or stopped is left out,
    /// and so is what cannot be without it; and what commands may have changed, such as who is primary.
    ///
    /// Lowest layer first; the volume's own probes come last, on the nodes that have it mounted.
    pub fn end_probes(&self, present: &Present) -> Vec<LayerProbe> {
        let mut found = Vec::new();
        let reaches = |node: &NodeName| !present.is_stopped(node, LayerKind::Gnbd);
        let mut above_gnbd = false;
        for (place, placed) in self.placed_layers.iter().enumerate() {
            let kind = placed.layer.kind();
            let peers = placed.peers(present);
            // A node that has the volume mounted shows more than its superblock.
            let mounted = |node: &NodeName| kind.is_file_system() && present.mounted.contains(node);
            // A client whose receivers are stopped has none of its devices.
            let looked = peers
                .active
                .iter()
                .filter(|node| !mounted(node) && (!above_gnbd || reaches(node)));
            let probes =
                looked.flat_map(|node| placed.layer.probes_at_end(node, &peers, &self.topology));
            found.extend(probes.map(|probe| LayerProbe { kind, place, probe }));
            above_gnbd |= kind == LayerKind::Gnbd;
        }
        let mut kinds = self.placed_layers.iter().map(|it| it.layer.kind());
        let file_system = kinds.clone().position(LayerKind::is_file_system);
        let held = |blocks: &BlockMap| blocks.is_held_by(&present.serving());
        if let (Some(place), Some(volume)) = (file_system, &self.watched.volume)
            && let Some(kind) = kinds.nth(place)
            && self.watched.blocks.as_ref().is_some_and(held)
        {
            let probes = volume.probes(&present.mounted, &self.topology).into_iter();
            let probes = probes.filter(|probe| reaches(&probe.node));
            found.extend(probes.map(|probe| LayerProbe { kind, place, probe }));
        }
        found
    }

    /// Starts the daemons of the layers of that kind on `node`, one of `present`, where they were stopped. Whoever has a task
    /// is probed afterwards. A work without stages: no such layer there has any.
    pub fn start(&self, kind: LayerKind, node: &NodeName, present: &Present) -> Work {
        let mut whole = Work {
            kind: WorkKind::Layer(kind),
            title: format!("start {kind} on {node}"),
            stages: Vec::new(),
            probes: Vec::new(),
        };
        let placed_layers = self.placed_layers.iter();
        for placed in placed_layers.filter(|it| it.layer.kind() == kind && it.is_on(node)) {
            let peers = placed.peers(present);
            let stages = placed.layer.service(node, &peers, &self.topology);
            if !stages.is_empty() {
                let touched = touched(&peers, node, &stages);
                let probes = |who| placed.layer.probes(who, &peers, &self.topology);
                whole.probes.extend(touched.into_iter().flat_map(probes));
                whole.stages.extend(stages);
            }
        }
        whole
    }

    /// How to see that every node of `wait` sees what is awaited, each within `deadline`. Nothing: no layer knows of it.
    pub fn state_probe(&self, wait: &WaitFor, deadline: Duration) -> Vec<Probe> {
        let probe = |node: &NodeName| match &wait.state {
            Awaited::Paths { active, failed } => {
                Some(multipath::sees(node, *active, *failed, deadline))
            }
            Awaited::Drbd {
                resource,
                connection,
                disk,
            } => {
                let resources = &self.watched.resources;
                let found = resources.iter().find(|it| it.plan.resource == *resource)?;
                Some(found.sees(node, connection.as_deref(), disk.as_deref(), deadline))
            }
            Awaited::Members { cluster, members } => {
                let clusters = &self.watched.clusters;
                let found = clusters.iter().find(|it| it.plan.cluster == *cluster)?;
                Some(found.sees(node, members, &self.topology, deadline))
            }
        };
        wait.on.iter().filter_map(probe).collect()
    }

    /// Where the bytes of the volume lie on the nodes' own disks, if that is known.
    pub fn block_map(&self) -> Option<&BlockMap> {
        self.watched.blocks.as_ref().filter(|it| it.is_known())
    }

    /// Takes everything down on `there`, topmost first: unmounts the volume on `mounted`, then each layer.
    pub fn down(&self, there: &[NodeName], mounted: &[NodeName]) -> Vec<Work> {
        let mut works = Vec::new();
        if !mounted.is_empty() {
            works.extend(
                self.watched
                    .volume
                    .iter()
                    .map(|volume| volume.unmount(mounted, mounted, &self.topology)),
            );
        }
        let mut above: Vec<&Placed> = Vec::new();
        for placed in self.placed_layers.iter().rev() {
            let there = those(there, &placed.on);
            let stages = placed.layer.down(&there, &self.topology);
            let work = placed.work(stages, Vec::new());
            let beside = !above.is_empty() && above.iter().all(|one| side_by_side(one, placed));
            match works.last_mut() {
                Some(last) if beside => last.beside(work),
                _ => {
                    above.clear();
                    works.push(work);
                }
            }
            above.push(placed);
        }
        works.extend(self.faulty_disks.down(there));
        for work in &mut works {
            work.stages.retain(|stage| !stage.tasks.is_empty());
        }
        works.retain(|work| !work.stages.is_empty());
        works
    }

    /// The script by which a disk fails as that step says.
    pub fn disk_fault(&self, fault: &DiskFault) -> String {
        self.faulty_disks.fault(fault)
    }

    /// The script by which the disk of a node is whole again that a step let fail.
    pub fn whole_disk(&self) -> String {
        self.faulty_disks.whole_again()
    }

    /// What to collect when something failed: file names, and scripts whose output goes there.
    pub fn state(&self) -> Vec<(String, String)> {
        let disk = (!self.faulty_disks.is_empty()).then(FaultyDisks::state);
        let mut all = self.looks(|_| true);
        all.extend(disk);
        all
    }

    /// The same for one node: of the layers that it has.
    pub fn state_of(&self, node: &NodeName) -> Vec<(String, String)> {
        let disk = self.faulty_disks.is_on(node).then(FaultyDisks::state);
        let mut all = self.looks(|placed| placed.is_on(node));
        all.extend(disk);
        all
    }

    fn looks(&self, wanted: impl Fn(&Placed) -> bool) -> Vec<(String, String)> {
        let fixed = [
            ("dmesg.txt", "dmesg\n"),
            ("mounts.txt", "cat /proc/mounts\n"),
            ("partitions.txt", "cat /proc/partitions /proc/devices\n"),
            ("processes.txt", "ps w\n"),
            ("network.txt", &format!("{IP} -s addr; cat /etc/hosts\n")),
        ];
        let fixed = fixed
            .iter()
            .map(|&(name, text)| (name.to_owned(), text.to_owned()));
        let placed_layers = self.placed_layers.iter().filter(|placed| wanted(placed));
        fixed
            .chain(placed_layers.flat_map(|placed| placed.layer.state()))
            .collect()
    }
}
