//! Linux software RAID over the devices below, on each node for itself.

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
    /// Linux software RAID by mdadm, over the devices below, on each node for itself.
    Written, "`md`", r#"{ name = "md0", level = 1 }"# {
        /// Name under `/dev/md`.
        name: VolumeName, required r#""md0""#;
        /// 0 (striped) or 1 (mirrored).
        level: u8, required "1";
        /// Bytes on one device before the next one's turn, for level 0: a power of two from 4KiB. Default: 64KiB.
        chunk: ByteSize, optional;
    }
}

/// `mdadm --create` over the devices below, on each node for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Md {
    /// Name under `/dev/md`.
    pub name: VolumeName,
    /// Which RAID.
    pub level: RaidLevel,
    /// Bytes on one device before the next one's turn, for level 0.
    pub chunk: ByteSize,
    /// What it stands on.
    pub below: Vec<Device>,
    /// What it makes of that.
    pub device: Device,
}

impl Md {
    /// Where the data begins on each device, in sectors of 512 bytes, behind the superblock: 1 MiB, mdadm's own choice for
    /// metadata 1.2 on small disks, and said to it, so that sizes can be computed.
    pub const DATA_OFFSET: u64 = 2048;
}

/// Levels of software RAID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RaidLevel {
    /// Striped: level 0.
    Striped,
    /// Mirrored: level 1.
    Mirrored,
}

impl Planned for Md {
    fn parameters(&self) -> Vec<(&'static str, String)> {
        let level = match self.level {
            RaidLevel::Striped => 0_u8,
            RaidLevel::Mirrored => 1,
        };
        let mut all = vec![("name", show(&self.name)), ("level", show(&level))];
        if self.level == RaidLevel::Striped {
            all.push(("chunk", show(&self.chunk)));
        }
        all
    }

    fn provided(&self, on: &[NodeName]) -> Vec<Provided> {
        over_all(on, &self.below, &self.device, KernelName::Numbered("md"))
    }
}

impl LayerTable for Written {
    type Planned = Md;
    const PROPERTIES: &'static [Property] =
        &[Property::OnDevices, Property::Joins, Property::NeedsDevice];

    fn lower(
        &self,
        span: &Span,
        building: &mut Building<'_>,
        mistakes: &mut Mistakes,
    ) -> Option<(Vec<NodeName>, Md)> {
        let device_map = &mut building.device_map;
        let chunk = self.chunk.as_ref();
        if let Some(chunk) = chunk {
            check_chunk(chunk, mistakes);
        }
        let level = self.level.as_ref()?;
        let raid = match (level.value, chunk) {
            (0, _) => RaidLevel::Striped,
            (1, None) => RaidLevel::Mirrored,
            (1, Some(chunk)) => {
                mistakes.note(
                    Diagnostic::at(&chunk.span, "a chunk for mirrored devices")
                        .label("nothing is cut into chunks")
                        .also(&level.span, "mirrors")
                        .help("drop `chunk`, or give `level = 0`"),
                );
                return None;
            }
            (other, _) => {
                mistakes.note(
                    Diagnostic::at(&level.span, format!("impossible level: {other}"))
                        .label("not offered")
                        .help("give 0 (striped) or 1 (mirrored)"),
                );
                return None;
            }
        };
        let count = device_map.first_devices().len();
        if device_map.sure && count == 1 {
            let (kind, place) = device_map.top.as_ref()?;
            mistakes.note(
                Diagnostic::at(span, "`md` of one device")
                    .label("needs two at least")
                    .also(place, format!("`{kind}` offers one"))
                    .help("drop this layer, or give the node another disk below"),
            );
        }
        let name = self.name.as_ref();
        let chunk = chunk.map_or(ByteSize::from_bytes(64 << 10), |chunk| chunk.value);
        let (on, below, device) = device_map.join((LayerKind::Md, span), mistakes, |below| {
            Some(Device {
                path: format!("/dev/md/{}", name?.value),
                sectors: array_sectors(raid, chunk, below),
                uid: None,
                // From outside one cannot see on which copy a byte was read or written.
                blocks: BlockMap::Unknown(blocks_of(below)),
            })
        })?;
        let md = Md {
            name: name?.value.clone(),
            level: raid,
            chunk,
            below,
            device,
        };
        Some((on, md))
    }
}

/// Behind the superblock of each device mdadm takes whole chunks of what is left there (RAID 0), or as much as the
/// shortest has, in whole KiB (RAID 1).
fn array_sectors(level: RaidLevel, chunk: ByteSize, below: &[Device]) -> u64 {
    let each = below
        .iter()
        .map(|device| device.sectors.saturating_sub(Md::DATA_OFFSET));
    match level {
        RaidLevel::Striped => {
            let chunk = sectors_of(chunk);
            each.map(|sectors| sectors / chunk * chunk).sum()
        }
        RaidLevel::Mirrored => each.min().unwrap_or(0) / 2 * 2,
    }
}

#[cfg(test)]
mod tests {
    use super::{Device, array_sectors};
    use crate::plan::{BlockMap, RaidLevel};
    use crate::values::names::NodeName;
    use crate::values::units::ByteSize;

    fn disk(sectors: u64) -> Device {
        Device {
            path: "/dev/gnbd/one".to_owned(),
            sectors,
            uid: None,
            blocks: BlockMap::Disk(NodeName::parse("one").unwrap()),
        }
    }

    #[test]
    fn an_array_is_as_long_as_mdadm_makes_it() {
        let disks = [disk(131_072), disk(131_073)];
        let sectors = |level, chunk: u64| array_sectors(level, ByteSize::from_bytes(chunk), &disks);
        assert_eq!(sectors(RaidLevel::Mirrored, 64 << 10), 129_024);
        assert_eq!(sectors(RaidLevel::Striped, 64 << 10), 2 * 129_024);
        // 129024 sectors are 31 chunks of 2 MiB and a half.
        assert_eq!(sectors(RaidLevel::Striped, 2 << 20), 2 * 31 * 4096);
        assert_eq!(
            array_sectors(
                RaidLevel::Mirrored,
                ByteSize::from_bytes(4096),
                &[disk(100)]
            ),
            0
        );
    }
}
