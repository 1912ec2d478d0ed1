//! `crash`: the sudden end of a node.

use std::time::Duration;

use super::{PlannedStep, StepTable, Walk};
use crate::diagnostic::{Diagnostic, Span};
use crate::document::table::table;
use crate::document::word::words;
use crate::values::names::{NodeName, StepLabel};

/// The longest time within which a crash may happen.
const WITHIN: Duration = Duration::from_secs(3600);

table! {
    /// Ends a node without warning.
    Written, "`crash`", r#"{ node = "storage0a" }"# {
        /// Which.
        node: NodeName, required r#""storage0a""#;
        /// `power`: QEMU is killed; `panic`: the node's kernel panics.
        how: CrashKind, default CrashKind::Power;
        /// At a random moment within this time, drawn from the run's seed.
        within: Duration, default Duration::ZERO;
    }
}

/// The sudden end of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crash {
    /// A node that is there.
    pub node: NodeName,
    /// In what way.
    pub how: CrashKind,
    /// It happens at a random moment within this time, drawn from the run's seed. Zero: at once.
    pub within: Duration,
}

words! {
    /// How a node ends.
    pub CrashKind, "kind of crash", "kinds of crash", "a kind of crash", r#""power""# {
        /// Its power is cut: QEMU is killed.
        Power = "power",
        /// Its kernel panics, and stays so until its power is cut.
        Panic = "panic",
    }
}

impl StepTable for Written {
    type Planned = Crash;

    fn lower(&self, span: &Span, _label: &StepLabel, walk: &mut Walk<'_>) -> Option<Crash> {
        if let Some(within) = self.within.as_ref().filter(|within| within.value > WITHIN) {
            walk.mistakes.note(
                Diagnostic::at(&within.span, "impossible `within`")
                    .label("out of range")
                    .help("give at most 60m"),
            );
        }
        let crashed = self
            .node
            .as_ref()
            .filter(|node| walk.topology.crash(node, span, walk.mistakes));
        if crashed.is_none() {
            walk.topology.lose_track();
        }
        Some(Crash {
            node: crashed?.value.clone(),
            how: self.how.as_ref()?.value,
            within: self.within.as_ref()?.value,
        })
    }
}

impl PlannedStep for Crash {
    fn deadline(&self, _walk: &Walk<'_>) -> Duration {
        self.within.saturating_add(Duration::from_secs(60))
    }

    fn describe(&self) -> String {
        let how = match self.how {
            CrashKind::Power => "cut the power of",
            CrashKind::Panic => "let the kernel panic of",
        };
        let moment = if self.within.is_zero() {
            String::new()
        } else {
            format!(
                ", at a random moment within {} s",
                self.within.as_secs_f32()
            )
        };
        format!("{how} {}{moment}", self.node)
    }
}
