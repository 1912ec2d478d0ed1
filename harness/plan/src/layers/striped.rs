//! Device-mapper's stripes over the devices below.

use super::{
    Building, KernelName, LayerKind, LayerTable, Planned, Property, Provided, blocks_of,
    check_chunk, over_all, sectors_of, show,
};
use crate::diagnostic::{Diagnostic, Mistakes, Span};
use crate::document::table::table;
use crate::plan::{BlockMap, Device};
use crate::values::names::{NodeName, VolumeName};
use crate::values::units::ByteSize;

table! {
    /// A device-mapper stripe (RAID 0) over the devices below.
    Written, "`striped`", r#"{ name = "nbdsan" }"# {
        /// Name under `/dev/mapper`.
        name: VolumeName, required r#""nbdsan""#;
        /// Bytes on one disk before the next disk's turn: a power of two, at least 4KiB.
        chunk: ByteSize, default ByteSize::from_bytes(16 << 10);
    }
}

/// `dmsetup create` with the `striped` target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Striped {
    /// Name under `/dev/mapper`.
    pub name: VolumeName,
    /// Bytes on one device before the next one's turn; a power of two, at least 4 KiB.
    pub chunk: ByteSize,
    /// What it stands on.
    pub below: Vec<Device>,
    /// What it makes of that.
    pub device: Device,
}

impl Planned for Striped {
    fn parameters(&self) -> Vec<(&'static str, String)> {
        vec![("name", show(&self.name)), ("chunk", show(&self.chunk))]
    }

    fn provided(&self, on: &[NodeName]) -> Vec<Provided> {
        over_all(on, &self.below, &self.device, KernelName::MAPPER)
    }
}

impl LayerTable for Written {
    type Planned = Striped;
    const PROPERTIES: &'static [Property] =
        &[Property::OnDevices, Property::Joins, Property::NeedsDevice];

    fn lower(
        &self,
        span: &Span,
        building: &mut Building<'_>,
        mistakes: &mut Mistakes,
    ) -> Option<(Vec<NodeName>, Striped)> {
        let (name, chunk) = (self.name.as_ref(), self.chunk.as_ref());
        let layer = (LayerKind::Striped, span);
        let joined = building.device_map.join(layer, mistakes, |below| {
            // As long as the shortest, cut to whole chunks.
            let unit = sectors_of(chunk?.value);
            let shortest = below.iter().map(|device| device.sectors).min();
            Some(Device {
                path: format!("/dev/mapper/{}", name?.value),
                sectors: shortest.unwrap_or(0) / unit * unit * below.len() as u64,
                uid: None,
                blocks: BlockMap::Striped {
                    chunk: unit * 512,
                    parts: blocks_of(below),
                },
            })
        });
        let chunk = chunk?;
        if check_chunk(chunk, mistakes)
            && let Some(disk) = &building.nbd_disk
            && !disk.bytes().is_multiple_of(chunk.bytes())
        {
            let fitting = disk.bytes() / chunk.bytes() * chunk.bytes();
            let help = if fitting == 0 {
                "choose a smaller chunk or a larger disk".to_owned()
            } else {
                format!(
                    "choose a disk of whole chunks, such as `{}`",
                    ByteSize::from_bytes(fitting)
                )
            };
            mistakes.note(
                Diagnostic::at(
                    &disk.span,
                    format!(
                        "impossible disk: {} is not a multiple of the chunk",
                        disk.value
                    ),
                )
                .label("not whole chunks")
                .also(&chunk.span, format!("the chunk is {}", chunk.value))
                .help(help),
            );
        }
        let (on, below, device) = joined?;
        let striped = Striped {
            name: name?.value.clone(),
            chunk: chunk.value,
            below,
            device,
        };
        Some((on, striped))
    }
}
