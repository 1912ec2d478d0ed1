//! `add_node`: a node that joins later boots, and every layer comes up there.

use std::time::Duration;

use super::{PlannedStep, StepTable, Walk};
use crate::diagnostic::Span;
use crate::document::table::table;
use crate::values::names::{NodeName, StepLabel};

table! {
    /// Boots a node that joins later, brings up all layers there and makes it known to the others.
    Written, "`add_node`", r#"{ node = "vc" }"# {
        /// Which.
        node: NodeName, required r#""vc""#;
        /// Whether it mounts the volume as well. Default: whether there is one.
        mount: bool, optional;
    }
}

/// Hot addition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddNode {
    /// A node that joins later.
    pub node: NodeName,
    /// Whether it mounts the volume as well.
    pub mount: bool,
}

impl StepTable for Written {
    type Planned = AddNode;

    fn lower(&self, span: &Span, _label: &StepLabel, walk: &mut Walk<'_>) -> Option<AddNode> {
        let Some(name) = &self.node else {
            walk.topology.lose_track();
            return None;
        };
        if !walk.topology.join(name, walk.mistakes) {
            walk.topology.lose_track();
            return None;
        }
        let resolved_stack = walk.topology.resolved_stack;
        let mount = match &self.mount {
            Some(mount) => mount.value,
            None => resolved_stack.has_volume(&name.value),
        };
        if mount {
            walk.require_volume("mount", span)?;
            if !walk
                .topology
                .check_volume(&name.value, &name.span, walk.mistakes)
            {
                return None;
            }
            walk.topology
                .mount(std::slice::from_ref(&name.value), span, walk.mistakes);
        }
        Some(AddNode {
            node: name.value.clone(),
            mount,
        })
    }
}

impl PlannedStep for AddNode {
    fn deadline(&self, _walk: &Walk<'_>) -> Duration {
        Duration::from_secs(240)
    }

    fn describe(&self) -> String {
        let mount = if self.mount { ", mount" } else { "" };
        format!("boot {}, bring it into the cluster{mount}", self.node)
    }
}
