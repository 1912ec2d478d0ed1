//! The layers as a whole: which stands on which, and on which nodes.

use std::collections::BTreeMap;

use crate::diagnostic::{Diagnostic, Mistakes, Span};
use crate::document::{Document, Layer as Entry};
use crate::ground::Ground;
use crate::layers::membership::Clusters;
use crate::layers::{drbd, gnbd, mapped, membership, nbd, o2cb, ocfs2};
use crate::names::{ClusterName, NodeName};
use crate::order::Order;
use crate::plan::{Device, Layer, LayerKind, Storey};
use crate::read::At;
use crate::roster::Roster;
use crate::timeouts;
use crate::units::ByteSize;
use crate::{document, plan};

/// The layers of a scenario, and what the steps must know of them.
#[derive(Debug, Default)]
pub(crate) struct Tower {
    pub(crate) layers: Vec<Storey>,
    pub(crate) file_system: Option<At<plan::Ocfs2>>,
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
            disk: order.find_nbd().and_then(|nbd| nbd.disk.as_ref()),
        };
        for kind in &kinds {
            let built = building.add(kind, mistakes);
            building.ground.sure &= built.is_some();
            building.tower.whole &= built.is_some();
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

/// A tower halfway up.
struct Building<'d> {
    tower: Tower,
    ground: Ground<'d>,
    clusters: Clusters,
    /// Of the DRBD layers so far.
    resources: Vec<&'d At<crate::names::ResourceName>>,
    /// Of `o2cb` below.
    cluster: Option<ClusterName>,
    /// Of each NBD server.
    disk: Option<&'d At<ByteSize>>,
}

impl<'d> Building<'d> {
    /// Puts a layer on top. `None` after a noted mistake of its own.
    fn add(&mut self, entry: &'d At<Entry>, mistakes: &mut Mistakes) -> Option<()> {
        let (span, ground) = (&entry.span, &mut self.ground);
        let (on, layer) = match &entry.value {
            Entry::Nbd(nbd) => {
                let (on, nbd) = nbd::nbd(nbd, span, ground, mistakes)?;
                (on, Layer::Nbd(nbd))
            }
            Entry::Membership(membership) => {
                let clusters = &mut self.clusters;
                let (on, membership) =
                    membership::membership(membership, span, ground.roster, clusters, mistakes)?;
                (on, Layer::Membership(membership))
            }
            Entry::Drbd(drbd) => {
                let (on, drbd) = drbd::drbd(drbd, span, &mut self.resources, ground, mistakes)?;
                (on, Layer::Drbd(drbd))
            }
            Entry::Gnbd(gnbd) => {
                let (on, gnbd) = gnbd::gnbd(gnbd, span, &self.clusters, ground, mistakes)?;
                (on, Layer::Gnbd(gnbd))
            }
            Entry::Multipath(multipath) => {
                let (on, multipath) = mapped::multipath(multipath, span, ground, mistakes)?;
                (on, Layer::Multipath(multipath))
            }
            Entry::Md(md) => {
                let (on, md) = mapped::md(md, span, ground, mistakes)?;
                (on, Layer::Md(md))
            }
            Entry::Striped(striped) => {
                let (on, striped) = mapped::striped(striped, span, self.disk, ground, mistakes)?;
                (on, Layer::Striped(striped))
            }
            Entry::Linear(linear) => {
                let (on, linear) = mapped::linear(linear, span, ground, mistakes)?;
                (on, Layer::Linear(linear))
            }
            Entry::O2cb(o2cb) => {
                let o2cb = o2cb::o2cb(o2cb, mistakes)?;
                self.cluster = Some(o2cb.cluster.clone());
                (Vec::new(), Layer::O2cb(o2cb))
            }
            Entry::Ocfs2(ocfs2) => {
                let (on, ocfs2) = self.file_system(ocfs2, span, mistakes)?;
                (on, Layer::Ocfs2(ocfs2))
            }
        };
        self.tower.layers.push(Storey { on, layer });
        Some(())
    }

    fn file_system(
        &mut self,
        entry: &document::Ocfs2,
        span: &Span,
        mistakes: &mut Mistakes,
    ) -> Option<(Vec<NodeName>, plan::Ocfs2)> {
        let on = self.ground.holders();
        self.check_device(&on, span, mistakes);
        let device = self.ground.first_devices().first();
        let sized = self.ground.sure && self.ground.sized;
        let size = match self.ground.first_devices() {
            [device] if sized => Some(device.size()),
            _ => None,
        };
        let lowered = ocfs2::ocfs2(entry, size, device, self.cluster.as_ref(), mistakes);
        self.tower.slots = entry.slots.as_ref().map(|slots| slots.span.clone());
        self.tower.volume = size;
        self.tower.file_system = lowered.clone().map(|value| At {
            value,
            span: span.clone(),
        });
        Some((on, lowered?))
    }

    /// A file system is made on one device, the same on all nodes.
    fn check_device(&self, on: &[NodeName], span: &Span, mistakes: &mut Mistakes) {
        let ground = &self.ground;
        if !ground.sure || !ground.check_paths(LayerKind::Ocfs2, span, mistakes) {
            return;
        }
        let devices = ground.first_devices();
        if devices.len() > 1 {
            mistakes.note(
                Diagnostic::at(span, format!("`ocfs2` on {} disks", devices.len()))
                    .label("needs one device below")
                    .help(r#"join them with a layer `striped = { name = "san" }` or `linear = { name = "san" }`"#),
            );
        } else {
            ground.check_same(LayerKind::Ocfs2, on, span, mistakes);
        }
    }
}
