//! `wait`: for a step in the background.

use std::time::Duration;

use super::{PlannedStep, StepTable, Walk, is_background};
use crate::diagnostic::suggest::did_you_mean;
use crate::diagnostic::{Diagnostic, Span};
use crate::document::table::table;
use crate::values::names::StepLabel;

table! {
    /// Waits for a step that runs in the background.
    Written, "`wait`", r#"{ step = "load" }"# {
        /// Its label.
        step: StepLabel, required r#""load""#;
    }
}

/// Waits for a background step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// The step's label.
    pub step: StepLabel,
}

impl StepTable for Written {
    type Planned = Wait;

    fn lower(&self, _span: &Span, _label: &StepLabel, walk: &mut Walk<'_>) -> Option<Wait> {
        let step = self.step.as_ref()?;
        let running = &mut walk.topology.writing;
        if let Some(at) = running
            .iter()
            .position(|background| background.label == step.value)
        {
            running.remove(at);
            return Some(Wait {
                step: step.value.clone(),
            });
        }
        let wrong = |title: &str, label: &str| {
            Diagnostic::at(&step.span, format!("`{}` {title}", step.value)).label(label)
        };
        let Some(at) = walk.labels.iter().position(|label| *label == step.value) else {
            let background = walk
                .entries
                .iter()
                .zip(walk.labels)
                .filter(|(other, _)| is_background(other));
            walk.mistakes.note(
                Diagnostic::at(&step.span, format!("unknown step `{}`", step.value))
                    .label("no step has this label")
                    .help(did_you_mean(
                        step.as_str(),
                        "steps in the background",
                        background.map(|(_, label)| label.as_str()),
                    )),
            );
            return None;
        };
        let awaited = &walk.entries[at];
        let diagnostic = if !is_background(awaited) {
            let help = "add `background = true` to that step if it can, or drop this one";
            wrong(
                "does not run in the background",
                "over when the next step begins",
            )
            .also(&awaited.span, "this step")
            .help(help)
        } else if at >= walk.now {
            wrong("has not begun at this step", "comes later")
                .also(&awaited.span, "this step")
                .help("move the `wait` after it")
        } else if walk.taken.iter().any(|taken| taken.label == step.value) {
            wrong("was waited for already", "over by now")
                .also(&awaited.span, "this step")
                .help("drop one of the `wait` steps")
        } else {
            return None; // the awaited step itself was wrong
        };
        walk.mistakes.note(diagnostic);
        None
    }
}

impl PlannedStep for Wait {
    fn deadline(&self, walk: &Walk<'_>) -> Duration {
        let awaited = walk.taken.iter().find(|step| step.label == self.step);
        awaited.map_or(Duration::from_secs(120), |step| step.deadline)
    }

    fn describe(&self) -> String {
        format!("wait for `{}`", self.step)
    }
}
