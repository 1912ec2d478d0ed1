//! Which node's devices need which other node: every device that a layer gives a node, what it stands on, and who serves it.

use std::time::Duration;

use crate::plan::{DISK, FAULTY_DISK, LayerKind, PlacedLayer, Plan};
use crate::values::names::{NetworkName, NodeName};

/// What of a node fails, as far as other nodes need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outage {
    /// All of it.
    Whole,
    /// One layer.
    Layer(LayerKind),
    /// What it does on these networks: who has another way to it does not notice.
    Networks(Vec<NetworkName>),
}

/// A device on one node, as the layer states it that makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Provided {
    pub(crate) node: NodeName,
    /// Under which it is found there.
    pub(crate) path: String,
    /// What it stands on: devices of layers below, and nodes' own disks.
    pub(crate) over: Vec<(NodeName, String)>,
    /// Whose programs or drivers answer its requests, and of which layer these are.
    pub(crate) servers: Vec<(LayerKind, NodeName)>,
}

impl Plan {
    /// Whether a device of `node`, or something below it, is served by `server`: then it fails or waits while `server` is
    /// down. `outage` says what of it is: is it served by `server`'s `gnbd`, or on that network?
    ///
    /// `kernel_device` is the kernel's name for it: `nbd0`, `drbd1`, `dm-3`, `md127`, `sda`. Numbers of device-mapper, of md and of
    /// GNBD's imports, and letters of iSCSI's and shared disks, are not known beforehand: any such device of that node that needs `server` counts. A node's own disk
    /// needs nobody.
    pub fn needs(
        &self,
        node: &NodeName,
        kernel_device: &str,
        server: &NodeName,
        outage: &Outage,
    ) -> bool {
        self.any_device(node, server, outage, |device| {
            is_called(&device.path, kernel_device)
        })
    }

    /// Whether any device of `node` needs `server`: the same for an error that does not name its device.
    pub fn any_needs(&self, node: &NodeName, server: &NodeName, outage: &Outage) -> bool {
        self.any_device(node, server, outage, |_| true)
    }

    /// Whether the layer at that place, as it is on `node`, needs `server`: through one of its devices or, if it makes none,
    /// through any device of `node` or because `server` is a member of it too.
    pub fn layer_needs(
        &self,
        place: usize,
        node: &NodeName,
        server: &NodeName,
        outage: &Outage,
    ) -> bool {
        let Some(placed) = self.layers.get(place) else {
            return false;
        };
        let made = placed.layer.provided(&placed.on);
        if !made.is_empty() {
            return self.any_device(node, server, outage, |device| made.contains(device));
        }
        let (is_peer, used) = (placed.on.contains(server), placed.layer.networks());
        match outage {
            // Membership has to do with its peers alone.
            Outage::Networks(lost) if !used.is_empty() => is_peer && all_lost(used, lost),
            Outage::Networks(lost) => {
                is_peer && self.loses_cluster(node, lost) || self.any_needs(node, server, outage)
            }
            Outage::Whole | Outage::Layer(_) => is_peer || self.any_needs(node, server, outage),
        }
    }

    /// After how long a client that connects again misses a request which went with its old connection.
    pub fn requests_are_missed_after(&self) -> Duration {
        let layers = self.layers.iter();
        let after = layers.map(|placed| placed.layer.requests_are_missed_after());
        after.max().unwrap_or_default()
    }

    /// Whether a node is out of touch with a cluster of its own, of corosync or o2cb, when it has lost these networks.
    pub fn loses_cluster(&self, node: &NodeName, lost: &[NetworkName]) -> bool {
        let mut clusters = self.layers.iter().filter(|placed| {
            let kind = placed.layer.kind();
            matches!(kind, LayerKind::Membership | LayerKind::O2cb) && placed.on.contains(node)
        });
        clusters.any(|placed| all_lost(placed.layer.networks(), lost))
    }

    /// Whether a node's layer of that kind cannot be reached when these networks are lost.
    fn is_cut_off(&self, kind: LayerKind, node: &NodeName, lost: &[NetworkName]) -> bool {
        let mut placed_layers = self.layers.iter();
        placed_layers.any(|placed| {
            placed.layer.kind() == kind
                && placed.on.contains(node)
                && all_lost(placed.layer.networks(), lost)
        })
    }

    fn any_device(
        &self,
        node: &NodeName,
        server: &NodeName,
        outage: &Outage,
        which: impl Fn(&Provided) -> bool,
    ) -> bool {
        let provided = provided(&self.layers);
        let wanted = |(kind, name): &(LayerKind, NodeName)| {
            let fails = match outage {
                Outage::Whole => true,
                Outage::Layer(layer) => layer == kind,
                Outage::Networks(lost) => self.is_cut_off(*kind, name, lost),
            };
            name == server && fails
        };
        let mut candidates = provided.iter().enumerate();
        candidates.any(|(at, device)| {
            device.node == *node && which(device) && any_server(&provided, at, &wanted)
        })
    }

