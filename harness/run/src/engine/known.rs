//! Failures that a scenario names as known.

use regex::Regex;
use sanlab_record::{Failure, FailureKind, FindingKind, KnownBy, Outcome};

use crate::Extent;
use crate::engine::context::RunContext;

/// How a run ends in view of the failure by which it is known to end.
pub(crate) fn outcome(context: &RunContext, outcome: Outcome) -> Outcome {
    let Some(known) = &context.plan.known else {
        return outcome;
    };
    let pattern = match Regex::new(&known.pattern) {
        Ok(pattern) => pattern,
        Err(error) => {
            let text = format!("read the pattern of `known`: {error}");
            return Outcome::Broken(Failure::new("end check", FailureKind::Internal, text));
        }
    };
    match outcome {
        // What did not come is never what is known to come, though its words are.
        Outcome::Failed(failure) if failure.kind != FailureKind::ExpectationNotMet => {
            let found = context.counting();
            let all_known = found.iter().all(|finding| pattern.is_match(&finding.text));
            // What kernels and layers show is the whole failure, or comes on top of it.
            let whole = match failure.kind {
                FailureKind::KernelComplaint => true,
                FailureKind::ConditionNotMet => found
                    .iter()
                    .any(|finding| finding.kind == FindingKind::LayerState),
                _ => false,
            };
            let whole = whole && !found.is_empty();
            if all_known && (whole || pattern.is_match(&failure.message)) {
                let known = KnownBy {
                    because: known.because.clone(),
                    source: known.source.clone(),
                };
                Outcome::KnownFailure { failure, known }
            } else {
                Outcome::Failed(failure)
            }
        }
        // A part of a scenario need not come to its failure.
        Outcome::Passed if context.extent == Extent::Whole => {
            let text = format!(
                "it passes, although it is known to fail ({}, {}): remove `known` from the scenario",
                known.because, known.source
            );
            Outcome::Failed(Failure::new(
                "end check",
                FailureKind::ExpectationNotMet,
                text,
            ))
        }
        other => other,
    }
}
