//! Nodes that end and come back.

use super::{Must, Topology};
use crate::diagnostic::{Diagnostic, Mistakes, Span};
use crate::document::read::At;
use crate::values::names::NodeName;

/// Who is there, who is down and who has the volume mounted.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) there: Vec<NodeName>,
    down: Vec<Down>,
    mounted: Vec<NodeName>,
}

/// A node that is down.
#[derive(Debug, Clone)]
pub(super) struct Down {
    pub(super) node: NodeName,
    /// The step that did it.
    pub(super) span: Span,
    /// It comes back with the volume mounted, as it was.
    pub(super) mounted: bool,
    /// It left for good.
    pub(super) removed: bool,
}

impl Topology<'_> {
    pub(crate) fn state(&self) -> State {
        State {
            there: self.there.clone(),
            down: self.down.clone(),
            mounted: self.mounted.clone(),
        }
    }

    /// A step fails, as it is expected to: it counts as not done.
    pub(crate) fn put_back(&mut self, state: &State) {
        self.there.clone_from(&state.there);
        self.down.clone_from(&state.down);
        self.mounted.clone_from(&state.mounted);
    }

    /// A node is ended by a step; whether it could.
    pub(crate) fn crash(
        &mut self,
        name: &At<NodeName>,
        step: &Span,
        mistakes: &mut Mistakes,
    ) -> bool {
        let ended = self.end(name, step, mistakes);
        if ended {
            self.crash.get_or_insert_with(|| step.clone());
        }
        ended
    }

    /// A node ends itself, as the step expects that names it; whether it could.
    pub(crate) fn fence(&mut self, name: &At<NodeName>, mistakes: &mut Mistakes) -> bool {
        self.end(name, &name.span, mistakes)
    }

    fn end(&mut self, name: &At<NodeName>, step: &Span, mistakes: &mut Mistakes) -> bool {
        if self.node_set.find(name, mistakes).is_none()
            || !self.check(name, Must::BeThere, mistakes)
        {
            return false;
        }
        let node = &name.value;
        for background in &self.writing {
            let spared = background.journal || background.fails;
            if !spared && background.on.contains(node) {
                let diagnostic = background.in_the_way(step, "the `dd` there would fail");
                mistakes.note(diagnostic.help(
                    "write with `write`, whose acknowledged blocks count even then, wait for the `dd` first, or expect that it `fails`",
                ));
            }
        }
        self.open_faults.powered_off(node);
        self.down.push(Down {
            node: node.clone(),
            span: step.clone(),
            mounted: self.mounted.contains(node),
            removed: false,
        });
        self.there.retain(|other| other != node);
        self.mounted.retain(|other| other != node);
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
        if self.resolved_stack.serves_nbd(&node.name)
            && let Some(holder) = self.resolved_stack.holder_of_nbd()
        {
            mistakes.note(
                Diagnostic::at(&name.span, format!("`{}` exports a disk by `nbd`", node.name))
                    .label(format!("the others' devices would stay dead below `{holder}`"))
                    .help("give the `nbd` layer `persist = true`, with which its clients connect again, or drop this step: without it the kernel fails all requests of a device whose server was lost, until nothing has it open"),
            );
            return false;
        }
        if let Some(down) = self.find_down(name).filter(|down| down.removed) {
            mistakes.note(
                Diagnostic::at(&name.span, format!("`{}` has been removed", node.name))
                    .label("it does not come back")
                    .also(&down.span, "removes it")
                    .help("use `crash` in place of `remove_node`, or drop this step"),
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
        // Then it is down.
        let right = self.maybe_fenced.contains(&name.value);
        if right {
            self.open_faults.powered_off(&name.value);
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
        self.maybe_fenced.extend(on.iter().cloned());
    }

    /// Others do not hear of these nodes, and may have their power cut if there is something that does so.
    pub(crate) fn silence(&mut self, nodes: &[NodeName]) {
        let mut layers = self.resolved_stack.layers.iter();
        if layers.any(|placed| placed.layer.fences()) {
            self.stop(nodes);
        }
    }
}
