//! `nbd` lowered.

use super::{PAGE, check_disk, check_port, impossible};
use crate::diagnostic::{Mistakes, Span};
use crate::document;
use crate::ground::{Device, Ground};
use crate::names::NodeName;
use crate::plan::{Joins, LayerKind, Nbd};
use crate::read::At;

/// The layer, and its nodes: all.
pub(crate) fn nbd(
    layer: &document::Nbd,
    span: &Span,
    ground: &mut Ground<'_>,
    mistakes: &mut Mistakes,
) -> Option<(Vec<NodeName>, Nbd)> {
    let (disk, port) = (layer.disk.as_ref(), layer.port.as_ref());
    if let Some(block) = &layer.block_size {
        let bytes = block.bytes();
        if !bytes.is_power_of_two() || !(512..=PAGE).contains(&bytes) {
            mistakes.note(impossible(block, "block size").help("give 512B, 1KiB, 2KiB or 4KiB"));
        }
    }
    let size = check_disk(disk, mistakes);
    check_port(port, mistakes);
    let mut devices = Vec::new();
    let exporters = ground.roster.nodes.iter();
    for node in exporters.filter(|node| node.joins == Joins::AtStart) {
        let name = At {
            value: node.name.clone(),
            span: span.clone(),
        };
        ground.take_disk(&name, LayerKind::Nbd, mistakes);
        devices.push(Device::new(size, ground.new_disk()));
    }
    let on = ground.all();
    let offers: Vec<_> = on
        .iter()
        .map(|name| (name.clone(), devices.clone()))
        .collect();
    ground.replace((LayerKind::Nbd, span), offers);
    let nbd = Nbd {
        disk: disk?.value,
        port: port?.value,
        server: layer.server.as_ref()?.value,
        block_size: layer.block_size.as_ref()?.value,
        filters: Vec::new(),
        options: Vec::new(),
    };
    Some((on, nbd))
}
