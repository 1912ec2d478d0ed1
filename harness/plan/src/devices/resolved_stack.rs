//! The layers as a whole: which stands on which, and on which nodes.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::devices::device_map::DeviceMap;
use crate::diagnostic::{Mistakes, Span};
use crate::document::Document;
use crate::document::read::At;
use crate::layers::dlm::Locks;
use crate::layers::membership::Clusters;
use crate::layers::order::Order;
use crate::layers::{Layer, NbdServer, Property, timeouts};
use crate::lower::node_set::NodeSet;
use crate::plan::{Device, FileSystem, LayerKind, PlacedLayer};
use crate::values::names::{ClusterName, NetworkName, NodeName, ResourceName, VolumeName};
use crate::values::units::ByteSize;

/// The layers of a scenario, and what the steps must know of them.
#[derive(Debug, Default)]
pub(crate) struct ResolvedStack {
    pub(crate) layers: Vec<PlacedLayer>,
    pub(crate) file_system: Option<At<FileSystem>>,
    /// Where it is written how many nodes can mount the file system.
    pub(crate) mounts: Option<Span>,
    /// The size of the device below the file system.
    pub(crate) volume: Option<ByteSize>,
    /// What all layers together offer each node that they offer something.
    pub(crate) devices: BTreeMap<NodeName, Vec<Device>>,
    /// The nodes whose own disk a layer uses, in the order of their numbers.
    pub(crate) disks: Vec<NodeName>,
    /// The sizes of all devices are known.
    sized: bool,
    /// Every layer was understood. If one was not, a layer that is missing here proves nothing.
    pub(crate) whole: bool,
    /// Time-outs that contradict each other on purpose.
    pub(crate) warnings: Vec<String>,
}

impl ResolvedStack {
    pub(crate) fn lower(document: &Document, node_set: &NodeSet, mistakes: &mut Mistakes) -> Self {
        let Some(entries) = &document.layer else {
            return Self::default();
        };
        let kinds: Vec<_> = entries
            .iter()
            .filter_map(|entry| entry.kind.as_ref())
            .collect();
        let whole = kinds.len() == entries.len();
        let order = Order {
            kinds: &kinds,
            whole,
        };
        order.check(mistakes);
        let mut building = Building {
            resolved_stack: Self {
                whole,
                ..Self::default()
            },
            device_map: DeviceMap::new(node_set, order.largest_disk(), whole),
            clusters: Clusters::default(),
            resources: Vec::new(),
            cluster: None,
            locks: None,
            logical_volumes: Vec::new(),
            nbd_disk: order.nbd_disk().cloned(),
        };
        // Those of the layers that were understood.
        let mut written = Vec::new();
        for (at, kind) in kinds.iter().enumerate() {
            // What a second layer of its sort finds below, and leaves above, is not what was meant.
            let is_second = order.first_of(at).is_some();
            building.device_map.sure &= !is_second;
            building.resolved_stack.whole &= !is_second;
            let mut built = kind.lower(&kind.span, &mut building, mistakes);
            let networks = &node_set.networks;
            let known = |name: &&At<NetworkName>| networks.find(name, mistakes).is_some();
            if kind.networks().into_iter().filter(known).count() < kind.networks().len() {
                built = None;
            }
            building.device_map.sure &= built.is_some();
            building.resolved_stack.whole &= built.is_some();
            if let Some((on, layer)) = built {
                building
                    .resolved_stack
                    .layers
                    .push(PlacedLayer { on, layer });
                written.push(kind);
            }
        }
        building.resolved_stack.sized = building.device_map.sized;
        building.resolved_stack.disks = building.device_map.disks();
        let holders = building.device_map.holders();
        let offered = |name: &NodeName| (name.clone(), building.device_map.devices(name).to_vec());
        building.resolved_stack.devices = holders.iter().map(offered).collect();
        let holders = match holders {
            none if none.is_empty() => building.device_map.all(),
            holders => holders,
        };
        let mut resolved_stack = building.resolved_stack;
        for placed in &mut resolved_stack.layers {
            if placed.layer.kind() == LayerKind::O2cb {
                placed.on.clone_from(&holders);
            }
        }
        for (placed, kind) in resolved_stack.layers.iter().zip(written) {
            let what = format!("`{}` is on", placed.layer.kind());
            for name in kind.networks() {
                let joins = node_set
                    .networks
                    .check_joins(name, &placed.on, &what, mistakes);
                resolved_stack.whole &= joins;
            }
        }
        resolved_stack.warnings = timeouts::check(&kinds, document.mistimed.as_ref(), mistakes);
        resolved_stack
    }

