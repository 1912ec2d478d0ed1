//! `nbd` lowered.

use super::{PAGE, check_disk, check_port, impossible};
use crate::diagnostic::{Diagnostic, Mistakes, Span};
use crate::document;
use crate::ground::Ground;
use crate::names::NodeName;
use crate::plan::{BlockMap, Device, Joins, LayerKind, Nbd, NbdServer};
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
    check_disk(disk, ground, mistakes);
    check_port(port, mistakes);
    check_filters(layer, mistakes);
    let mut devices = Vec::new();
    let exporters = ground.roster.nodes.iter();
    let exporters = exporters.filter(|node| node.joins == Joins::AtStart);
    for (number, node) in exporters.enumerate() {
        let name = At {
            value: node.name.clone(),
            span: span.clone(),
        };
        ground.take_disk(&name, LayerKind::Nbd, mistakes);
        devices.push(Device {
            path: format!("/dev/nbd{number}"),
            sectors: disk.map_or(0, |disk| disk.bytes() / 512),
            uid: None,
            blocks: BlockMap::Disk(node.name.clone()),
        });
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
        filters: words(layer.filters.as_ref())?,
        options: words(layer.options.as_ref())?,
        devices,
    };
    Some((on, nbd))
}

/// What nbdkit is told beside its file; the words stand in a command line as they are.
fn check_filters(layer: &document::Nbd, mistakes: &mut Mistakes) {
    let empty = Vec::new();
    let filters = layer.filters.as_ref().map_or(&empty, |list| &list.value);
    let options = layer.options.as_ref().map_or(&empty, |list| &list.value);
    if let Some(server) = &layer.server
        && server.value == NbdServer::NbdServer
        && let Some(first) = filters.first().or(options.first())
    {
        mistakes.note(
            Diagnostic::at(&first.span, "filters and options of `nbd-server`")
                .label("only nbdkit has them")
                .also(&server.span, "the server")
                .help(r#"drop them, or give `server = "nbdkit"`"#),
        );
    }
    for filter in filters.iter().filter(|filter| !is_key(filter)) {
        mistakes.note(
            Diagnostic::at(
                &filter.span,
                format!("`{}` is not a filter's name", filter.value),
            )
            .label("lower-case letters, digits and hyphens")
            .help("write the name alone, such as `delay`; its values go into `options`"),
        );
    }
    for option in options.iter().filter(|option| !is_option(option)) {
        mistakes.note(
            Diagnostic::at(
                &option.span,
                format!("`{}` is not an option of nbdkit", option.value),
            )
            .label("expected KEY=VALUE, without spaces and quotes")
            .help("write it as on nbdkit's command line, such as `delay-write=2ms`"),
        );
    }
}

fn is_key(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

fn is_option(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.,:/%+@=".contains(c);
    text.split_once('=')
        .is_some_and(|(key, value)| is_key(key) && !value.is_empty() && value.chars().all(plain))
}

fn words(list: Option<&At<Vec<At<String>>>>) -> Option<Vec<String>> {
    Some(list?.iter().map(|word| word.value.clone()).collect())
}
