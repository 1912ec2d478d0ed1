//! `checkpoint` on a step: each name once, and at a moment when nothing is under way.

use crate::diagnostic::{Diagnostic, Mistakes, Span};
use crate::document::read::At;
use crate::document::{Action, StepEntry};
use crate::steps::topology::Topology;
use crate::values::names::{CheckpointName, StepLabel};

/// The checkpoints of the steps so far.
#[derive(Debug)]
pub(crate) struct Checkpoints<'a> {
    /// Where the scenario says that nothing of it is kept.
    fresh: Option<&'a At<bool>>,
    /// The first step that measures.
    measured: Option<&'a Span>,
    /// The first step that expects something.
    expected: Option<&'a Span>,
    given: Vec<&'a At<CheckpointName>>,
}

impl<'a> Checkpoints<'a> {
    pub(crate) fn new(fresh: Option<&'a At<bool>>) -> Self {
        Self {
            fresh: fresh.filter(|fresh| fresh.value),
            measured: None,
            expected: None,
            given: Vec::new(),
        }
    }

    /// Looks at a step that has been lowered. `apart`: its label, if it goes on in the background.
    pub(crate) fn check(
        &mut self,
        entry: &'a StepEntry,
        apart: Option<&StepLabel>,
        topology: &Topology<'_>,
        mistakes: &mut Mistakes,
    ) {
        if let Some(action) = &entry.action
            && matches!(action.value, Action::Throughput(_) | Action::Dip(_))
        {
            self.measured.get_or_insert(&action.span);
        }
        if let Some(expected) = &entry.expect {
            self.expected.get_or_insert(&expected.span);
        }
        let Some(name) = &entry.checkpoint else {
            return;
        };
        if let Some(first) = self.given.iter().find(|other| other.value == name.value) {
            mistakes.note(
                Diagnostic::at(
                    &name.span,
                    format!("two checkpoints named `{}`", name.value),
                )
                .label("the same name")
                .also(&first.span, "the first one")
                .help("give each checkpoint a name of its own"),
            );
        }
        self.given.push(name);
        if let Some(fresh) = self.fresh {
            mistakes.note(
                Diagnostic::at(&name.span, "a checkpoint in a fresh scenario")
                    .label("no run would ever fork it")
                    .also(&fresh.span, "builds from nothing and keeps nothing")
                    .help("drop the checkpoint, or `fresh = true`"),
            );
        }
        if let Some(measured) = self.measured {
            mistakes.note(
                Diagnostic::at(&name.span, "a checkpoint after something that is measured")
                    .label("a run that is forked from it would have no figures")
                    .also(measured, "measured here")
                    .help("give the checkpoint to a step before that, or drop it"),
            );
        }
        if let Some(expected) = self.expected {
            mistakes.note(
                Diagnostic::at(&name.span, "a checkpoint after an expectation")
                    .label("a run that is forked from it would not know what came true")
                    .also(expected, "expected from here on")
                    .help("give the checkpoint to a step before that, or drop it"),
            );
        }
        if let Some(label) = apart {
            mistakes.note(
                Diagnostic::at(&name.span, "a checkpoint of a step in the background")
                    .label("the step goes on meanwhile")
                    .help(format!(
                        "give the checkpoint to the step `wait = {{ step = \"{label}\" }}`"
                    )),
            );
            return;
        }
        topology.check_still(&name.span, mistakes);
    }
}
