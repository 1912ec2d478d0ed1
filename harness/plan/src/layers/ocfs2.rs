//! `ocfs2` lowered.

use super::impossible;
use crate::diagnostic::{Diagnostic, Mistakes};
use crate::document;
use crate::names::ClusterName;
use crate::plan::{Device, Ocfs2};
use crate::units::ByteSize;

/// mkfs.ocfs2 refuses less.
const LEAST_JOURNAL: ByteSize = ByteSize::from_mib(4);

/// `volume`: its size, when it is known. `device` and `cluster` are those below.
pub(crate) fn ocfs2(
    layer: &document::Ocfs2,
    volume: Option<ByteSize>,
    device: Option<&Device>,
    cluster: Option<&ClusterName>,
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
        device: device?.clone(),
        cluster: cluster?.clone(),
    })
}
