//! `[[layer]]` lowered: each layer's own limits.

use std::time::Duration;

use crate::diagnostic::{Diagnostic, Mistakes};
use crate::document;
use crate::plan::{Linear, Nbd, O2cb, Ocfs2, Striped};
use crate::read::At;
use crate::units::ByteSize;

const DISKS: (ByteSize, ByteSize) = (ByteSize::from_mib(1), ByteSize::from_mib(1 << 20));
const PAGE: u64 = 4096;
/// mkfs.ocfs2 refuses less.
const LEAST_JOURNAL: ByteSize = ByteSize::from_mib(4);

pub(crate) fn nbd(layer: &document::Nbd, mistakes: &mut Mistakes) -> Option<Nbd> {
    let (disk, port) = (layer.disk.as_ref(), layer.port.as_ref());
    if let Some(block) = &layer.block_size {
        let bytes = block.bytes();
        if !bytes.is_power_of_two() || !(512..=PAGE).contains(&bytes) {
            mistakes.note(impossible(block, "block size").help("give 512B, 1KiB, 2KiB or 4KiB"));
        }
    }
    if let Some(disk) = disk {
        let (least, most) = DISKS;
        if disk.value < least || disk.value > most {
            mistakes.note(impossible(disk, "disk").help(format!("give {least} to {most}")));
        } else if !disk.bytes().is_multiple_of(PAGE) {
            mistakes
                .note(impossible(disk, "disk").help("give a multiple of 4KiB, the guests' page"));
        }
    }
    check_port(port, mistakes);
    Some(Nbd {
        disk: disk?.value,
        port: port?.value,
        server: layer.server.as_ref()?.value,
        block_size: layer.block_size.as_ref()?.value,
    })
}

pub(crate) fn striped(
    layer: &document::Striped,
    disk: Option<&At<ByteSize>>,
    mistakes: &mut Mistakes,
) -> Option<Striped> {
    let chunk = layer.chunk.as_ref()?;
    if !chunk.bytes().is_power_of_two() || chunk.bytes() < PAGE {
        mistakes.note(
            impossible(chunk, "chunk").help("give a power of two, at least 4KiB, such as `16KiB`"),
        );
    } else if let Some(disk) = disk
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

pub(crate) fn o2cb(layer: &document::O2cb, mistakes: &mut Mistakes) -> Option<O2cb> {
    check_port(layer.port.as_ref(), mistakes);
    if let Some(threshold) = &layer.heartbeat_threshold
        && threshold.value < 2
    {
        mistakes.note(
            Diagnostic::at(
                &threshold.span,
                format!("impossible heartbeat threshold: {}", threshold.value),
            )
            .label("every node would be dead at once")
            .help("give at least 2; OCFS2's own default is 31, that is 60 s"),
        );
    }
    for (key, delay) in [
        ("idle_timeout", &layer.idle_timeout),
        ("keepalive_delay", &layer.keepalive_delay),
        ("reconnect_delay", &layer.reconnect_delay),
    ] {
        if let Some(delay) = delay
            && !(Duration::from_millis(1)..=Duration::from_secs(3600)).contains(&delay.value)
        {
            mistakes.note(
                Diagnostic::at(&delay.span, format!("impossible `{key}`"))
                    .label("out of range")
                    .help("give 1ms to 60m"),
            );
        }
    }
    let (idle, keepalive) = (
        layer.idle_timeout.as_ref()?,
        layer.keepalive_delay.as_ref()?,
    );
    if keepalive.value >= idle.value {
        mistakes.note(
            Diagnostic::at(
                &keepalive.span,
                "`keepalive_delay` is not below `idle_timeout`",
            )
            .label("connections would end before anybody asks")
            .also(&idle.span, "the idle timeout")
            .help("give a shorter `keepalive_delay`; the defaults are 2s and 30s"),
        );
    }
    Some(O2cb {
        cluster: layer.cluster.clone()?.value,
        port: layer.port.as_ref()?.value,
        heartbeat_threshold: layer.heartbeat_threshold.as_ref()?.value,
        idle_timeout: idle.value,
        keepalive_delay: keepalive.value,
        reconnect_delay: layer.reconnect_delay.as_ref()?.value,
    })
}

/// `volume`: the size of the device below, when it is known.
pub(crate) fn ocfs2(
    layer: &document::Ocfs2,
    volume: Option<ByteSize>,
    mistakes: &mut Mistakes,
) -> Option<Ocfs2> {
    if let Some(slots) = &layer.slots
        && slots.value == 0
    {
        mistakes.note(
            Diagnostic::at(&slots.span, "impossible number of slots: 0")
                .label("no node could mount")
                .help("give as many slots as nodes mount at the same time"),
        );
    }
    if let Some(journal) = &layer.journal {
        let all = journal.bytes().saturating_mul(
            layer
                .slots
                .as_ref()
                .map_or(1, |slots| u64::from(slots.value)),
        );
        if journal.value < LEAST_JOURNAL {
            mistakes.note(
                impossible(journal, "journal").help(format!("give at least {LEAST_JOURNAL}")),
            );
        } else if let Some(volume) = volume
            && all > volume.bytes() / 2
        {
            let slots = layer
                .slots
                .as_ref()
                .map_or(&journal.span, |slots| &slots.span);
            mistakes.note(
                Diagnostic::at(
                    slots,
                    format!(
                        "the journals do not fit: {} in all",
                        ByteSize::from_bytes(all)
                    ),
                )
                .label(format!("one journal of {} for each", journal.value))
                .help(format!(
                    "the volume has {volume}: give larger disks, smaller journals or fewer slots"
                )),
            );
        }
    }
    for feature in layer.features.iter().flat_map(|features| features.iter()) {
        let word = feature
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if !word {
            mistakes.note(
                Diagnostic::at(
                    &feature.span,
                    format!("`{}` is not a feature", feature.value),
                )
                .label("lower-case letters, digits and hyphens")
                .help(r#"write each as mkfs.ocfs2 spells it, such as `["xattr", "norefcount"]`"#),
            );
        }
    }
    Some(Ocfs2 {
        slots: layer.slots.as_ref()?.value,
        at: layer.at.clone()?.value,
        features: layer
            .features
            .as_ref()?
            .iter()
            .map(|feature| feature.value.clone())
            .collect(),
        journal: layer.journal.as_ref()?.value,
        mount: layer.mount.as_ref()?.value,
    })
}

fn impossible(size: &At<ByteSize>, what: &str) -> Diagnostic {
    Diagnostic::at(&size.span, format!("impossible {what}: {}", size.value))
        .label("impossible size")
}

fn check_port(port: Option<&At<u16>>, mistakes: &mut Mistakes) {
    if let Some(port) = port
        && port.value == 0
    {
        mistakes.note(
            Diagnostic::at(&port.span, "impossible port: 0")
                .label("not a port")
                .help("give a port from 1 to 65535"),
        );
    }
}

/// The size of that many equal disks together.
pub(crate) fn volume(disk: Option<&At<ByteSize>>, disks: usize) -> Option<ByteSize> {
    let disk = disk?.bytes();
    Some(ByteSize::from_bytes(
        disk.saturating_mul(u64::try_from(disks).ok()?),
    ))
}
