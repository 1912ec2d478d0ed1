//! `striped`, `linear`, `md` and `multipath` lowered: devices made of those below, on each node for itself.

use super::{Limits, check_chunk};
use crate::diagnostic::{Diagnostic, Mistakes, Span};
use crate::document;
use crate::ground::Ground;
use crate::names::NodeName;
use crate::plan::{
    BlockMap, Device, LayerKind, Linear, Md, Multipath, MultipathMap, RaidLevel, Striped,
};
use crate::read::At;
use crate::units::ByteSize;

/// The layer, and its nodes: those that have devices. `disk`: of each NBD server below, if such stand below: they are taken
/// as they are, not rounded down.
pub(crate) fn striped(
    layer: &document::Striped,
    span: &Span,
    disk: Option<&At<ByteSize>>,
    ground: &mut Ground<'_>,
    mistakes: &mut Mistakes,
) -> Option<(Vec<NodeName>, Striped)> {
    let (on, below) = ground.join(LayerKind::Striped, span, mistakes);
    let chunk = layer.chunk.as_ref()?;
    if check_chunk(chunk, mistakes)
        && let Some(disk) = disk
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
    let name = layer.name.clone()?.value;
    // As long as the shortest, cut to whole chunks.
    let unit = sectors_of(chunk.value);
    let shortest = below.iter().map(|device| device.sectors).min();
    let device = Device {
        path: format!("/dev/mapper/{name}"),
        sectors: shortest.unwrap_or(0) / unit * unit * below.len() as u64,
        uid: None,
        blocks: BlockMap::Striped {
            chunk: unit * 512,
            parts: blocks_of(&below),
        },
    };
    ground.joined(LayerKind::Striped, span, &device);
    let striped = Striped {
        name,
        chunk: chunk.value,
        below,
        device,
    };
    Some((on, striped))
}

/// The layer, and its nodes: those that have devices.
pub(crate) fn linear(
    layer: &document::Linear,
    span: &Span,
    ground: &mut Ground<'_>,
    mistakes: &mut Mistakes,
) -> Option<(Vec<NodeName>, Linear)> {
    let (on, below) = ground.join(LayerKind::Linear, span, mistakes);
    let name = layer.name.clone()?.value;
    let part = |device: &Device| (device.sectors * 512, device.blocks.clone());
    let device = Device {
        path: format!("/dev/mapper/{name}"),
        sectors: below.iter().map(|device| device.sectors).sum(),
        uid: None,
        blocks: BlockMap::Linear(below.iter().map(part).collect()),
    };
    ground.joined(LayerKind::Linear, span, &device);
    Some((
        on,
        Linear {
            name,
            below,
            device,
        },
    ))
}

/// Never 0.
fn sectors_of(size: ByteSize) -> u64 {
    (size.bytes() / 512).max(1)
}

fn blocks_of(devices: &[Device]) -> Vec<BlockMap> {
    devices.iter().map(|device| device.blocks.clone()).collect()
}

/// The layer, and its nodes: those that have devices.
pub(crate) fn md(
    layer: &document::Md,
    span: &Span,
    ground: &mut Ground<'_>,
    mistakes: &mut Mistakes,
) -> Option<(Vec<NodeName>, Md)> {
    let chunk = layer.chunk.as_ref();
    if let Some(chunk) = chunk {
        check_chunk(chunk, mistakes);
    }
    let level = layer.level.as_ref()?;
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
    let count = ground.first_devices().len();
    if ground.sure && count == 1 {
        let (kind, place) = ground.top.as_ref()?;
        mistakes.note(
            Diagnostic::at(span, "`md` of one device")
                .label("needs two at least")
                .also(place, format!("`{kind}` offers one"))
                .help("drop this layer, or give the node another disk below"),
        );
    }
    let (on, below) = ground.join(LayerKind::Md, span, mistakes);
    let name = layer.name.clone()?.value;
    let chunk = chunk.map_or(ByteSize::from_bytes(64 << 10), |chunk| chunk.value);
    let device = Device {
        path: format!("/dev/md/{name}"),
        sectors: array_sectors(raid, chunk, &below),
        uid: None,
        // Nobody can tell from outside on which copy a byte was read or written.
        blocks: BlockMap::Unknown(blocks_of(&below)),
    };
    ground.joined(LayerKind::Md, span, &device);
    let md = Md {
        name,
        level: raid,
        chunk,
        below,
        device,
    };
    Some((on, md))
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

/// The layer, and its nodes: those that import.
pub(crate) fn multipath(
    layer: &document::Multipath,
    span: &Span,
    ground: &mut Ground<'_>,
    mistakes: &mut Mistakes,
) -> Option<(Vec<NodeName>, Multipath)> {
    Limits::seconds(1, 60).check("polling", layer.polling.as_ref(), mistakes);
    if let Some((kind, place)) = ground
        .top
        .as_ref()
        .filter(|(kind, _)| *kind != LayerKind::Gnbd)
    {
        mistakes.note(
            Diagnostic::at(span, format!("`multipath` on top of `{kind}`"))
                .label("needs devices with a uid: those of `gnbd`")
                .also(
                    place,
                    "these have no uid to tell which are paths to the same disk",
                )
                .help("put `multipath` right above `gnbd`"),
        );
        return None;
    }
    let on = ground.holders();
    let mut maps: Vec<MultipathMap> = Vec::new();
    for path in ground.first_devices() {
        // A device of GNBD has one.
        let uid = path.uid.unwrap_or_default();
        match maps.iter_mut().find(|map| map.uid == uid) {
            Some(map) => map.paths.push(path.path.clone()),
            None => maps.push(MultipathMap {
                uid,
                device: Device {
                    path: format!("/dev/mapper/{uid}"),
                    uid: None,
                    ..path.clone()
                },
                paths: vec![path.path.clone()],
            }),
        }
    }
    let devices: Vec<Device> = maps.iter().map(|map| map.device.clone()).collect();
    ground.transform((LayerKind::Multipath, span), |paths| match paths {
        [] => Vec::new(),
        _ => devices.clone(),
    });
    let multipath = Multipath {
        selector: layer.selector.as_ref()?.value,
        grouping: layer.grouping.as_ref()?.value,
        no_path: layer.no_path.as_ref()?.value,
        polling: layer.polling.as_ref()?.value,
        maps,
    };
    Some((on, multipath))
}

#[cfg(test)]
mod tests {
    use super::{Device, array_sectors};
    use crate::names::NodeName;
    use crate::plan::{BlockMap, RaidLevel};
    use crate::units::ByteSize;

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
