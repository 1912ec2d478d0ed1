//! `start`: a layer's daemons again where they were stopped.

use std::time::Duration;

use super::{PlannedStep, StepTable, Walk, names};
use crate::diagnostic::{Diagnostic, Span};
use crate::layers::{LayerKind, Property};
use crate::names::{NodeName, StepLabel};
use crate::suggest::quoted;
use crate::table::table;
use crate::topology::Must;
use crate::value::Nodes;

table! {
    /// Starts a layer's daemons again where they were stopped.
    Written, "`start`", r#"{ on = "storage0a", layer = "gnbd" }"# {
        /// Where.
        on: Nodes, required r#""storage0a""#;
        /// Which layer's: `membership`, `gnbd` or `multipath`.
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
        let (kind, tower) = (layer.value, walk.topology.tower);
        if !kind.has(Property::Daemons) {
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
        let Some(without) = on.iter().find(|node| !tower.has(node, kind)) else {
            return Some(Start { on, layer: kind });
        };
        if tower.whole {
            let diagnostic = match tower.storey(kind) {
                None => Diagnostic::at(&layer.span, format!("no layer `{kind}` in this scenario"))
                    .label("nothing to start")
                    .help(format!(
                        "add a `[[layer]]` with `{kind}`, or drop this step"
                    )),
                Some(storey) => Diagnostic::at(&list.span, format!("`{without}` has no `{kind}`"))
                    .label("nothing to start there")
                    .help(format!("`{kind}` is on {}", quoted(&storey.on))),
            };
            walk.mistakes.note(diagnostic);
        }
        None
    }
}

impl PlannedStep for Start {
    fn deadline(&self, _walk: &Walk<'_>) -> Duration {
        Duration::from_secs(120)
    }

    fn describe(&self) -> String {
        format!("start {} again on {}", self.layer, names(&self.on))
    }
}
