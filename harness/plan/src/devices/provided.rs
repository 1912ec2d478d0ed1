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

/// How the kernel calls a device in its log, as far as that is known before the device is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KernelName {
    /// As its path does, without the folder: `drbd1`.
    OfPath,
    /// This, with a number that it gets when it is made: `dm-3`. The path is a link.
    Numbered(&'static str),
    /// This, with letters that it gets then: `sda`. The path is a link.
    Lettered(&'static str),
}

impl KernelName {
    /// Of every device of device-mapper.
    pub(crate) const MAPPER: Self = Self::Numbered("dm-");

    /// Whether the kernel may call the device of that path so.
    fn may_be(self, path: &str, kernel_device: &str) -> bool {
        let behind = |driver: &str, fits: fn(&char) -> bool| {
            let which = kernel_device.strip_prefix(driver);
            which.is_some_and(|which| !which.is_empty() && which.chars().all(|c| fits(&c)))
        };
        match self {
            Self::OfPath => path.strip_prefix("/dev/") == Some(kernel_device),
            Self::Numbered(driver) => behind(driver, char::is_ascii_digit),
            Self::Lettered(driver) => behind(driver, char::is_ascii_lowercase),
        }
    }
}

/// A device on one node, as the layer states it that makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Provided {
    pub(crate) node: NodeName,
    /// Under which it is found there.
    pub(crate) path: String,
    /// In the node's kernel log.
    pub(crate) kernel_name: KernelName,
    /// What it stands on: devices of layers below, and nodes' own disks.
    pub(crate) over: Vec<(NodeName, String)>,
    /// Whose programs or drivers answer its requests, and of which layer these are.
    pub(crate) servers: Vec<(LayerKind, NodeName)>,
}

impl Provided {
    /// Whether the node's kernel may call it so.
    fn may_be(&self, kernel_device: &str) -> bool {
        self.kernel_name.may_be(&self.path, kernel_device)
    }
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
        self.any_device(node, server, outage, |device| device.may_be(kernel_device))
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
        let own = [
            (DISK, KernelName::OfPath),
            (FAULTY_DISK, KernelName::MAPPER),
        ];
        let is_own = |name: &str| {
            own.iter()
                .any(|(path, kernel_name)| kernel_name.may_be(path, name))
        };
        node == owner && kernel_device.is_none_or(is_own)
            || self.any_on_disk(node, owner, |device| {
                kernel_device.is_none_or(|name| device.may_be(name))
            })
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::KernelName::{self, Lettered, Numbered, OfPath};

    #[test]
    fn a_device_is_called_as_its_layer_says() {
        let calls = |kernel_name: KernelName, path: &str, names: &[&str]| -> Vec<bool> {
            let all = names.iter();
            all.map(|name| kernel_name.may_be(path, name)).collect()
        };
        assert_eq!(
            calls(OfPath, "/dev/drbd1", &["drbd1", "drbd10", "drbd"]),
            [true, false, false]
        );
        assert_eq!(
            calls(
                Numbered("dm-"),
                "/dev/mapper/san",
                &["dm-0", "dm-12", "dm-", "dm-x", "san"]
            ),
            [true, true, false, false, false]
        );
        assert_eq!(
            calls(
                Lettered("sd"),
                "/dev/iscsi/vix0",
                &["sda", "sdab", "sd", "sda1", "vda"]
            ),
            [true, true, false, false, false]
        );
    }

    #[test]
    fn a_shared_disk_is_called_by_its_bus() {
        for (bus, expected) in [
            ("virtio-blk", Lettered("vd")),
            ("virtio-scsi", Lettered("sd")),
        ] {
            let text = format!(
                r#"
                name = "shared"
                nodes = {{ "vix[0-1]" = {{ arch = "x86" }} }}
                layer = [{{ shared_disk = {{ size = "64MiB", bus = "{bus}" }} }}]
                "#
            );
            let plan = crate::parse(Path::new("shared.toml"), &text).unwrap();
            let placed = &plan.layers[0];
            let provided = placed.layer.provided(&placed.on);
            let names: Vec<KernelName> = provided.iter().map(|it| it.kernel_name).collect();
            assert_eq!(names, [expected; 2]);
        }
    }
}
