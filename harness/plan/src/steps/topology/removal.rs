//! Nodes that leave for good.

use super::faults::Down;
use super::{Must, Topology};
use crate::diagnostic::{Diagnostic, Mistakes, Span};
use crate::document::read::At;
use crate::values::names::NodeName;

impl Topology<'_> {
    /// A node leaves in order, and does not come back; whether it could.
    pub(crate) fn remove(
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
            if background.on.contains(node) {
                let diagnostic = background.in_the_way(step, "the writer there would fail");
                mistakes.note(diagnostic.help("wait for it first, or write on other nodes"));
            }
        }
        let rest: Vec<NodeName> = self
            .there
            .iter()
            .filter(|one| *one != node)
            .cloned()
            .collect();
        let lost = |other: &&NodeName| {
            let mut devices = self.resolved_stack.devices(other).iter();
            devices.any(|device| {
                device.blocks.is_held_by(&self.there) && !device.blocks.is_held_by(&rest)
            })
        };
        if let Some(other) = rest.iter().find(lost) {
            mistakes.note(
                Diagnostic::at(
                    &name.span,
                    format!("`{node}` has a disk that `{other}` needs"),
                )
                .label("cannot leave")
                .help(
                    "remove a node whose disk nobody else uses, or `crash` it to see what follows",
                ),
            );
            return false;
        }
        self.down.push(Down {
            node: node.clone(),
            span: step.clone(),
            mounted: false,
            removed: true,
        });
        self.there = rest;
        self.mounted.retain(|other| other != node);
        self.crash.get_or_insert_with(|| step.clone());
        true
    }
}
