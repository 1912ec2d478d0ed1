//! `write` and `verify`: what is written with a journal, and read back.

use super::Walk;
use crate::diagnostic::{Diagnostic, Span};
use crate::document;
use crate::names::StepLabel;
use crate::plan::{Verify, Write};
use crate::topology::{Background, Must};
use crate::writes;

impl Walk<'_> {
    pub(super) fn write(
        &mut self,
        entry: &document::Write,
        span: &Span,
        label: &StepLabel,
    ) -> Option<Write> {
        self.require_volume("write to", span)?;
        let Some(write) = writes::write(entry, span, &mut self.topology, self.mistakes) else {
            self.topology.lose_track();
            return None;
        };
        if write.background {
            self.topology.writing.push(Background {
                label: label.clone(),
                span: span.clone(),
                on: write.on.clone(),
                journal: true,
            });
        }
        Some(write)
    }

    pub(super) fn verify(&mut self, entry: &document::Verify, span: &Span) -> Option<Verify> {
        self.require_volume("read from", span)?;
        self.topology.check_journals(span, self.mistakes);
        if !self.topology.has_journals() {
            self.mistakes.note(
                Diagnostic::at(span, "nothing to verify")
                    .label("no step before has written with a journal")
                    .help(r#"put a step `write = { of = "{node}.journal", bs = "64KiB", count = 500 }` before it"#),
            );
        }
        let volume = self.topology.tower.file_system.as_ref();
        let mirrored = volume.is_some_and(|volume| !volume.device.blocks.is_known());
        if let Some(legs) = entry.legs.as_ref().filter(|legs| legs.value && mirrored) {
            self.mistakes.note(
                Diagnostic::at(&legs.span, "copies below `md` cannot be found")
                    .label("the lab does not know where `md` puts blocks")
                    .help("drop `legs`: the blocks are read through the file system then"),
            );
        }
        let on = self
            .topology
            .choose(entry.on.as_ref(), Must::HaveMounted, span, self.mistakes)?;
        Some(Verify {
            on,
            legs: entry.legs.as_ref().map_or(!mirrored, |legs| legs.value),
        })
    }
}
