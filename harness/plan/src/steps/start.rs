//! `start`: a layer's daemons again where they were stopped.

use std::time::Duration;

use super::{FaultRole, PlannedStep, StepTable, Walk, names};
use crate::diagnostic::suggest::quoted;
use crate::diagnostic::{Diagnostic, Span};
use crate::document::table::table;
use crate::document::value::Nodes;
use crate::layers::{LayerKind, Property};
use crate::steps::topology::Must;
use crate::values::names::{NodeName, StepLabel};

table! {
    /// Starts a layer's daemons again where they were stopped.
    Written, "`start`", r#"{ on = "storage0a", layer = "gnbd" }"# {
        /// Where.
        on: Nodes, required r#""storage0a""#;
        /// Which layer's: `nbd`, `membership`, `gnbd`, `iscsi` or `multipath`.
        layer: LayerKind, required r#""gnbd""#;
    }
}

/// A layer's daemons started again where they were stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// Where; never empty.
    pub on: Vec<NodeName>,
    /// Which layer's.
    pub layer: LayerKind,
}

impl StepTable for Written {
    type Planned = Start;

    fn lower(&self, span: &Span, _label: &StepLabel, walk: &mut Walk<'_>) -> Option<Start> {
        let (list, layer) = (self.on.as_ref()?, self.layer.as_ref()?);
        let on = walk
            .topology
            .choose(Some(list), Must::BeThere, span, walk.mistakes)?;
        let (kind, resolved_stack) = (layer.value, walk.topology.resolved_stack);
        if !kind.is_startable() {
            let startable: Vec<&str> = LayerKind::with(Property::Daemons)
                .map(LayerKind::as_str)
                .collect();
            let words = quoted(&startable);
            walk.mistakes.note(
                Diagnostic::at(&layer.span, format!("`{kind}` has no daemons to start"))
                    .label("not these")
                    .help(format!("the layers with daemons of their own are {words}")),
            );
            return None;
        }
        let Some(without) = on.iter().find(|node| !resolved_stack.has(node, kind)) else {
            let right = kind != LayerKind::Nbd || check_nbd(&on, &layer.span, walk);
            return right.then_some(Start { on, layer: kind });
        };
        if resolved_stack.whole {
            let diagnostic = match resolved_stack.placed(kind) {
                None => Diagnostic::at(&layer.span, format!("no layer `{kind}` in this scenario"))
                    .label("nothing to start")
                    .help(format!(
                        "add a `[[layer]]` with `{kind}`, or drop this step"
                    )),
                Some(placed) => Diagnostic::at(&list.span, format!("`{without}` has no `{kind}`"))
                    .label("nothing to start there")
                    .help(format!("`{kind}` is on {}", quoted(&placed.on))),
            };
            walk.mistakes.note(diagnostic);
        }
        None
    }
}

/// Whether the servers on these nodes can start again, and their devices be imported anew.
fn check_nbd(on: &[NodeName], layer: &Span, walk: &mut Walk<'_>) -> bool {
    let resolved_stack = walk.topology.resolved_stack;
    if let Some(later) = on.iter().find(|node| !resolved_stack.serves_nbd(node)) {
        walk.mistakes.note(
            Diagnostic::at(layer, format!("`{later}` has no server of `nbd`"))
                .label("nothing to start there")
                .help("name a server: without `on`, the layer has one on each node that is there from the start"),
        );
        return false;
    }
    if let Some(holder) = resolved_stack.holder_of_nbd() {
        walk.mistakes.note(
            Diagnostic::at(layer, format!("`nbd` cannot be started again below `{holder}`"))
                .label("its devices are in use")
                .help(format!(
                    "give the `nbd` layer `persist = true`, or drop this step, or the layers from `{holder}` on: without it a device gets a new connection only while nothing has it open"
                )),
        );
        return false;
    }
    true
}

impl PlannedStep for Start {
    fn deadline(&self, walk: &Walk<'_>) -> Duration {
        let slow = walk.topology.resolved_stack.slow_start();
        let slow = slow.filter(|_| self.layer == LayerKind::Nbd);
        slow.unwrap_or(Duration::from_secs(120))
    }

    fn fault_role(&self) -> FaultRole {
        FaultRole::Mends
    }

    fn describe(&self) -> String {
        format!("start {} again on {}", self.layer, names(&self.on))
    }
}
