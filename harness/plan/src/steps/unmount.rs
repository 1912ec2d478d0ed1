//! `unmount`: the volume off nodes, side by side.

use std::time::Duration;

use super::{PlannedStep, StepTable, Walk, names};
use crate::diagnostic::Span;
use crate::document::table::table;
use crate::document::value::Nodes;
use crate::steps::topology::Must;
use crate::values::names::{NodeName, StepLabel};

table! {
    /// Unmounts the volume on nodes, side by side.
    Written, "`unmount`", "{}" {
        /// Default: every node that has it mounted.
        on: Nodes, optional;
    }
}

/// Unmounts the volume on nodes, side by side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmount {
    /// Where; never empty.
    pub on: Vec<NodeName>,
}

impl StepTable for Written {
    type Planned = Unmount;

    fn lower(&self, span: &Span, _label: &StepLabel, walk: &mut Walk<'_>) -> Option<Unmount> {
        walk.require_volume("unmount", span)?;
        let on = walk
            .topology
            .choose(self.on.as_ref(), Must::HaveMounted, span, walk.mistakes)?;
        walk.topology.unmount(&on, span, walk.mistakes);
        Some(Unmount { on })
    }
}

impl PlannedStep for Unmount {
    fn deadline(&self, _walk: &Walk<'_>) -> Duration {
        Duration::from_secs(120)
    }

    fn describe(&self) -> String {
        format!("unmount on {}", names(&self.on))
    }
}
