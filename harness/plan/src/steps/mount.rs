//! `mount`: the volume on nodes, side by side.

use std::time::Duration;

use super::{PlannedStep, StepTable, Walk, names};
use crate::diagnostic::Span;
use crate::document::table::table;
use crate::document::value::Nodes;
use crate::steps::topology::Must;
use crate::values::names::{NodeName, StepLabel};

table! {
    /// Mounts the volume on nodes, side by side.
    Written, "`mount`", "{}" {
        /// Default: every node that is there and has not mounted it.
        on: Nodes, optional;
        /// The mount must fail, and mount or the kernel say this (a regular expression).
        fails: String, optional;
    }
}

/// Mounts the volume on nodes, side by side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where; never empty.
    pub on: Vec<NodeName>,
    /// The mount must fail and say this (a regular expression on what mount and the kernel said).
    pub fails: Option<String>,
}

impl StepTable for Written {
    type Planned = Mount;

    fn lower(&self, span: &Span, _label: &StepLabel, walk: &mut Walk<'_>) -> Option<Mount> {
        walk.check_pattern(self.fails.as_ref());
        walk.require_volume("mount", span)?;
        let on =
            walk.topology
                .choose(self.on.as_ref(), Must::NotHaveMounted, span, walk.mistakes)?;
        if self.fails.is_none() && !walk.expects_failure() {
            walk.topology.mount(&on, span, walk.mistakes);
        }
        Some(Mount {
            on,
            fails: self.fails.as_ref().map(|fails| fails.value.clone()),
        })
    }
}

impl PlannedStep for Mount {
    fn deadline(&self, _walk: &Walk<'_>) -> Duration {
        Duration::from_secs(120)
    }

    fn describe(&self) -> String {
        match &self.fails {
            Some(pattern) => format!("mount on {} must fail with `{pattern}`", names(&self.on)),
            None => format!("mount on {}", names(&self.on)),
        }
    }
}
