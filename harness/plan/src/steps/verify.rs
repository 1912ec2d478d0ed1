//! `verify`: every acknowledged block, read back.

use std::time::Duration;

use super::{PlannedStep, StepTable, Walk, names};
use crate::diagnostic::{Diagnostic, Span};
use crate::document::table::table;
use crate::document::value::Nodes;
use crate::plan::LayerKind;
use crate::steps::topology::Must;
use crate::values::names::{NodeName, StepLabel};

table! {
    /// Reads every acknowledged block of every `write` back, past the page caches.
    Written, "`verify`", "{}" {
        /// The readers. Default: every node that has the volume mounted.
        on: Nodes, optional;
        /// Whether the blocks are looked for on every copy of the disks below as well. Default: whether the lab knows
        /// where they are, that is, without `md` and `shared_disk`.
        replicas: bool, optional;
    }
}

/// Every block that was acknowledged, read back with `O_DIRECT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verify {
    /// Nodes that read the files; never empty.
    pub on: Vec<NodeName>,
    /// Whether the blocks are looked for on every copy of the disks below as well.
    pub replicas: bool,
}

impl StepTable for Written {
    type Planned = Verify;

    fn lower(&self, span: &Span, _label: &StepLabel, walk: &mut Walk<'_>) -> Option<Verify> {
        walk.require_volume("read from", span)?;
        walk.topology.check_journals(span, walk.mistakes);
        if !walk.topology.has_journals() {
            walk.mistakes.note(
                Diagnostic::at(span, "nothing to verify")
                    .label("no `write` step before it")
                    .help(r#"put a step `write = { of = "{node}.journal", bs = "64KiB", count = 500 }` before it"#),
            );
        }
        let volume = walk.topology.resolved_stack.file_system.as_ref();
        let mirrored = volume.is_some_and(|volume| !volume.device.blocks.is_known());
        if let Some(replicas) = self
            .replicas
            .as_ref()
            .filter(|replicas| replicas.value && mirrored)
        {
            let shared = walk.topology.resolved_stack.placed(LayerKind::SharedDisk);
            let (title, label) = match shared {
                None => (
                    "copies below `md` cannot be found",
                    "the lab does not know where `md` puts blocks",
                ),
                Some(_) => (
                    "copies below `shared_disk` cannot be found",
                    "no node has a disk below it",
                ),
            };
            walk.mistakes.note(
                Diagnostic::at(&replicas.span, title)
                    .label(label)
                    .help("drop `replicas`: the blocks are read through the file system then"),
            );
        }
        let on = walk
            .topology
            .choose(self.on.as_ref(), Must::HaveMounted, span, walk.mistakes)?;
        Some(Verify {
            on,
            replicas: self
                .replicas
                .as_ref()
                .map_or(!mirrored, |replicas| replicas.value),
        })
    }
}

impl PlannedStep for Verify {
    fn deadline(&self, _walk: &Walk<'_>) -> Duration {
        Duration::from_secs(300)
    }

    fn describe(&self) -> String {
        let replicas = if self.replicas {
            ", and from every copy below"
        } else {
            ""
        };
        format!(
            "read every acknowledged block back on {}{replicas}",
            names(&self.on)
        )
    }
}
