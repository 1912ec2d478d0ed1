//! Nodes that end and come back.

use super::{Must, Topology};
use crate::diagnostic::{Diagnostic, Mistakes, Span};
use crate::document::read::At;
use crate::plan::{Joins, LayerKind};
use crate::values::names::NodeName;

/// A node that is down.
#[derive(Debug)]
pub(super) struct Down {
    pub(super) node: NodeName,
    /// The step that did it.
    pub(super) span: Span,
    /// It comes back with the volume mounted, as it was.
    mounted: bool,
}

impl Topology<'_> {
    /// A node ends; whether it could.
    pub(crate) fn crash(
        &mut self,
        name: &At<NodeName>,
        step: &Span,
        mistakes: &mut Mistakes,
    ) -> bool {
        if self.node_set.find(name, mistakes).is_none()
            || !self.check(name, Must::BeThere, mistakes)
        {
            return false;
        }
        let node = &name.value;
        for background in &self.writing {
            if !background.journal && background.on.contains(node) {
                let diagnostic = background.in_the_way(step, "the `dd` there would fail");
                mistakes.note(diagnostic.help(
                    "write with `write`, whose acknowledged blocks count even then, or wait for the `dd` first",
                ));
            }
        }
        self.down.push(Down {
            node: node.clone(),
            span: step.clone(),
            mounted: self.mounted.contains(node),
        });
        self.there.retain(|other| other != node);
        self.mounted.retain(|other| other != node);
        self.crash.get_or_insert_with(|| step.clone());
        true
    }

    /// A crashed node comes back, mounted if it was; whether it could.
    pub(crate) fn restart(
        &mut self,
        name: &At<NodeName>,
        step: &Span,
        mistakes: &mut Mistakes,
    ) -> bool {
        let Some(node) = self.node_set.find(name, mistakes) else {
            return false;
        };
        if self.resolved_stack.has(&node.name, LayerKind::Nbd) && node.joins == Joins::AtStart {
            mistakes.note(
                Diagnostic::at(&name.span, format!("`{}` exports a disk by `nbd`", node.name))
                    .label("the others would not import it again")
                    .help("build the stack on `gnbd`, whose clients come back to their servers, or drop this step"),
            );
            return false;
        }
        if let Some(at) = self.down.iter().position(|down| down.node == name.value) {
            let down = self.down.remove(at);
            self.insert(down.node.clone());
            if down.mounted {
                self.mount(&[down.node], step, mistakes);
            }
            return true;
        }
        // A node whose server was stopped may have been fenced for that: then it is down.
        let right = self.stopped.contains(&name.value);
        if right {
            self.crash.get_or_insert_with(|| step.clone());
        } else if self.sure {
            mistakes.note(
                Diagnostic::at(
                    &name.span,
                    format!("`{}` has not crashed at this step", name.value),
                )
                .label("nothing has ended it")
                .help(format!(
                    "put a step `crash = {{ node = \"{}\" }}` before it",
                    name.value
                )),
            );
        }
        right || !self.sure
    }

    /// Processes are stopped.
    pub(crate) fn stop(&mut self, on: &[NodeName]) {
        self.stopped.extend(on.iter().cloned());
    }
}