    /// The size of each node's disk, if layers use any and it is possible.
    pub(crate) fn disk(&self) -> Option<ByteSize> {
        let layers = self.layers.iter().filter(|_| self.sized);
        layers.filter_map(|placed| placed.layer.disk()).max()
    }

    /// The layer of that kind, the first of several.
    pub(crate) fn placed(&self, kind: LayerKind) -> Option<&PlacedLayer> {
        self.layers
            .iter()
            .find(|placed| placed.layer.kind() == kind)
    }

    /// The layer of the file system.
    pub(crate) fn volume_layer(&self) -> Option<&PlacedLayer> {
        let mut placed_layers = self.layers.iter();
        placed_layers.find(|placed| placed.layer.kind().is_file_system())
    }

    /// Whether a node can mount the file system.
    pub(crate) fn has_volume(&self, node: &NodeName) -> bool {
        let placed = self.volume_layer();
        placed.is_some_and(|placed| placed.on.contains(node))
    }

    /// The devices that a node has of all layers together.
    pub(crate) fn devices(&self, node: &NodeName) -> &[Device] {
        self.devices.get(node).map_or(&[], Vec::as_slice)
    }

    /// The size of the smallest of the devices of these nodes, if all are known.
    pub(crate) fn smallest_device(&self, on: &[NodeName]) -> Option<ByteSize> {
        let devices = on.iter().flat_map(|node| self.devices(node));
        let smallest = devices.map(Device::size).min();
        smallest.filter(|_| self.whole && self.sized)
    }

    /// The layer that keeps devices of `nbd` in use, so that those whose server ended stay dead: the kernel gives a device a new
    /// connection only while nothing has it open, or where its client persists.
    pub(crate) fn holder_of_nbd(&self) -> Option<LayerKind> {
        let placed = self.placed(LayerKind::Nbd)?;
        let persists = matches!(&placed.layer, Layer::Nbd(nbd) if nbd.persist.is_some());
        let mut kinds = self.layers.iter().map(|placed| placed.layer.kind());
        let is_holder = |kind: &LayerKind| kind.has(Property::OnDevices) || kind.is_file_system();
        kinds.find(is_holder).filter(|_| !persists)
    }

    /// How long it may take until the servers of `nbd` serve, if they take long.
    pub(crate) fn slow_start(&self) -> Option<Duration> {
        let slow =
            |layer: &Layer| matches!(layer, Layer::Nbd(nbd) if nbd.server == NbdServer::NbdServer);
        let placed = self.placed(LayerKind::Nbd)?;
        slow(&placed.layer).then_some(Duration::from_secs(600))
    }

    /// Whether a node exports its disk by `nbd`.
    pub(crate) fn serves_nbd(&self, node: &NodeName) -> bool {
        let mut placed_layers = self.layers.iter();
        placed_layers
            .any(|placed| matches!(&placed.layer, Layer::Nbd(nbd) if nbd.servers.contains(node)))
    }

    /// Whether a node has a layer of that kind.
    pub(crate) fn has(&self, node: &NodeName, kind: LayerKind) -> bool {
        let mut placed_layers = self.layers.iter();
        placed_layers.any(|placed| placed.layer.kind() == kind && placed.on.contains(node))
    }
}

/// A resolved stack halfway up: what layers find below, and leave for those above.
pub(crate) struct Building<'a> {
    pub(crate) resolved_stack: ResolvedStack,
    pub(crate) device_map: DeviceMap<'a>,
    pub(crate) clusters: Clusters,
    /// Of the DRBD layers so far.
    pub(crate) resources: Vec<At<ResourceName>>,
    /// Of `o2cb`.
    pub(crate) cluster: Option<ClusterName>,
    /// Of `dlm`.
    pub(crate) locks: Option<Locks>,
    /// Of `lvm`.
    pub(crate) logical_volumes: Vec<(VolumeName, Device)>,
    /// Of each NBD server.
    pub(crate) nbd_disk: Option<At<ByteSize>>,
}
