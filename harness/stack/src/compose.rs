//! A plan's layers put on one another: who offers which devices to whom.

use std::collections::BTreeMap;

use sanlab_plan::{ClusterName, Export, Layer as Planned, NodeName, Plan, Primaries, Storey};

use crate::drbd::{self, Resource};
use crate::gnbd::{Imports, Source, node_of};
use crate::layer::Layer;
use crate::legs::{DISK, Place};
use crate::linear::linear;
use crate::mapping::{Device, Mapping};
use crate::md::Array;
use crate::membership::Cluster;
use crate::multipath::{Map, Maps};
use crate::o2cb::Service;
use crate::ocfs2::FileSystem;
use crate::stack::{Placed, Stack, Watched};
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
    /// A layer that needs one device has several.
    #[error(
        "compose the stack: `{layer}` needs one device and has {count} below: put `striped` or `linear` between"
    )]
    ManyBelow {
        /// The layer's kind.
        layer: &'static str,
        /// How many there are.
        count: usize,
    },
    /// A layer that looks the same everywhere, on nodes whose devices differ.
    #[error("compose the stack: the devices below `{layer}` on {one} are not those on {other}")]
    Unlike {
        /// The layer's kind.
        layer: &'static str,
        /// A node.
        one: NodeName,
        /// Another.
        other: NodeName,
    },
    /// multipath over what has no uid.
    #[error("compose the stack: `multipath` needs `gnbd` right below it")]
    NoUid,
    /// A file system of a cluster, without the cluster.
    #[error("compose the stack: `ocfs2` needs `o2cb` below it")]
    NoCluster,
}

/// Puts the layers of `plan` on one another. What the topmost layer of a node offers is what the next one stands on there:
/// nbd offers `/dev/nbd0` to `/dev/nbdN-1`, drbd `/dev/drbdN`, gnbd `/dev/gnbd/NAME` on its clients, multipath, striped and
/// linear `/dev/mapper/NAME`, md `/dev/md/NAME`; ocfs2 sits on the one device of the topmost of them.
pub fn compose(plan: &Plan) -> Result<Stack, StackError> {
    let mut site = Building {
        topology: Topology::of(plan),
        plan,
        devices: BTreeMap::new(),
        exports: Vec::new(),
        cluster: None,
        volume: None,
        watched: Watched::default(),
    };
    let mut storeys = Vec::new();
    for storey in &plan.layers {
        storeys.push(Placed {
            on: storey.on.clone(),
            layer: site.put(storey)?,
        });
    }
    let at_start = plan.at_start().map(|node| node.name.clone()).collect();
    Ok(Stack {
        topology: site.topology,
        at_start,
        storeys,
        volume: site.volume,
        devices: site.devices,
        watched: site.watched,
    })
}

/// A stack that is being put together.
struct Building<'a> {
    plan: &'a Plan,
    topology: Topology,
    /// What the topmost layer offers on each node.
    devices: BTreeMap<NodeName, Vec<Device>>,
    /// The exports of the topmost layer, with their devices, if it is gnbd.
    exports: Vec<(Export, Device)>,
    cluster: Option<ClusterName>,
    volume: Option<Volume>,
    watched: Watched,
}

