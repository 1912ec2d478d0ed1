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
        /// For the guest's `/bin/sh -e`; `{node}` stands for the node's name.
        command: String, required r#""uname -m""#;
        /// The exit code that it must end with.
        exit: i32, default 0;
        /// What it must print, on standard output or error (a regular expression).
        output: String, optional;
        /// All nodes must print the same bytes on standard output.
        same: bool, default false;
    }
}

/// A command on nodes, side by side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Where; never empty.
    pub on: Vec<NodeName>,
    /// For the guest's `/bin/sh -e`; `{node}` stands for the node's name.
    pub command: String,
    /// The exit code that it must end with.
    pub exit: i32,
    /// A regular expression that standard output and error together must match.
    pub output: Option<String>,
    /// All nodes must print the same bytes on standard output; there are several then.
    pub same: bool,
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
        let same = self.same.as_ref().filter(|same| same.value);
        if let (Some(same), Some([alone])) = (same, on.as_deref()) {
            walk.mistakes.note(
                Diagnostic::at(&same.span, "there is nothing to compare")
                    .label(format!("`{alone}` is the only node of this step"))
                    .help("name several nodes in `on`, or leave `same` out"),
            );
        }
        let command = self.command.as_ref()?.value.clone();
        if ["tunefs.ocfs2", "gfs2_jadd"]
            .iter()
            .any(|it| command.contains(it))
        {
            walk.topology.forget_mounts();
        }
        let output = self.output.as_ref().map(|output| output.value.clone());
        Some(Run {
            on: on?,
            command,
            exit: self.exit.as_ref()?.value,
            output,
            same: same.is_some(),
        })
    }
}

impl PlannedStep for Run {
    fn deadline(&self, _walk: &Walk<'_>) -> Duration {
        Duration::from_secs(60)
    }

    fn describe(&self) -> String {
        let same = if self.same { ", the same on all" } else { "" };
        format!("run `{}` on {}{same}", self.command, names(&self.on))
    }
}
