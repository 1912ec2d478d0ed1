//! Disks that are attached to several nodes at once: nothing of the guests' lies below them.

use super::{
    Building, KernelName, LayerKind, LayerTable, Planned, Property, Provided, check_disk, over_all,
    show, sorted,
};
use crate::diagnostic::{Diagnostic, Mistakes, Span};
use crate::document::read::{At, values};
use crate::document::table::table;
use crate::document::value::Nodes;
use crate::document::word::words;
use crate::plan::{BlockMap, Device};
use crate::values::names::NodeName;
use crate::values::units::ByteSize;

/// QEMU has room for more; nobody has asked for them.
const MOST: u8 = 8;
/// A controller each.
const MOST_PATHS: u8 = 4;

table! {
    /// Disks that are attached to several nodes at once, as a storage network has them; no network of the nodes is below.
    Written, "`shared_disk`", r#"{ size = "1GiB" }"# {
        /// Size of each, 1MiB to 1TiB.
        size: ByteSize, required r#""1GiB""#;
        /// How many, 1 to 8.
        count: u8, default 1;
        /// What they are attached to: `virtio-blk` or `virtio-scsi`.
        bus: DiskBus, default DiskBus::VirtioBlk;
        /// Over how many SCSI controllers each node reaches each disk, 1 to 4; several need `multipath` above.
        paths: u8, default 1;
        /// The nodes that they are attached to. Default: every node, those that join later too.
        on: Nodes, optional;
    }
}

words! {
    /// What a guest finds a disk on.
    pub DiskBus, "disk bus", "disk buses", "a disk bus", r#""virtio-blk""# {
        /// A device of its own.
        VirtioBlk = "virtio-blk",
        /// A logical unit behind a SCSI controller.
        VirtioScsi = "virtio-scsi",
    }
}

/// Disks that are attached to several nodes at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedDisk {
    /// Size of each.
    pub size: ByteSize,
    /// How many.
    pub count: u8,
    /// What they are attached to.
    pub bus: DiskBus,
    /// How often a node has each of them.
    pub paths: u8,
    /// The same on every node: for each disk, in the order of their numbers, one device for each path.
    pub devices: Vec<Device>,
}

impl SharedDisk {
    /// The serial number of the disk of that number, and the name of its device where it has one path.
    pub fn serial(number: u8) -> String {
        format!("shared{number}")
    }

    /// The World Wide Name of that disk, of those that are assigned locally: behind SCSI all paths to it say this name.
    pub fn wwn(number: u8) -> u64 {
        0x3000_0000_0000_0000 + u64::from(number)
    }

    /// Each device with the numbers of its disk and of its path.
    pub fn by_path(&self) -> impl Iterator<Item = (&Device, u8, u8)> {
        let paths = self.paths;
        let numbers =
            (0..self.count).flat_map(move |disk| (0..paths).map(move |path| (disk, path)));
        let devices = self.devices.iter().zip(numbers);
        devices.map(|(device, (disk, path))| (device, disk, path))
    }
}

impl Planned for SharedDisk {
    fn parameters(&self) -> Vec<(&'static str, String)> {
        vec![
            ("size", show(&self.size)),
            ("count", self.count.to_string()),
            ("bus", show(&self.bus)),
            ("paths", self.paths.to_string()),
        ]
    }

    fn provided(&self, on: &[NodeName]) -> Vec<Provided> {
        let kernel_name = KernelName::Lettered(match self.bus {
            DiskBus::VirtioBlk => "vd",
            DiskBus::VirtioScsi => "sd",
        });
        let devices = self.devices.iter();
        devices
            .flat_map(|device| over_all(on, &[], device, kernel_name))
            .collect()
    }
}

impl LayerTable for Written {
    type Planned = SharedDisk;
    const PROPERTIES: &'static [Property] = &[Property::Source];

    fn lower(
        &self,
        span: &Span,
        building: &mut Building<'_>,
        mistakes: &mut Mistakes,
    ) -> Option<(Vec<NodeName>, SharedDisk)> {
        let device_map = &mut building.device_map;
        check_disk(self.size.as_ref(), device_map, mistakes);
        let (count, paths) = (self.count.as_ref(), self.paths.as_ref());
        let in_range = [("disks", count, MOST), ("paths", paths, MOST_PATHS)]
            .map(|(what, number, most)| check_number(what, number?, most, mistakes));
        let [count, paths] = in_range;
        let (count, paths, bus) = (count?, paths?, self.bus.as_ref()?.value);
        if paths.value > 1 && bus == DiskBus::VirtioBlk {
            mistakes.note(
                Diagnostic::at(&paths.span, "several paths to a disk of `virtio-blk`")
                    .label("only a disk behind SCSI controllers has them")
                    .help(r#"add `bus = "virtio-scsi"`"#),
            );
            return None;
        }
        let node_set = device_map.node_set;
        let on = match &self.on {
            Some(list) => values(&sorted(node_set, node_set.expand(list, mistakes)?)),
            None => device_map.all(),
        };
        let size = self.size.as_ref()?;
        let several = paths.value > 1;
        let device = |number: u8, path: u8| Device {
            path: match (SharedDisk::serial(number), several) {
                (name, false) => format!("/dev/{name}"),
                (name, true) => format!("/dev/{name}-path{path}"),
            },
            sectors: size.bytes() / 512,
            uid: several.then_some(number.into()),
            blocks: BlockMap::Shared(number),
        };
        let all_paths = |number| (0..paths.value).map(move |path| device(number, path));
        let devices: Vec<Device> = (0..count.value).flat_map(all_paths).collect();
        let offers = on.iter().map(|node| (node.clone(), devices.clone()));
        device_map.add((LayerKind::SharedDisk, span), offers);
        let shared_disk = SharedDisk {
            size: size.value,
            count: count.value,
            bus,
            paths: paths.value,
            devices,
        };
        Some((on, shared_disk))
    }
}

fn check_number<'a>(
    what: &str,
    number: &'a At<u8>,
    most: u8,
    mistakes: &mut Mistakes,
) -> Option<&'a At<u8>> {
    let is_possible = (1..=most).contains(&number.value);
    if !is_possible {
        mistakes.note(
            Diagnostic::at(
                &number.span,
                format!("impossible number of {what}: {}", number.value),
            )
            .label("out of range")
            .help(format!("give 1 to {most}")),
        );
    }
    is_possible.then_some(number)
}
