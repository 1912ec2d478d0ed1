//! A plan's layers as descriptions, and what steps ask of particular ones.

use sanlab_plan::{Plan, Storey, each_layer};

use crate::layer::Layer;
use crate::stack::{Placed, Stack, Watched};
use crate::topology::Topology;

/// A layer of a plan that can be described.
pub(crate) trait Describe {
    /// As it stands on `storey`'s nodes in `plan`. What steps ask of it later is left in `watched`.
    fn describe(&self, storey: &Storey, plan: &Plan, watched: &mut Watched) -> Box<dyn Layer>;
}

/// Describes the layers of `plan`.
pub fn compose(plan: &Plan) -> Stack {
    let mut watched = Watched::default();
    let storeys = plan.layers.iter().map(|storey| Placed {
        on: storey.on.clone(),
        layer: each_layer!(&storey.layer, layer => layer.describe(storey, plan, &mut watched)),
    });
    Stack {
        topology: Topology::of(plan),
        at_start: plan.at_start().map(|node| node.name.clone()).collect(),
        storeys: storeys.collect(),
        devices: plan.devices.clone(),
        watched,
    }
}
