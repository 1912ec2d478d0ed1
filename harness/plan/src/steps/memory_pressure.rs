//! `memory_pressure`: nodes that have little memory left.

use std::time::Duration;

use super::{FaultRole, PlannedStep, StepTable, Walk, names};
use crate::diagnostic::{Diagnostic, Span};
use crate::document::table::table;
use crate::document::value::Nodes;
use crate::steps::topology::Must;
use crate::steps::topology::open_faults::Part;
use crate::values::names::{NodeName, StepLabel};
use crate::values::units::ByteSize;

/// With less the kernel ends programs to get some.
const LEAST: ByteSize = ByteSize::from_mib(16);

table! {
    /// Takes memory away from nodes, and gives it back: a file in memory, which cannot be written to any disk since nodes have no swap.
    Written, "`memory_pressure`", r#"{ on = "vix1", leaves = "24MiB" }"# {
        /// Whose memory.
        on: Nodes, required r#""vix1""#;
        /// How much is left of what the kernel could give to programs (`MemAvailable`), at least 16MiB.
        leaves: ByteSize, required r#""24MiB""#;
        /// It ends by itself after this time. Default: with a step `heal` or the node's power.
        lasts: Duration, optional;
    }
}

/// Nodes that have little memory left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryPressure {
    /// Which; never empty.
    pub on: Vec<NodeName>,
    /// What is left to each when the step ends.
    pub leaves: ByteSize,
    /// When it ends by itself.
    pub lasts: Option<Duration>,
}

impl StepTable for Written {
    type Planned = MemoryPressure;

    fn lower(&self, span: &Span, label: &StepLabel, walk: &mut Walk<'_>) -> Option<MemoryPressure> {
        walk.check_lasts(self.lasts.as_ref());
        let on = walk
            .topology
            .choose(self.on.as_ref(), Must::BeThere, span, walk.mistakes)?;
        let leaves = self.leaves.as_ref()?;
        if leaves.value < LEAST {
            walk.mistakes.note(
                Diagnostic::at(&leaves.span, format!("too little memory: {}", leaves.value))
                    .label("the kernel would end programs to get more")
                    .help(format!("leave at least {LEAST}")),
            );
            return None;
        }
        let nodes = walk.topology.node_set.nodes.iter();
        let mut nodes = nodes.filter(|node| on.contains(&node.name));
        if let Some(small) = nodes.find(|node| node.hardware.memory <= leaves.value) {
            let memory = small.hardware.memory;
            walk.mistakes.note(
                Diagnostic::at(&leaves.span, "more memory than a node has")
                    .label(format!("`{}` has {memory}", small.name))
                    .help("leave less than that; the kernel itself takes some, too"),
            );
            return None;
        }
        walk.begin_node_fault(Part::Memory, &on, span, label)?;
        Some(MemoryPressure {
            on,
            leaves: leaves.value,
            lasts: self.lasts.as_ref().map(|lasts| lasts.value),
        })
    }
}

impl PlannedStep for MemoryPressure {
    fn deadline(&self, _walk: &Walk<'_>) -> Duration {
        Duration::from_secs(60)
    }

    fn fault_role(&self) -> FaultRole {
        FaultRole::Breaks
    }

    fn describe(&self) -> String {
        format!(
            "leave {} of memory to {}{}",
            self.leaves,
            names(&self.on),
            super::for_a_time(self.lasts)
        )
    }
}
