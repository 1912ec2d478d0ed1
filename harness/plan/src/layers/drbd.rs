//! DRBD: a disk of which two nodes hold a copy each.

use std::time::Duration;

use super::membership::at_start;
use super::{
    Building, KernelName, LayerKind, LayerTable, Limits, Planned, Property, Provided, check_disk,
    network_parameter, show, sorted,
};
use crate::devices::device_map::DeviceMap;
use crate::diagnostic::{Diagnostic, Mistakes, Span};
use crate::document::read::{At, values};
use crate::document::table::table;
use crate::document::value::Nodes;
use crate::document::word::words;
use crate::plan::{BlockMap, DISK, Device};
use crate::values::names::{NetworkName, NodeName, ResourceName};
use crate::values::units::ByteSize;

/// The limits of `ping-timeout`, which counts tenths of seconds.
const PING_TIMEOUT: Limits = Limits {
    least: Duration::from_millis(100),
    most: Duration::from_secs(30),
    step: Duration::from_millis(100),
};

table! {
    /// A disk of which two nodes hold a copy each.
    Written, "`drbd`", r#"{ resource = "r0", on = ["storage0a", "storage0b"], disk = "256MiB" }"# {
        /// Its name in DRBD's configuration; the first of the layers is `/dev/drbd0`.
        resource: ResourceName, required r#""r0""#;
        /// The two nodes.
        on: Nodes, required r#"["storage0a", "storage0b"]"#;
        /// Size of each node's disk, 1MiB to 1TiB; DRBD keeps its metadata at the end of it.
        disk: ByteSize, required r#""256MiB""#;
        /// Who may write: `both`, or the `first` alone, and then only that one offers a device.
        primaries: Primaries, default Primaries::Both;
        /// The first synchronisation: `skip` it, since new disks are alike, or a `full` one.
        sync: FirstSync, default FirstSync::Skip;
        /// Silence after which the peer is asked, 1s to 120s in whole seconds.
        ping_interval: Duration, default Duration::from_secs(3);
        /// How long it may take to answer, 100ms to 30s in steps of 100ms; then it is given up.
        ping_timeout: Duration, default Duration::from_secs(3);
        /// After a split brain, where no node is primary: whose writes are lost, in DRBD's words.
        after_sb_0pri: AfterSplit0, default AfterSplit0::DiscardZeroChanges;
        /// The same where one node is primary.
        after_sb_1pri: AfterSplit1, default AfterSplit1::DiscardSecondary;
        /// The same where both are.
        after_sb_2pri: AfterSplit2, default AfterSplit2::Disconnect;
        /// When the own disk fails: `detach` lets it go and uses the peer's, `pass_on` tells whoever uses the device.
        on_io_error: OnIoError, default OnIoError::Detach;
        /// What a primary does that has lost its peer, in DRBD's words. Its handler has the lab's power switch cut the peer's power.
        fencing: DrbdFencing, default DrbdFencing::DontCare;
        /// The network of the pair's connection.
        network: NetworkName, default NetworkName::main();
    }
}

/// A DRBD resource of the layer's two nodes, each with its own disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drbd {
    /// Its name in DRBD's configuration.
    pub resource: ResourceName,
    /// Number of its device, `/dev/drbd0`: the place among the DRBD layers of the scenario, from 0.
    pub minor: u8,
    /// Size of each node's disk; DRBD keeps its metadata at the end of it.
    pub disk: ByteSize,
    /// Who may write.
    pub primaries: Primaries,
    /// Whether the first synchronisation is done or, since new disks are alike, skipped.
    pub sync: FirstSync,
    /// `ping-int`: silence after which the peer is asked. Whole seconds.
    pub ping_interval: Duration,
    /// `ping-timeout`: then it is dead when it has not answered for so long. Tenths of seconds.
    pub ping_timeout: Duration,
    /// `after-sb-0pri`.
    pub after_sb_0pri: AfterSplit0,
    /// `after-sb-1pri`.
    pub after_sb_1pri: AfterSplit1,
    /// `after-sb-2pri`.
    pub after_sb_2pri: AfterSplit2,
    /// `on-io-error`.
    pub on_io_error: OnIoError,
    /// `fencing`.
    pub fencing: DrbdFencing,
    /// The network of the pair's connection.
    pub network: NetworkName,
    /// What both nodes make of their disks.
    pub device: Device,
}

words! {
    /// The nodes of a DRBD pair that are primary.
    pub Primaries, "choice of primaries", "choices of primaries", "a choice of primaries", r#""both""# {
        /// Both, as two paths to one disk need it.
        Both = "both",
        /// The first of the pair.
        First = "first",
    }
}

words! {
    /// DRBD's first synchronisation.
    pub FirstSync, "first synchronisation", "first synchronisations", "a first synchronisation", r#""skip""# {
        /// New disks are alike: nothing to do.
        Skip = "skip",
        /// Every block is copied from the first node to the second before the next layer.
        Full = "full",
    }
}

