//! `run`: a command on nodes.

use std::time::Duration;

use super::{PlannedStep, StepTable, Walk, names};
use crate::diagnostic::{Diagnostic, Span};
use crate::document::table::table;
use crate::document::value::Nodes;
use crate::steps::topology::Must;
use crate::values::names::{NodeName, StepLabel};

table! {
    /// Runs a command on nodes, side by side.
    Written, "`run`", r#"{ command = "uptime" }"# {
        /// Default: every node that is there.
        on: Nodes, optional;
        /// Given to the guest's shell; `{node}` stands for the node's name.
        command: String, required r#""uname -m""#;
        /// The exit code that it must end with.
        exit: i32, default 0;
        /// What it must print, on standard output or error (a regular expression).
        output: String, optional;
    }
}

/// A command on nodes, side by side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Where; never empty.
    pub on: Vec<NodeName>,
    /// Given to the guest's shell; `{node}` stands for the node's name.
    pub command: String,
    /// The exit code that it must end with.
    pub exit: i32,
    /// A regular expression that standard output and error together must match.
    pub output: Option<String>,
}

impl StepTable for Written {
    type Planned = Run;

    fn lower(&self, span: &Span, _label: &StepLabel, walk: &mut Walk<'_>) -> Option<Run> {
        walk.check_pattern(self.output.as_ref());
        if let Some(exit) = self
            .exit
            .as_ref()
            .filter(|exit| !(0..=255).contains(&exit.value))
        {
            walk.mistakes.note(
                Diagnostic::at(&exit.span, format!("impossible exit code: {}", exit.value))
                    .label("no command ends with that")
                    .help("give 0 to 255"),
            );
        }
        let on = walk
            .topology
            .choose(self.on.as_ref(), Must::BeThere, span, walk.mistakes);
        let command = self.command.as_ref()?.value.clone();
        if command.contains("tunefs.ocfs2") {
            walk.topology.forget_slots();
        }
        let output = self.output.as_ref().map(|output| output.value.clone());
        Some(Run {
            on: on?,
            command,
            exit: self.exit.as_ref()?.value,
            output,
        })
    }
}

impl PlannedStep for Run {
    fn deadline(&self, _walk: &Walk<'_>) -> Duration {
        Duration::from_secs(60)
    }

    fn describe(&self) -> String {
        format!("run `{}` on {}", self.command, names(&self.on))
    }
}
