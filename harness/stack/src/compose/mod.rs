//! A plan's layers as descriptions, and what steps ask of particular ones.

pub(crate) mod faulty_disks;
pub(crate) mod stack;
pub(crate) mod warm;

use sanlab_plan::{PlacedLayer, Plan, each_layer};

use crate::compose::faulty_disks::FaultyDisks;
use crate::compose::stack::{Placed, Stack, Watched};
use crate::description::layer::Layer;
use crate::nodes::topology::Topology;

/// A layer of a plan that can be described.
pub(crate) trait Describe {
    /// As it stands on `placed`'s nodes in `plan`. What steps ask of it later is left in `watched`.
    fn describe(&self, placed: &PlacedLayer, plan: &Plan, watched: &mut Watched) -> Box<dyn Layer>;
}

/// Describes the layers of `plan`.
pub fn compose(plan: &Plan) -> Stack {
    let mut watched = Watched::default();
    let placed_layers = plan.layers.iter().map(|placed| Placed {
        on: placed.on.clone(),
        layer: each_layer!(&placed.layer, layer => layer.describe(placed, plan, &mut watched)),
    });
    Stack {
        topology: Topology::of(plan),
        faulty_disks: FaultyDisks::of(plan),
        at_start: plan.at_start().map(|node| node.name.clone()).collect(),
        placed_layers: placed_layers.collect(),
        devices: plan.devices.clone(),
        watched,
    }
}
