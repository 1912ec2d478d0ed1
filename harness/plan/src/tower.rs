//! The layers as a whole: which stands on which, and on which nodes.

use std::collections::BTreeMap;

use crate::diagnostic::{Mistakes, Span};
use crate::document::Document;
use crate::ground::Ground;
use crate::layers::membership::Clusters;
use crate::names::{ClusterName, NodeName, ResourceName};
use crate::order::Order;
use crate::plan::{Device, LayerKind, Ocfs2, Storey};
use crate::read::At;
use crate::roster::Roster;
use crate::timeouts;
use crate::units::ByteSize;

/// The layers of a scenario, and what the steps must know of them.
#[derive(Debug, Default)]
pub(crate) struct Tower {
    pub(crate) layers: Vec<Storey>,
    pub(crate) file_system: Option<At<Ocfs2>>,
    pub(crate) slots: Option<Span>,
    pub(crate) volume: Option<ByteSize>,
    /// What all layers together offer each node that they offer something.
    pub(crate) devices: BTreeMap<NodeName, Vec<Device>>,
    /// The sizes of all devices are known.
    sized: bool,
    /// Every layer was understood. If one was not, a layer that is missing here proves nothing.
    pub(crate) whole: bool,
    /// Time-outs that contradict each other on purpose.
    pub(crate) warnings: Vec<String>,
}

impl Tower {
    pub(crate) fn lower(document: &Document, roster: &Roster, mistakes: &mut Mistakes) -> Self {
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
            tower: Self {
                whole,
                ..Self::default()
            },
            ground: Ground::new(roster, order.largest_disk(), whole),
            clusters: Clusters::default(),
            resources: Vec::new(),
            cluster: None,
            nbd_disk: order.nbd_disk().cloned(),
        };
        for kind in &kinds {
            let built = kind.lower(&kind.span, &mut building, mistakes);
            building.ground.sure &= built.is_some();
            building.tower.whole &= built.is_some();
            let storey = built.map(|(on, layer)| Storey { on, layer });
            building.tower.layers.extend(storey);
        }
        building.tower.sized = building.ground.sized;
        let holders = building.ground.holders();
        let offered = |name: &NodeName| (name.clone(), building.ground.devices(name).to_vec());
        building.tower.devices = holders.iter().map(offered).collect();
        let holders = match holders {
            none if none.is_empty() => building.ground.all(),
            holders => holders,
        };
        let mut tower = building.tower;
        for storey in &mut tower.layers {
            if storey.layer.kind() == LayerKind::O2cb {
                storey.on.clone_from(&holders);
            }
        }
        tower.warnings = timeouts::check(&kinds, document.mistimed.as_ref(), mistakes);
        tower
    }

    /// The layer of that kind, the first of several.
    pub(crate) fn storey(&self, kind: LayerKind) -> Option<&Storey> {
        self.layers
            .iter()
            .find(|storey| storey.layer.kind() == kind)
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

    /// Whether a node has a layer of that kind.
    pub(crate) fn has(&self, node: &NodeName, kind: LayerKind) -> bool {
        let mut storeys = self.layers.iter();
        storeys.any(|storey| storey.layer.kind() == kind && storey.on.contains(node))
    }
}

/// A tower halfway up: what layers find below, and leave for those above.
pub(crate) struct Building<'a> {
    pub(crate) tower: Tower,
    pub(crate) ground: Ground<'a>,
    pub(crate) clusters: Clusters,
    /// Of the DRBD layers so far.
    pub(crate) resources: Vec<At<ResourceName>>,
    /// Of `o2cb`.
    pub(crate) cluster: Option<ClusterName>,
    /// Of each NBD server.
    pub(crate) nbd_disk: Option<At<ByteSize>>,
}
