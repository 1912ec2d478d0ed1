//! What a step expects of itself: to fail, or that a node fences itself.

use sanlab_plan::{Expectation, NodeName, StepFailure};
use sanlab_record::FailureKind;

use super::Doing;
use crate::Failure;
use crate::engine::faults::fencing;
use crate::engine::join;
use crate::failure::Cause;

/// From now on everything that the step expects is expected.
pub(super) fn begin(doing: Doing<'_>) -> Result<(), Failure> {
    let Doing { context, step, .. } = doing;
    let mut all = step.expect.iter();
    all.try_for_each(|expectation| context.expects(step.label.as_str(), expectation))
}

/// What became of the step, in view of what it expects of itself.
pub(super) async fn end(doing: Doing<'_>, done: Result<(), Failure>) -> Result<(), Failure> {
    let mut failures = done.map_or_else(Failure::apart, |()| Vec::new());
    let mut fenced = Vec::new();
    for expectation in &doing.step.expect {
        match expectation {
            Expectation::Fails { kind } => failures = fails(doing, *kind, failures),
            Expectation::FencesItself { node } => fenced.push(node),
            Expectation::KernelLog { .. } | Expectation::ErrorsOf { .. } => {}
        }
    }
    failures.retain(|failure| !fenced.iter().any(|node| is_end_of(failure, node)));
    if let Some(failure) = Failure::together(failures) {
        return Err(failure);
    }
    let fenced = fenced.into_iter().map(|node| fences_itself(doing, node));
    join::all(fenced).await.map(drop)
}

/// Failures of that kind are what was wanted; the others are left.
fn fails(doing: Doing<'_>, expected: StepFailure, failures: Vec<Failure>) -> Vec<Failure> {
    let Doing {
        context,
        step,
        scope,
    } = doing;
    if failures.is_empty() {
        let text = format!(
            "step {} expects to fail with {expected}: it passed",
            step.label
        );
        return vec![Cause::ExpectationNotMet(vec![text]).into()];
    }
    let is_expected = |failure: &Failure| failure.kind() == kind(expected);
    let (wanted, others): (Vec<_>, Vec<_>) = failures.into_iter().partition(is_expected);
    for failure in wanted {
        context.meets(step.label.as_str(), |it| {
            matches!(it, Expectation::Fails { .. })
        });
        scope.progress(None, format!("fails as expected: {failure}"));
    }
    others
}

/// Whether it is that the node was lost on which something was done.
fn is_end_of(failure: &Failure, node: &NodeName) -> bool {
    let is_lost = matches!(
        failure.kind(),
        FailureKind::NodeDown | FailureKind::GuestReset | FailureKind::GuestPanicked
    );
    is_lost && failure.node() == Some(node.as_str())
}

/// Waits until the node is down.
async fn fences_itself(doing: Doing<'_>, node: &NodeName) -> Result<(), Failure> {
    let gone = tokio::time::timeout(doing.left(), fencing::gone(doing.context, node)).await;
    gone.map_err(|_| {
        let (label, after) = (&doing.step.label, doing.step.deadline.as_secs_f64());
        let text =
            format!("step {label} expects that {node} fences itself: it did not within {after} s");
        Failure::from(Cause::ExpectationNotMet(vec![text])).on(node)
    })
}

/// The word of the record.
const fn kind(expected: StepFailure) -> FailureKind {
    match expected {
        StepFailure::CommandFailed => FailureKind::CommandFailed,
        StepFailure::CommandTimedOut => FailureKind::CommandTimedOut,
        StepFailure::UnexpectedResult => FailureKind::UnexpectedResult,
        StepFailure::ConditionNotMet => FailureKind::ConditionNotMet,
        StepFailure::NodeDown => FailureKind::NodeDown,
        StepFailure::WriteFailed => FailureKind::WriteFailed,
        StepFailure::BlocksLost => FailureKind::BlocksLost,
        StepFailure::Differences => FailureKind::Differences,
    }
}
