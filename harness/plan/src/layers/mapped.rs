//! `striped`, `linear`, `md` and `multipath` lowered: devices made of those below, on each node for itself.

use super::{Limits, check_chunk};
use crate::diagnostic::{Diagnostic, Mistakes, Span};
use crate::document;
use crate::ground::{Device, Ground};
use crate::names::NodeName;
use crate::plan::{LayerKind, Linear, Md, Multipath, RaidLevel, Striped};
use crate::read::At;
use crate::units::ByteSize;

/// `disk`: of each NBD server below, if such stand below: they are taken as they are, not rounded down.
pub(crate) fn striped(
    layer: &document::Striped,
    disk: Option<&At<ByteSize>>,
    mistakes: &mut Mistakes,
) -> Option<Striped> {
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
    Some(Striped {
        name: layer.name.clone()?.value,
        chunk: chunk.value,
    })
}

pub(crate) fn linear(layer: &document::Linear) -> Option<Linear> {
    Some(Linear {
        name: layer.name.clone()?.value,
    })
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
    let smallest = ground
        .first_devices()
        .iter()
        .map(|device| device.size)
        .min();
    let on = ground.join(LayerKind::Md, span, mistakes);
    if raid == RaidLevel::Mirrored {
        ground.transform((LayerKind::Md, span), |devices| {
            let halved = |device: &Device| Device {
                size: smallest.flatten(),
                ..device.clone()
            };
            devices.iter().map(halved).collect()
        });
    }
    let md = Md {
        name: layer.name.clone()?.value,
        level: raid,
        chunk: chunk.map_or(ByteSize::from_bytes(64 << 10), |chunk| chunk.value),
    };
    Some((on, md))
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
    ground.transform((LayerKind::Multipath, span), |paths| {
        let mut maps: Vec<Device> = Vec::new();
        for path in paths {
            if !maps.iter().any(|map| map.uid == path.uid) {
                maps.push(path.clone());
            }
        }
        maps
    });
    let multipath = Multipath {
        selector: layer.selector.as_ref()?.value,
        grouping: layer.grouping.as_ref()?.value,
        no_path: layer.no_path.as_ref()?.value,
        polling: layer.polling.as_ref()?.value,
    };
    Some((on, multipath))
}