words! {
    /// What DRBD does after a split brain where no node is primary.
    pub AfterSplit0, "policy after a split brain", "policies after a split brain", "a policy after a split brain", r#""discard-zero-changes""# {
        /// Nothing: both go on alone.
        Disconnect = "disconnect",
        /// The node that became primary last loses its writes.
        DiscardYoungerPrimary = "discard-younger-primary",
        /// The node that was primary before loses its writes.
        DiscardOlderPrimary = "discard-older-primary",
        /// If one node wrote nothing, it takes what the other wrote; if both wrote, nothing.
        DiscardZeroChanges = "discard-zero-changes",
        /// The node that wrote less loses its writes.
        DiscardLeastChanges = "discard-least-changes",
    }
}

words! {
    /// What DRBD does after a split brain where one node is primary.
    pub AfterSplit1, "policy after a split brain", "policies after a split brain", "a policy after a split brain", r#""discard-secondary""# {
        /// Nothing: both go on alone.
        Disconnect = "disconnect",
        /// What `after_sb_0pri` says, if that discards the secondary's writes; else nothing.
        Consensus = "consensus",
        /// The secondary loses its writes.
        DiscardSecondary = "discard-secondary",
    }
}

words! {
    /// What DRBD does after a split brain where both nodes are primary.
    pub AfterSplit2, "policy after a split brain", "policies after a split brain", "a policy after a split brain", r#""disconnect""# {
        /// Nothing: both go on alone.
        Disconnect = "disconnect",
        /// What `after_sb_0pri` says, although whoever uses the loser's device sees other bytes from then on.
        ViolentlyAs0p = "violently-as0p",
    }
}

words! {
    /// What DRBD does when a node's own disk fails.
    pub OnIoError, "policy for I/O errors", "policies for I/O errors", "a policy for I/O errors", r#""detach""# {
        /// Lets the disk go, and uses the peer's.
        Detach = "detach",
        /// Tells whoever uses the device, on a primary.
        PassOn = "pass_on",
    }
}

words! {
    /// What DRBD does on a primary that has lost its peer.
    pub DrbdFencing, "fencing policy", "fencing policies", "a fencing policy", r#""resource-and-stonith""# {
        /// It goes on alone.
        DontCare = "dont-care",
        /// It goes on, and has the peer fenced.
        ResourceOnly = "resource-only",
        /// It has the peer fenced, and whoever uses the device waits until that is done.
        ResourceAndStonith = "resource-and-stonith",
    }
}

impl Planned for Drbd {
    fn fences(&self) -> bool {
        self.fencing != DrbdFencing::DontCare
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        let mut all = vec![
            ("resource", show(&self.resource)),
            ("disk", show(&self.disk)),
            ("primaries", show(&self.primaries)),
            ("sync", show(&self.sync)),
            ("ping_interval", show(&self.ping_interval)),
            ("ping_timeout", show(&self.ping_timeout)),
            ("after_sb_0pri", show(&self.after_sb_0pri)),
            ("after_sb_1pri", show(&self.after_sb_1pri)),
            ("after_sb_2pri", show(&self.after_sb_2pri)),
            ("on_io_error", show(&self.on_io_error)),
            ("fencing", show(&self.fencing)),
        ];
        all.extend(network_parameter(self.networks()));
        all
    }

    fn networks(&self) -> &[NetworkName] {
        std::slice::from_ref(&self.network)
    }

    fn disk(&self) -> Option<ByteSize> {
        Some(self.disk)
    }

    fn provided(&self, on: &[NodeName]) -> Vec<Provided> {
        // A secondary has its device too, although nothing opens it.
        let half = |node: &NodeName| Provided {
            node: node.clone(),
            path: self.device.path.clone(),
            kernel_name: KernelName::OfPath,
            over: on
                .iter()
                .map(|copy| (copy.clone(), DISK.to_owned()))
                .collect(),
            servers: on
                .iter()
                .filter(|peer| *peer != node)
                .map(|peer| (LayerKind::Drbd, peer.clone()))
                .collect(),
        };
        on.iter().map(half).collect()
    }
}

impl LayerTable for Written {
    type Planned = Drbd;
    const PROPERTIES: &'static [Property] = &[Property::Source, Property::Several];

    fn disk(&self) -> Option<&At<ByteSize>> {
        self.disk.as_ref()
    }

    fn networks(&self) -> Vec<&At<NetworkName>> {
        self.network.iter().collect()
    }

