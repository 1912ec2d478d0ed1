//! `heal`: the end of faults.

use std::time::Duration;

use super::{FaultRole, PlannedStep, StepTable, Walk};
use crate::diagnostic::suggest::did_you_mean;
use crate::diagnostic::{Diagnostic, Span};
use crate::document::table::table;
use crate::values::names::{NetworkName, StepLabel};

table! {
    /// Ends faults: of the network (pulled cables are plugged in), of disks, of clocks, and the lack of memory.
    Written, "`heal`", "{}" {
        /// The label of the step that is to end. Default: all that go on.
        step: StepLabel, optional;
        /// Only faults of this network alone.
        network: NetworkName, optional;
    }
}

/// The end of faults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heal {
    /// The labels of the steps whose faults end; never empty. One that has ended by itself is among them.
    pub steps: Vec<StepLabel>,
}

impl StepTable for Written {
    type Planned = Heal;

    fn lower(&self, span: &Span, _label: &StepLabel, walk: &mut Walk<'_>) -> Option<Heal> {
        if let (Some(step), Some(network)) = (&self.step, &self.network) {
            walk.mistakes.note(
                Diagnostic::at(&network.span, "`heal` with `step` and `network`")
                    .label("which?")
                    .also(&step.span, "the other")
                    .help("give one of them"),
            );
            return None;
        }
        if let Some(network) = &self.network {
            walk.networks(Some(network), &[])?;
        }
        let faults = &mut walk.topology.open_faults;
        let network = self.network.as_ref().map(|network| &network.value);
        let open = network.map_or_else(|| faults.labels(), |network| faults.labels_of(network));
        let steps = match &self.step {
            None => open,
            Some(step) if open.contains(&step.value) => vec![step.value.clone()],
            Some(step) => {
                let diagnostic = Diagnostic::at(
                    &step.span,
                    format!("`{}` is no fault that goes on", step.value),
                );
                walk.mistakes
                    .note(diagnostic.label("nothing to end").help(did_you_mean(
                        step.as_str(),
                        "faults that go on",
                        open.iter().map(StepLabel::as_str),
                    )));
                return None;
            }
        };
        if let (true, Some(network)) = (steps.is_empty(), &self.network) {
            walk.mistakes.note(
                Diagnostic::at(
                    &network.span,
                    format!("nothing is broken on network `{}` alone at this step", network.value),
                )
                .label("nothing to end")
                .help("faults of all networks end together: drop `network`, or give the `step` that is to end"),
            );
            return None;
        }
        if steps.is_empty() {
            walk.mistakes.note(
                Diagnostic::at(span, "nothing is broken at this step")
                    .label("nothing to end")
                    .help("put a step that breaks something before it, such as `partition` or `disk_fault`, or drop it"),
            );
            return None;
        }
        for step in &steps {
            faults.end(step);
        }
        Some(Heal { steps })
    }
}

impl PlannedStep for Heal {
    fn deadline(&self, _walk: &Walk<'_>) -> Duration {
        Duration::from_secs(60)
    }

    fn fault_role(&self) -> FaultRole {
        FaultRole::Mends
    }

    fn describe(&self) -> String {
        let steps: Vec<String> = self.steps.iter().map(|step| format!("`{step}`")).collect();
        format!("end {}", steps.join(", "))
    }
}
