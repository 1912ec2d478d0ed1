//! `restart`: a crashed node comes back.

use std::time::Duration;

use super::{FaultRole, PlannedStep, StepTable, Walk};
use crate::diagnostic::Span;
use crate::document::table::table;
use crate::values::names::{NodeName, StepLabel};

table! {
    /// Brings a crashed node back, with its disk; every layer comes up on it again.
    Written, "`restart`", r#"{ node = "storage0a" }"# {
        /// Which.
        node: NodeName, required r#""storage0a""#;
    }
}

/// A crashed node's return: the same machine and disk; every layer comes up on it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restart {
    /// A node that was crashed.
    pub node: NodeName,
}

impl StepTable for Written {
    type Planned = Restart;

    fn lower(&self, span: &Span, _label: &StepLabel, walk: &mut Walk<'_>) -> Option<Restart> {
        let restarted = self
            .node
            .as_ref()
            .filter(|node| walk.topology.restart(node, span, walk.mistakes));
        if restarted.is_none() {
            walk.topology.lose_track();
        }
        Some(Restart {
            node: restarted?.value.clone(),
        })
    }
}

impl PlannedStep for Restart {
    fn deadline(&self, walk: &Walk<'_>) -> Duration {
        let usual = Duration::from_secs(240);
        let slow = walk.topology.resolved_stack.slow_start();
        slow.map_or(usual, |slow| slow + usual)
    }

    fn fault_role(&self) -> FaultRole {
        FaultRole::Mends
    }

    fn describe(&self) -> String {
        format!("boot {} again, with its disk", self.node)
    }
}
