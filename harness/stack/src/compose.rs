//! A plan's layers as descriptions, and what steps ask of particular ones.

use sanlab_plan::{Layer as Planned, Plan, Storey};

use crate::drbd::Resource;
use crate::gnbd::Imports;
use crate::layer::Layer;
use crate::linear::linear;
use crate::membership::Cluster;
use crate::multipath::Maps;
use crate::o2cb::Service;
use crate::stack::{Placed, Stack, Watched};
use crate::striped::striped;
use crate::topology::Topology;
use crate::volume::Volume;

/// Puts the layers of `plan` on one another.
pub fn compose(plan: &Plan) -> Stack {
    let mut stack = Stack {
        topology: Topology::of(plan),
        at_start: plan.at_start().map(|node| node.name.clone()).collect(),
        storeys: Vec::new(),
        volume: None,
        devices: plan.devices.clone(),
        watched: Watched::default(),
    };
    for storey in &plan.layers {
        stack.watch(storey);
        stack.storeys.push(Placed {
            on: storey.on.clone(),
            layer: describe(storey, plan),
        });
    }
    stack
}

fn describe(storey: &Storey, plan: &Plan) -> Box<dyn Layer> {
    match &storey.layer {
        Planned::Nbd(nbd) => Box::new(nbd.clone()),
        Planned::Membership(membership) => Box::new(Cluster::new(membership, storey)),
        Planned::Drbd(drbd) => Box::new(Resource::new(drbd, storey)),
        Planned::Gnbd(gnbd) => Box::new(Imports::new(gnbd, plan)),
        Planned::Multipath(multipath) => Box::new(Maps::new(multipath, plan)),
        Planned::Md(md) => Box::new(md.clone()),
        Planned::Striped(plan) => Box::new(striped(plan)),
        Planned::Linear(plan) => Box::new(linear(plan)),
        Planned::O2cb(o2cb) => Box::new(Service {
            plan: o2cb.clone(),
            on: storey.on.clone(),
        }),
        Planned::Ocfs2(ocfs2) => Box::new(ocfs2.clone()),
    }
}

impl Stack {
    /// What `mount`, `wait_for` and `verify` ask for.
    fn watch(&mut self, storey: &Storey) {
        match &storey.layer {
            Planned::Membership(membership) => {
                let cluster = Cluster::new(membership, storey);
                self.watched.clusters.push(cluster);
            }
            Planned::Drbd(drbd) => self.watched.resources.push(Resource::new(drbd, storey)),
            Planned::Ocfs2(ocfs2) => {
                self.watched.blocks = Some(ocfs2.device.blocks.clone());
                self.volume = Some(Volume {
                    device: ocfs2.device.path.clone(),
                    at: ocfs2.at.clone(),
                    cluster: ocfs2.cluster.clone(),
                    on: storey.on.clone(),
                    mounted_from_start: ocfs2.mount,
                });
            }
            _ => {}
        }
    }
}