impl Building<'_> {
    fn put(&mut self, storey: &Storey) -> Result<Box<dyn Layer>, StackError> {
        let on = &storey.on;
        let kind = storey.layer.kind().as_str();
        let exports = match storey.layer {
            Planned::Membership(_) | Planned::O2cb(_) => Vec::new(),
            _ => std::mem::take(&mut self.exports),
        };
        Ok(match &storey.layer {
            Planned::Nbd(nbd) => {
                let exporters = self.topology.exporters().enumerate();
                let device = |(n, member): (usize, &crate::Member)| Device {
                    path: format!("/dev/nbd{n}"),
                    sectors: nbd.disk.bytes() / 512,
                    place: Some(Place::Disk(member.name.clone())),
                };
                let devices: Vec<Device> = exporters.map(device).collect();
                self.offer(on, &devices);
                Box::new(nbd.clone())
            }
            Planned::Membership(membership) => {
                let cluster = Cluster {
                    plan: membership.clone(),
                    on: on.clone(),
                };
                self.watched.clusters.push(cluster.clone());
                Box::new(cluster)
            }
            Planned::Drbd(plan) => {
                let resource = Resource {
                    plan: plan.clone(),
                    pair: on.clone(),
                };
                let device = Device {
                    path: resource.device(),
                    sectors: drbd::sectors(plan.disk),
                    place: Some(Place::copies(on.iter().cloned().map(Place::Disk))),
                };
                // A secondary's device cannot be opened.
                let primaries = match plan.primaries {
                    Primaries::Both => on.len(),
                    Primaries::First => 1,
                };
                self.offer(on.get(..primaries).unwrap_or(on), &[device]);
                self.watched.resources.push(resource.clone());
                Box::new(resource)
            }
            Planned::Gnbd(plan) => Box::new(self.gnbd(plan)?),
            Planned::Multipath(plan) => {
                let maps = maps(&exports)?;
                let device = |(map, place): &(Map, Option<Place>)| Device {
                    path: map.device(),
                    sectors: map.sectors,
                    place: place.clone(),
                };
                let devices: Vec<Device> = maps.iter().map(device).collect();
                self.offer(on, &devices);
                let timeout = self
                    .plan
                    .layers
                    .iter()
                    .find_map(|storey| match &storey.layer {
                        Planned::Gnbd(gnbd) => Some(gnbd.timeout),
                        _ => None,
                    });
                Box::new(Maps {
                    plan: plan.clone(),
                    timeout: timeout.unwrap_or_default(),
                    each: maps.into_iter().map(|(map, _)| map).collect(),
                })
            }
            Planned::Md(plan) => {
                let array = Array {
                    plan: plan.clone(),
                    below: self.below(on, kind)?,
                };
                self.offer(on, &[array.device()]);
                Box::new(array)
            }
            Planned::Striped(plan) => Box::new(self.map(on, striped(plan, &self.below(on, kind)?))),
            Planned::Linear(plan) => Box::new(self.map(on, linear(plan, &self.below(on, kind)?))),
            Planned::O2cb(plan) => {
                self.cluster = Some(plan.cluster.clone());
                Box::new(Service {
                    plan: plan.clone(),
                    on: on.clone(),
                })
            }
            Planned::Ocfs2(plan) => Box::new(self.ocfs2(plan, on)?),
        })
    }

    fn gnbd(&mut self, plan: &sanlab_plan::Gnbd) -> Result<Imports, StackError> {
        let mut found = Vec::new();
        for (server, export) in plan.servers.iter().zip(&plan.exports) {
            // Every node's disk is as large as the largest that a layer asks for.
            let own = plan.disk.and(self.plan.disk()).map(|disk| Device {
                path: DISK.to_owned(),
                sectors: disk.bytes() / 512,
                place: Some(Place::Disk(server.clone())),
            });
            let source = match own {
                Some(disk) => disk,
                None => one("gnbd", self.below(std::slice::from_ref(server), "gnbd")?)?,
            };
            found.push((export.clone(), source));
        }
        let sources = found.iter().map(|(_, source)| Source {
            device: source.path.clone(),
            sectors: source.sectors,
        });
        let sources = sources.collect();
        for (export, device) in &mut found {
            device.path = node_of(export);
        }
        let imported: Vec<Device> = found.iter().map(|(_, device)| device.clone()).collect();
        self.devices.clear(); // what servers export is no longer theirs to use
        self.offer(&plan.clients, &imported);
        self.exports = found;
        let layers = &self.plan.layers;
        let clustered = layers.iter().filter_map(|storey| match storey.layer {
            Planned::Membership(_) => Some(&storey.on),
            _ => None,
        });
        Ok(Imports {
            plan: plan.clone(),
            sources,
            clustered: clustered.flatten().cloned().collect(),
            multipath: layers
                .iter()
                .any(|storey| matches!(storey.layer, Planned::Multipath(_))),
        })
    }

    fn ocfs2(
        &mut self,
        plan: &sanlab_plan::Ocfs2,
        on: &[NodeName],
    ) -> Result<FileSystem, StackError> {
        let device = one("ocfs2", self.below(on, "ocfs2")?)?;
        let cluster = self.cluster.clone().ok_or(StackError::NoCluster)?;
        self.volume = Some(Volume {
            device: device.path.clone(),
            at: plan.at.clone(),
            cluster: cluster.clone(),
            on: on.to_vec(),
            mounted_from_start: plan.mount,
        });
        self.watched.place = device.place;
        Ok(FileSystem {
            plan: plan.clone(),
            cluster,
            device: device.path,
            sectors: device.sectors,
        })
    }

    fn map(&mut self, on: &[NodeName], mapping: Mapping) -> Mapping {
        self.offer(on, &[mapping.device()]);
        mapping
    }

    fn offer(&mut self, on: &[NodeName], devices: &[Device]) {
        for node in on {
            self.devices.insert(node.clone(), devices.to_vec());
        }
    }

    /// The devices that all of `on` have.
    fn below(&self, on: &[NodeName], layer: &'static str) -> Result<Vec<Device>, StackError> {
        let of = |node: &NodeName| {
            self.devices
                .get(node)
                .map(Vec::as_slice)
                .unwrap_or_default()
        };
        let Some((first, others)) = on.split_first() else {
            return Err(StackError::NothingBelow { layer });
        };
        let devices = of(first);
        if devices.is_empty() {
            return Err(StackError::NothingBelow { layer });
        }
        match others.iter().find(|node| of(node) != devices) {
            Some(other) => Err(StackError::Unlike {
                layer,
                one: first.clone(),
                other: other.clone(),
            }),
            None => Ok(devices.to_vec()),
        }
    }
}

fn one(layer: &'static str, devices: Vec<Device>) -> Result<Device, StackError> {
    let count = devices.len();
    let mut devices = devices.into_iter();
    match (devices.next(), count) {
        (Some(device), 1) => Ok(device),
        _ => Err(StackError::ManyBelow { layer, count }),
    }
}

/// A map for each uid, in the order of the exports, and where its bytes are.
fn maps(exports: &[(Export, Device)]) -> Result<Vec<(Map, Option<Place>)>, StackError> {
    if exports.is_empty() {
        return Err(StackError::NoUid);
    }
    let mut uids: Vec<u32> = exports.iter().map(|(export, _)| export.uid).collect();
    uids.dedup();
    let map = |uid: u32| {
        let paths = exports.iter().filter(|(export, _)| export.uid == uid);
        let devices: Vec<&Device> = paths.map(|(_, device)| device).collect();
        let places: Option<Vec<Place>> =
            devices.iter().map(|device| device.place.clone()).collect();
        let map = Map {
            uid,
            sectors: devices
                .iter()
                .map(|device| device.sectors)
                .min()
                .unwrap_or(0),
            paths: devices.iter().map(|device| device.path.clone()).collect(),
        };
        (map, places.map(Place::copies))
    };
    let mut seen = Vec::new();
    uids.retain(|uid| {
        let new = !seen.contains(uid);
        seen.push(*uid);
        new
    });
    Ok(uids.into_iter().map(map).collect())
}
