//! Files that steps have written, and those whose every block is accounted for.

use super::{Background, Topology};
use crate::diagnostic::{Diagnostic, Mistakes, Span};
use crate::document::read::At;
use crate::values::names::NodeName;

/// A file that a step has written.
#[derive(Debug)]
pub(super) struct Written {
    path: String,
    span: Span,
    journal: bool,
}

impl Topology<'_> {
    /// Notes files that are written; that of a `write` by no other step.
    pub(crate) fn write(
        &mut self,
        of: &At<String>,
        on: &[NodeName],
        journal: bool,
        mistakes: &mut Mistakes,
    ) {
        for node in on {
            let path = of.replace("{node}", node.as_str());
            let clash = self
                .written
                .iter()
                .find(|other| other.path == path && (other.journal || journal));
            if let Some(other) = clash.filter(|other| other.span != of.span) {
                mistakes.note(
                    Diagnostic::at(&of.span, format!("`{path}` was written already"))
                        .label("what was acknowledged would be overwritten")
                        .also(&other.span, "the first time")
                        .help("give each `write` files of its own"),
                );
                return;
            }
            self.written.push(Written {
                path,
                span: of.span.clone(),
                journal,
            });
        }
    }

    /// Whether a `write` came before: something to verify.
    pub(crate) fn has_journals(&self) -> bool {
        !self.sure || self.written.iter().any(|written| written.journal)
    }

    /// One `write` at a time on a node, and nothing that is measured meanwhile; `why` says which.
    pub(crate) fn check_idle(
        &self,
        on: &[NodeName],
        step: &Span,
        why: &str,
        mistakes: &mut Mistakes,
    ) {
        let busy = |background: &&Background| {
            background.journal && background.on.iter().any(|name| on.contains(name))
        };
        for background in self.writing.iter().filter(busy) {
            mistakes.note(background.in_the_way(step, why));
        }
    }

    /// What a `write` has acknowledged is complete when it has ended.
    pub(crate) fn check_journals(&self, step: &Span, mistakes: &mut Mistakes) {
        for background in self.writing.iter().filter(|background| background.journal) {
            mistakes.note(background.in_the_way(step, "not everything is acknowledged yet"));
        }
    }
}