    /// Whether a device of `node`, as the kernel calls it, is `owner`'s own disk or lies on it; without a name, whether any device
    /// of `node` is so. A disk that steps let fail is a device of device-mapper: any such device of its node may be it.
    pub fn lies_on_disk(
        &self,
        node: &NodeName,
        kernel_device: Option<&str>,
        owner: &NodeName,
    ) -> bool {
        let is_it = |path: &str| kernel_device.is_none_or(|name| is_called(path, name));
        let own = node == owner && (is_it(DISK) || is_it(FAULTY_DISK));
        own || self.any_on_disk(node, owner, |device| is_it(&device.path))
    }

    /// Whether the layer at that place, as it is on `node`, lies on `owner`'s own disk: through one of its devices or, if it makes
    /// none, through any device of `node`. Membership and the lock manager have to do with no disk.
    pub fn layer_lies_on_disk(&self, place: usize, node: &NodeName, owner: &NodeName) -> bool {
        let Some(placed) = self.layers.get(place) else {
            return false;
        };
        let made = placed.layer.provided(&placed.on);
        match placed.layer.kind() {
            LayerKind::Membership | LayerKind::Dlm => false,
            _ if made.is_empty() => self.any_on_disk(node, owner, |_| true),
            _ => self.any_on_disk(node, owner, |device| made.contains(device)),
        }
    }

    fn any_on_disk(
        &self,
        node: &NodeName,
        owner: &NodeName,
        which: impl Fn(&Provided) -> bool,
    ) -> bool {
        let provided = provided(&self.layers);
        let mut candidates = provided.iter().enumerate();
        candidates.any(|(at, device)| {
            device.node == *node && which(device) && is_on_disk(&provided, at, owner)
        })
    }

    /// Whether devices of other nodes need what this one serves.
    pub fn serves(&self, node: &NodeName) -> bool {
        serves(&self.layers, node)
    }
}

/// Whether what talks on some networks has lost all of them. What talks on none loses nothing.
fn all_lost(used: &[NetworkName], lost: &[NetworkName]) -> bool {
    !used.is_empty() && used.iter().all(|name| lost.contains(name))
}

/// See [`Plan::serves`].
pub(crate) fn serves(layers: &[PlacedLayer], node: &NodeName) -> bool {
    let mut provided = provided(layers).into_iter();
    provided.any(|device| {
        let mut servers = device.servers.iter();
        device.node != *node && servers.any(|(_, server)| server == node)
    })
}

/// Those of lower layers first.
fn provided(layers: &[PlacedLayer]) -> Vec<Provided> {
    let of = |placed: &PlacedLayer| placed.layer.provided(&placed.on);
    layers.iter().flat_map(of).collect()
}

/// Whether one of the servers of a device, or of those below it, is such a one.
fn any_server(
    provided: &[Provided],
    at: usize,
    wanted: &impl Fn(&(LayerKind, NodeName)) -> bool,
) -> bool {
    let mut servers = provided[at].servers.iter();
    servers.any(wanted) || below(provided, at).any(|lower| any_server(provided, lower, wanted))
}

/// Whether a device, or one of those below it, is made of that node's own disk.
fn is_on_disk(provided: &[Provided], at: usize, owner: &NodeName) -> bool {
    let mut over = provided[at].over.iter();
    over.any(|(node, path)| node == owner && path == DISK)
        || below(provided, at).any(|lower| is_on_disk(provided, lower, owner))
}

/// The places of the devices right below one: only what lower layers make can be there.
fn below(provided: &[Provided], at: usize) -> impl Iterator<Item = usize> {
    let place = move |(node, path): &(NodeName, String)| {
        let mut lower = provided[..at].iter();
        lower.rposition(|below| below.node == *node && below.path == *path)
    };
    provided[at].over.iter().filter_map(place)
}

/// Whether the kernel may call the device of that path so.
fn is_called(path: &str, kernel_device: &str) -> bool {
    let name = path.strip_prefix("/dev/").unwrap_or(path);
    // Links, to devices whose numbers or letters are given when they are made.
    let links: [(&str, &[&str]); 5] = [
        ("mapper/", &["dm-"]),
        ("md/", &["md"]),
        ("gnbd/", &["nbd"]),
        ("iscsi/", &["sd"]),
        ("shared", &["vd", "sd"]),
    ];
    let Some((_, drivers)) = links.iter().find(|(folder, _)| name.starts_with(folder)) else {
        return name == kernel_device;
    };
    drivers.iter().any(|driver| {
        kernel_device.strip_prefix(driver).is_some_and(|which| {
            let fits = match *driver {
                "sd" | "vd" => |c: char| c.is_ascii_lowercase(),
                _ => |c: char| c.is_ascii_digit(),
            };
            !which.is_empty() && which.chars().all(fits)
        })
    })
}
