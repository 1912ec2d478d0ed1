//! `pause`: nodes stand still for a time, as under a hypervisor that does not let them run.

use std::time::Duration;

use super::{FaultRole, PlannedStep, StepTable, Walk, names};
use crate::diagnostic::Span;
use crate::document::table::table;
use crate::document::value::Nodes;
use crate::steps::topology::Must;
use crate::values::names::{NodeName, StepLabel};

table! {
    /// Lets nodes stand still for a time, all of their processors and clocks. The step lasts as long.
    Written, "`pause`", r#"{ on = "vix1", lasts = "20s" }"# {
        /// Which.
        on: Nodes, required r#""vix1""#;
        /// For how long.
        lasts: Duration, required r#""20s""#;
    }
}

/// Nodes that stand still for a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// Which; never empty.
    pub on: Vec<NodeName>,
    /// For how long.
    pub lasts: Duration,
}

impl StepTable for Written {
    type Planned = Pause;

    fn lower(&self, span: &Span, _label: &StepLabel, walk: &mut Walk<'_>) -> Option<Pause> {
        walk.check_lasts(self.lasts.as_ref());
        let list = self.on.as_ref()?;
        let on = walk
            .topology
            .choose(Some(list), Must::BeThere, span, walk.mistakes)?;
        walk.topology.silence(&on);
        Some(Pause {
            on,
            lasts: self.lasts.as_ref()?.value,
        })
    }
}

impl PlannedStep for Pause {
    fn deadline(&self, _walk: &Walk<'_>) -> Duration {
        self.lasts.saturating_add(Duration::from_secs(60))
    }

    fn fault_role(&self) -> FaultRole {
        FaultRole::Breaks
    }

    fn describe(&self) -> String {
        format!(
            "let {} stand still for {} s",
            names(&self.on),
            self.lasts.as_secs_f32()
        )
    }
}
