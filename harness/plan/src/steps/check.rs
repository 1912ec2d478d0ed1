//! `check`: what nodes see, compared.

use std::time::Duration;

use super::{PlannedStep, StepTable, Walk, names};
use crate::diagnostic::{Diagnostic, Span};
use crate::document::table::table;
use crate::document::value::Nodes;
use crate::steps::topology::Must;
use crate::values::names::{GuestPath, NodeName, StepLabel};

table! {
    /// Looks at the fleet and compares.
    Written, "`check`", r#"{ same_tree = "/mnt/nbdsan" }"# {
        /// The nodes asked. Default: every node that has the volume mounted; without `same_tree`, every node.
        on: Nodes, optional;
        /// Below this path all nodes see the same files with the same contents.
        same_tree: GuestPath, optional;
        /// No oops, BUG, hung task or lockup in any kernel log.
        kernel_log: bool, default true;
    }
}

/// An oracle over the fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The nodes asked; never empty.
    pub on: Vec<NodeName>,
    /// The same files with the same MD5 everywhere, and the acknowledged bytes of every dd before.
    pub same_tree: Option<GuestPath>,
    /// No oops, BUG, hung task or lockup in any kernel log.
    pub kernel_log: bool,
}

impl StepTable for Written {
    type Planned = Check;

    fn lower(&self, span: &Span, _label: &StepLabel, walk: &mut Walk<'_>) -> Option<Check> {
        let must = if self.same_tree.is_some() {
            Must::HaveMounted
        } else {
            Must::BeThere
        };
        if let Some(path) = &self.same_tree {
            walk.require_volume("compare", span)?;
            walk.topology.check_quiet(span, walk.mistakes);
            let at = walk
                .topology
                .resolved_stack
                .file_system
                .as_ref()
                .map(|layer| layer.at.as_str());
            if let Some(at) = at
                && !std::path::Path::new(path.as_str()).starts_with(at)
            {
                walk.mistakes.note(
                    Diagnostic::at(
                        &path.span,
                        format!("`{}` is outside of the volume", path.value),
                    )
                    .label("every node has its own there")
                    .help(format!("write `same_tree = \"{at}\"` or a path below it")),
                );
            }
        }
        let kernel_log = self.kernel_log.as_ref()?.value;
        if self.same_tree.is_none() && !kernel_log && !walk.mistakes.any_within(span) {
            walk.mistakes.note(
                Diagnostic::at(span, "this checks nothing")
                    .label("neither the tree nor the kernel log")
                    .help("add `same_tree = \"...\"`, or drop `kernel_log = false`"),
            );
        }
        let on = walk
            .topology
            .choose(self.on.as_ref(), must, span, walk.mistakes)?;
        Some(Check {
            on,
            same_tree: self.same_tree.as_ref().map(|path| path.value.clone()),
            kernel_log,
        })
    }
}

impl PlannedStep for Check {
    fn deadline(&self, _walk: &Walk<'_>) -> Duration {
        Duration::from_secs(300)
    }

    fn describe(&self) -> String {
        let tree = self
            .same_tree
            .as_ref()
            .map(|path| format!("the same files below {path}"));
        let log = self
            .kernel_log
            .then(|| "no trouble in the kernel logs".to_owned());
        let what: Vec<String> = tree.into_iter().chain(log).collect();
        format!("check on {}: {}", names(&self.on), what.join(", "))
    }
}
