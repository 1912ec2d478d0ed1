//! The layers of a plan put together: as a stack, with the disks that steps let fail below them; and what guests read beforehand.

pub(crate) mod faulty_disks;
pub(crate) mod stack;
pub(crate) mod warm;

use sanlab_plan::{Plan, each_layer};

use crate::compose::faulty_disks::FaultyDisks;
use crate::compose::stack::{Placed, Stack};
use crate::layers::describe::{Describe, Watched};
use crate::nodes::topology::Topology;

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
