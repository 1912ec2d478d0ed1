//! `remove_node`: a node leaves in order.

use std::time::Duration;

use super::{PlannedStep, StepTable, Walk};
use crate::diagnostic::Span;
use crate::document::table::table;
use crate::values::names::{NodeName, StepLabel};

table! {
    /// Unmounts the volume on a node, takes the layers down there, topmost first, and cuts its power. It does not come back.
    Written, "`remove_node`", r#"{ node = "vc" }"# {
        /// Which: one whose disk no other node needs.
        node: NodeName, required r#""vc""#;
    }
}

/// A node's orderly departure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoveNode {
    /// A node that is there.
    pub node: NodeName,
}

impl StepTable for Written {
    type Planned = RemoveNode;

    fn lower(&self, span: &Span, _label: &StepLabel, walk: &mut Walk<'_>) -> Option<RemoveNode> {
        let removed = self
            .node
            .as_ref()
            .filter(|node| walk.topology.remove(node, span, walk.mistakes));
        if removed.is_none() {
            walk.topology.lose_track();
        }
        Some(RemoveNode {
            node: removed?.value.clone(),
        })
    }
}

impl PlannedStep for RemoveNode {
    fn deadline(&self, _walk: &Walk<'_>) -> Duration {
        Duration::from_secs(120)
    }

    fn describe(&self) -> String {
        format!("take {} out of the cluster, and cut its power", self.node)
    }
}
