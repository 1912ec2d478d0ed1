//! Disks that are attached to several nodes at once: nothing of the guests' lies below them.

use super::{
    Building, LayerKind, LayerTable, Planned, Property, Provided, check_disk, over_all, plain,
    show, sorted,
};
use crate::diagnostic::{Diagnostic, Mistakes, Span};
use crate::document::table::table;
use crate::document::value::Nodes;
use crate::plan::{BlockMap, Device};
use crate::values::names::NodeName;
use crate::values::units::ByteSize;

/// QEMU has room for more; nobody has asked for them.
const MOST: u8 = 8;

table! {
    /// Disks that are attached to several nodes at once, as a storage network has them; no network of the nodes is below.
    Written, "`shared_disk`", r#"{ size = "1GiB" }"# {
        /// Size of each, 1MiB to 1TiB.
        size: ByteSize, required r#""1GiB""#;
        /// How many, 1 to 8.
        count: u8, default 1;
        /// The nodes that they are attached to. Default: every node, those that join later too.
        on: Nodes, optional;
    }
}

/// Disks that are attached to several nodes at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedDisk {
    /// Size of each.
    pub size: ByteSize,
    /// The same on every node, in the order of their numbers.
    pub devices: Vec<Device>,
}

impl SharedDisk {
    /// The serial number by which a guest finds the disk of that number.
    pub fn serial(number: usize) -> String {
        format!("shared{number}")
    }
}

impl Planned for SharedDisk {
    fn parameters(&self) -> Vec<(&'static str, String)> {
        vec![
            ("size", show(&self.size)),
            ("count", self.devices.len().to_string()),
        ]
    }

    fn provided(&self, on: &[NodeName]) -> Vec<Provided> {
        let devices = self.devices.iter();
        devices
            .flat_map(|device| over_all(on, &[], device))
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
        let count = self.count.as_ref()?;
        if !(1..=MOST).contains(&count.value) {
            mistakes.note(
                Diagnostic::at(
                    &count.span,
                    format!("impossible number of disks: {}", count.value),
                )
                .label("out of range")
                .help(format!("give 1 to {MOST}")),
            );
            return None;
        }
        let node_set = device_map.node_set;
        let on = match &self.on {
            Some(list) => plain(&sorted(node_set, node_set.expand(list, mistakes)?)),
            None => device_map.all(),
        };
        let size = self.size.as_ref()?;
        let device = |number: u8| Device {
            path: format!("/dev/{}", SharedDisk::serial(number.into())),
            sectors: size.bytes() / 512,
            uid: None,
            blocks: BlockMap::Shared(number),
        };
        let devices: Vec<Device> = (0..count.value).map(device).collect();
        let offers = on.iter().map(|node| (node.clone(), devices.clone()));
        device_map.add((LayerKind::SharedDisk, span), offers);
        let size = size.value;
        Some((on, SharedDisk { size, devices }))
    }
}
