//! What layers stand on: who is offered which devices, from the lowest layer upwards.

use crate::diagnostic::{Diagnostic, Mistakes, Span};
use crate::document::read::At;
use crate::lower::node_set::NodeSet;
use crate::plan::{BlockMap, DISK, Device, LayerKind};
use crate::values::names::NodeName;
use crate::values::units::ByteSize;

/// The devices that the layers so far offer.
#[derive(Debug)]
pub(crate) struct DeviceMap<'a> {
    pub(crate) node_set: &'a NodeSet,
    /// By the nodes' places in the node set.
    offers: Vec<Vec<Device>>,
    /// Which layer offers them.
    pub(crate) top: Option<(LayerKind, Span)>,
    /// Which layer gave a node its disk.
    owners: Vec<Option<(LayerKind, Span)>>,
    /// The size of every node's disk: the largest that a layer asks for.
    disk: Option<ByteSize>,
    /// The sizes of all devices are known: no disk so far was of an impossible one.
    pub(crate) sized: bool,
    /// Every layer so far was understood. If one was not, a device that is missing here proves nothing.
    pub(crate) sure: bool,
}

impl<'a> DeviceMap<'a> {
    /// `disk`: the largest that a layer asks for.
    pub(crate) fn new(node_set: &'a NodeSet, disk: Option<ByteSize>, sure: bool) -> Self {
        Self {
            node_set,
            offers: vec![Vec::new(); node_set.nodes.len()],
            top: None,
            owners: vec![None; node_set.nodes.len()],
            disk,
            sized: true,
            sure: sure && node_set.is_whole(),
        }
    }

    /// Every node.
    pub(crate) fn all(&self) -> Vec<NodeName> {
        self.node_set
            .nodes
            .iter()
            .map(|node| node.name.clone())
            .collect()
    }

    /// The nodes to which the layer below gives devices, in the order of their numbers.
    pub(crate) fn holders(&self) -> Vec<NodeName> {
        let nodes = self.node_set.nodes.iter().zip(&self.offers);
        nodes
            .filter(|(_, devices)| !devices.is_empty())
            .map(|(node, _)| node.name.clone())
            .collect()
    }

    /// What the layer below gives a node.
    pub(crate) fn devices(&self, name: &NodeName) -> &[Device] {
        self.node_set
            .position(name)
            .map_or(&[], |at| self.offers[at].as_slice())
    }

    /// What the layer below gives the first of the nodes that have something.
    pub(crate) fn first_devices(&self) -> &[Device] {
        self.offers
            .iter()
            .find(|devices| !devices.is_empty())
            .map_or(&[], Vec::as_slice)
    }

    /// A node's own disk, as a layer above sees it.
    pub(crate) fn own_disk(&self, node: &NodeName) -> Device {
        Device {
            path: DISK.to_owned(),
            sectors: self.disk.map_or(0, |disk| disk.bytes() / 512),
            uid: None,
            blocks: BlockMap::Disk(node.clone()),
        }
    }

    /// The nodes whose own disk a layer uses.
    pub(crate) fn disks(&self) -> Vec<NodeName> {
        let nodes = self.node_set.nodes.iter().zip(&self.owners);
        nodes
            .filter(|(_, owner)| owner.is_some())
            .map(|(node, _)| node.name.clone())
            .collect()
    }

    /// A layer gives a node a disk of its own: nodes have one.
    pub(crate) fn take_disk(
        &mut self,
        node: &At<NodeName>,
        kind: LayerKind,
        mistakes: &mut Mistakes,
    ) {
        let Some(at) = self.node_set.position(&node.value) else {
            return;
        };
        if let Some((first, span)) = &self.owners[at] {
            mistakes.note(
                Diagnostic::at(
                    &node.span,
                    format!("two layers give `{}` a disk", node.value),
                )
                .label(format!("a disk for `{kind}`"))
                .also(span, format!("a disk for `{first}`"))
                .help("a node has one disk: name other nodes, or drop one of the layers"),
            );
            return;
        }
        self.owners[at] = Some((kind, node.span.clone()));
    }

