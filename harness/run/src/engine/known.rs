//! Failures that a scenario names as known.

use regex::Regex;
use sanlab_record::{EventKind, FailureKind, KnownBy, Outcome, PhaseName};

use crate::engine::context::RunContext;
use crate::failure::{Blame, Cause, PhaseFailure};
use crate::{Extent, Failure};

/// Why a run did not pass, and whether that is what its scenario names as known.
pub(crate) struct Ending {
    pub(crate) failed: PhaseFailure,
    known: Option<KnownBy>,
}

/// How a run ends, in view of the failure by which it is known to end. Nothing: it passes.
pub(crate) fn ending(context: &RunContext, failed: Option<PhaseFailure>) -> Option<Ending> {
    let unknown = |failed| {
        let known = None;
        Some(Ending { failed, known })
    };
    let at_end = |failure: Failure| PhaseFailure {
        phase: PhaseName::EndCheck,
        failure,
    };
    let Some(known) = &context.plan.known else {
        return failed.and_then(unknown);
    };
    let pattern = match Regex::new(&known.pattern) {
        Ok(pattern) => pattern,
        Err(error) => {
            let text = format!("read the pattern of `known`: {error}");
            return unknown(at_end(Failure::internal(text)));
        }
    };
    let Some(failed) = failed else {
        // A part of a scenario need not come to its failure, nor a moment that was tried.
        if context.extent() == Extent::Measures || context.options.exploration.is_some() {
            return None;
        }
        let text = format!(
            "it passes, although it is known to fail ({}, {}): remove `known` from the scenario",
            known.because, known.source
        );
        return unknown(at_end(Cause::ExpectationNotMet(vec![text]).into()));
    };
    let failure = &failed.failure;
    // What did not come is never what is known to come, though its words are.
    let is_known = failure.blame() == Blame::UnderTest
        && failure.kind() != FailureKind::ExpectationNotMet
        && failure.is_described_by(&pattern);
    let known = is_known.then(|| KnownBy {
        because: known.because.clone(),
        source: known.source.clone(),
    });
    Some(Ending { failed, known })
}

impl Ending {
    /// What is said of it at once.
    pub(crate) fn event(&self) -> EventKind {
        let message = self.failed.failure.to_string();
        match self.known {
            Some(_) => EventKind::KnownFailure { message },
            None => EventKind::Failed { message },
        }
    }

    /// Whether its scenario names it.
    pub(crate) fn is_known(&self) -> bool {
        self.known.is_some()
    }

    pub(crate) fn outcome(self) -> Outcome {
        match (self.failed.outcome(), self.known) {
            (Outcome::Failed(failure), Some(known)) => Outcome::KnownFailure { failure, known },
            (outcome, _) => outcome,
        }
    }
}

impl From<PhaseFailure> for Ending {
    fn from(failed: PhaseFailure) -> Self {
        let known = None;
        Self { failed, known }
    }
}
