//! `drbd` lowered.

use std::time::Duration;

use super::membership::at_start;
use super::{Limits, check_disk, plain, sorted};
use crate::diagnostic::{Diagnostic, Mistakes, Span};
use crate::document;
use crate::ground::Ground;
use crate::names::{NodeName, ResourceName};
use crate::plan::{BlockMap, Device, Drbd, LayerKind, Primaries};
use crate::read::At;

/// The limits of `ping-timeout`, which counts tenths of seconds.
const PING_TIMEOUT: Limits = Limits {
    least: Duration::from_millis(100),
    most: Duration::from_secs(30),
    step: Duration::from_millis(100),
};

/// The layer, and its two nodes. `before`: the resources of the layers below.
pub(crate) fn drbd<'d>(
    layer: &'d document::Drbd,
    span: &Span,
    before: &mut Vec<&'d At<ResourceName>>,
    ground: &mut Ground<'_>,
    mistakes: &mut Mistakes,
) -> Option<(Vec<NodeName>, Drbd)> {
    Limits::seconds(1, 120).check("ping_interval", layer.ping_interval.as_ref(), mistakes);
    PING_TIMEOUT.check("ping_timeout", layer.ping_timeout.as_ref(), mistakes);
    let minor = u8::try_from(before.len()).ok()?;
    if let Some(resource) = &layer.resource {
        if let Some(first) = before.iter().find(|other| other.value == resource.value) {
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
        before.push(resource);
    }
    check_disk(layer.disk.as_ref(), ground, mistakes);
    let list = layer.on.as_ref()?;
    let on = sorted(ground.roster, ground.roster.expand(list, mistakes)?);
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
        ground.take_disk(node, LayerKind::Drbd, mistakes);
        check_bottom(node, ground, mistakes);
        if ground.sure && !at_start(ground.roster, &node.value) {
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
    let primaries = layer.primaries.as_ref()?.value;
    // The device of a secondary cannot be opened: it offers none.
    let offering = match primaries {
        Primaries::Both => &on[..],
        Primaries::First => &on[..1],
    };
    let disk = layer.disk.as_ref().map_or(0, |disk| disk.bytes() / 512);
    let device = Device {
        path: format!("/dev/drbd{minor}"),
        sectors: without_metadata(disk),
        uid: Some(u32::from(minor)),
        blocks: BlockMap::Copies(plain(&on).into_iter().map(BlockMap::Disk).collect()),
    };
    ground.add(
        (LayerKind::Drbd, span),
        plain(offering)
            .into_iter()
            .map(|name| (name, vec![device.clone()])),
    );
    let drbd = Drbd {
        resource: layer.resource.clone()?.value,
        minor,
        disk: layer.disk.as_ref()?.value,
        primaries,
        sync: layer.sync.as_ref()?.value,
        ping_interval: layer.ping_interval.as_ref()?.value,
        ping_timeout: layer.ping_timeout.as_ref()?.value,
        device,
    };
    Some((plain(&on), drbd))
}

/// What DRBD 8.4 leaves of a disk of so many sectors: at its end lie the superblock (8 sectors), the activity log (64), and
/// the bitmap, of which each sector stands for 16 MiB, in whole 4 KiB.
fn without_metadata(disk: u64) -> u64 {
    let bitmap = disk.div_ceil(32768).next_multiple_of(8);
    (disk / 8 * 8).saturating_sub(bitmap + 64 + 8)
}

/// DRBD stands on the node's own disk.
fn check_bottom(node: &At<NodeName>, ground: &Ground<'_>, mistakes: &mut Mistakes) {
    let Some((kind, place)) = &ground.top else {
        return;
    };
    if ground.devices(&node.value).is_empty() || matches!(kind, LayerKind::Drbd | LayerKind::Nbd) {
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