    fn lower(
        &self,
        span: &Span,
        building: &mut Building<'_>,
        mistakes: &mut Mistakes,
    ) -> Option<(Vec<NodeName>, Drbd)> {
        Limits::seconds(1, 120).check("ping_interval", self.ping_interval.as_ref(), mistakes);
        PING_TIMEOUT.check("ping_timeout", self.ping_timeout.as_ref(), mistakes);
        let minor = u8::try_from(building.resources.len()).ok()?;
        if let Some(resource) = &self.resource {
            if let Some(first) = building
                .resources
                .iter()
                .find(|other| other.value == resource.value)
            {
                mistakes.note(
                    Diagnostic::at(
                        &resource.span,
                        format!("two resources named `{}`", resource.value),
                    )
                    .label("the same name")
                    .also(&first.span, "the first one")
                    .help("give each resource a name of its own"),
                );
            }
            building.resources.push(resource.clone());
        }
        let device_map = &mut building.device_map;
        check_disk(self.disk.as_ref(), device_map, mistakes);
        let list = self.on.as_ref()?;
        let on = sorted(
            device_map.node_set,
            device_map.node_set.expand(list, mistakes)?,
        );
        if on.len() != 2 {
            let count = match on.len() {
                1 => "one node".to_owned(),
                count => format!("{count} nodes"),
            };
            mistakes.note(
                Diagnostic::at(&list.span, format!("a DRBD resource on {count}"))
                    .label("not a pair")
                    .help("name two nodes: each holds a copy; more disks are more `drbd` layers"),
            );
            return None;
        }
        for node in &on {
            device_map.take_disk(node, LayerKind::Drbd, mistakes);
            check_bottom(node, device_map, mistakes);
            if device_map.sure && !at_start(device_map.node_set, &node.value) {
                mistakes.note(
                    Diagnostic::at(&node.span, format!("`{}` joins later", node.value))
                        .label("a pair is there from the start")
                        .help(format!(
                            r#"drop `joins = "later"` of `{}`, or name another node"#,
                            node.value
                        )),
                );
            }
        }
        let primaries = self.primaries.as_ref()?.value;
        // The device of a secondary cannot be opened: it offers none.
        let offering = match primaries {
            Primaries::Both => &on[..],
            Primaries::First => &on[..1],
        };
        let disk = self.disk.as_ref().map_or(0, |disk| disk.bytes() / 512);
        let device = Device {
            path: format!("/dev/drbd{minor}"),
            sectors: without_metadata(disk),
            uid: Some(u32::from(minor)),
            blocks: BlockMap::Copies(values(&on).into_iter().map(BlockMap::Disk).collect()),
        };
        device_map.add(
            (LayerKind::Drbd, span),
            values(offering)
                .into_iter()
                .map(|name| (name, vec![device.clone()])),
        );
        let drbd = Drbd {
            resource: self.resource.clone()?.value,
            minor,
            disk: self.disk.as_ref()?.value,
            primaries,
            sync: self.sync.as_ref()?.value,
            ping_interval: self.ping_interval.as_ref()?.value,
            ping_timeout: self.ping_timeout.as_ref()?.value,
            after_sb_0pri: self.after_sb_0pri.as_ref()?.value,
            after_sb_1pri: self.after_sb_1pri.as_ref()?.value,
            after_sb_2pri: self.after_sb_2pri.as_ref()?.value,
            on_io_error: self.on_io_error.as_ref()?.value,
            fencing: self.fencing.as_ref()?.value,
            network: self.network.clone()?.value,
            device,
        };
        Some((values(&on), drbd))
    }
}

/// What DRBD 8.4 leaves of a disk of so many sectors: at its end lie the superblock (8 sectors), the activity log (64), and
/// the bitmap, of which each sector stands for 16 MiB, in whole 4 KiB.
fn without_metadata(disk: u64) -> u64 {
    let bitmap = disk.div_ceil(32768).next_multiple_of(8);
    (disk / 8 * 8).saturating_sub(bitmap + 64 + 8)
}

/// DRBD stands on the node's own disk.
fn check_bottom(node: &At<NodeName>, device_map: &DeviceMap<'_>, mistakes: &mut Mistakes) {
    let Some((kind, place)) = &device_map.top else {
        return;
    };
    if device_map.devices(&node.value).is_empty()
        || matches!(kind, LayerKind::Drbd | LayerKind::Nbd)
    {
        return; // nothing below, or a disk that was taken already: that is told
    }
    mistakes.note(
        Diagnostic::at(
            &node.span,
            format!("`drbd` on top of `{kind}` on `{}`", node.value),
        )
        .label("stands on the node's own disk")
        .also(place, "offers a device already")
        .help(format!("move the `drbd` layer before `{kind}`")),
    );
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_device_is_as_long_as_drbd_makes_it() {
        // Seen in guests: 256 MiB gave 524200 sectors.
        let mib = |mib: u64| super::without_metadata(mib << 11);
        assert_eq!(mib(256), 524_200);
        assert_eq!(mib(64), 131_072 - 80);
        // A bitmap of 64 sectors, one for each 16 MiB.
        assert_eq!(mib(1024), 2_097_152 - 64 - 72);
        assert_eq!(super::without_metadata(8), 0);
    }
}