    /// A layer takes all that is there, and offers these.
    pub(crate) fn replace(
        &mut self,
        (kind, span): (LayerKind, &Span),
        offers: impl IntoIterator<Item = (NodeName, Vec<Device>)>,
    ) {
        for devices in &mut self.offers {
            devices.clear();
        }
        self.add((kind, span), offers);
    }

    /// A layer offers these beside those of the one before.
    pub(crate) fn add(
        &mut self,
        (kind, span): (LayerKind, &Span),
        offers: impl IntoIterator<Item = (NodeName, Vec<Device>)>,
    ) {
        for (name, devices) in offers {
            if let Some(at) = self.node_set.position(&name) {
                self.offers[at].extend(devices);
            }
        }
        self.top = Some((kind, span.clone()));
    }

    /// A layer makes other devices of each node's.
    pub(crate) fn transform(
        &mut self,
        (kind, span): (LayerKind, &Span),
        change: impl Fn(&[Device]) -> Vec<Device>,
    ) {
        for devices in &mut self.offers {
            *devices = change(devices);
        }
        self.top = Some((kind, span.clone()));
    }

    /// A layer makes one device of all that a node has; gives the nodes, what they have, and that device. What is wrong
    /// below is noted even where `make` has nothing to make it from.
    pub(crate) fn join(
        &mut self,
        (kind, span): (LayerKind, &Span),
        mistakes: &mut Mistakes,
        make: impl FnOnce(&[Device]) -> Option<Device>,
    ) -> Option<(Vec<NodeName>, Vec<Device>, Device)> {
        let on = self.holders();
        if self.check_paths(kind, span, mistakes) {
            self.check_same(kind, &on, span, mistakes);
        }
        let below = self.first_devices().to_vec();
        let device = make(&below)?;
        self.transform((kind, span), |devices| match devices {
            [] => Vec::new(),
            _ => vec![device.clone()],
        });
        Some((on, below, device))
    }

    /// A layer that looks the same on all of its nodes needs the same devices there.
    pub(crate) fn check_same(
        &self,
        kind: LayerKind,
        on: &[NodeName],
        span: &Span,
        mistakes: &mut Mistakes,
    ) {
        let devices = self.first_devices();
        let other = on.iter().find(|node| self.devices(node) != devices);
        let top = self.top.as_ref().filter(|_| self.sure);
        if let (Some(other), Some((below, place))) = (other, top) {
            mistakes.note(
                Diagnostic::at(span, format!("`{kind}` on different disks"))
                    .label(format!("`{}` and `{other}` would not see the same", on[0]))
                    .also(place, format!("`{below}` is right below"))
                    .help(
                        "put a layer between that gives all nodes the same disks, such as `gnbd`",
                    ),
            );
        }
    }

    /// Whether each device is another disk; notes a mistake where two are paths to one, which look like two disks.
    pub(crate) fn check_paths(
        &self,
        kind: LayerKind,
        span: &Span,
        mistakes: &mut Mistakes,
    ) -> bool {
        let devices = self.first_devices();
        let twice = devices.iter().enumerate().any(|(at, device)| {
            devices[..at]
                .iter()
                .any(|other| other.blocks == device.blocks)
        });
        let Some((below, place)) = self.top.as_ref().filter(|_| twice && self.sure) else {
            return true;
        };
        mistakes.note(
            Diagnostic::at(span, format!("`{kind}` over several paths to one disk"))
                .label("takes each path for a disk of its own")
                .also(
                    place,
                    format!("`{below}` offers the same disk more than once"),
                )
                .help(format!(
                    "put a `[[layer]]` with `multipath = {{}}` between `{below}` and `{kind}`"
                )),
        );
        false
    }
}
