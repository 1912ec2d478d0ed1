//! What a step expects of itself: to fail, or that a node fences itself.

use sanlab_plan::{Expectation, NodeName, StepFailure};
use sanlab_record::FailureKind;

use super::Doing;
use crate::Failure;
use crate::engine::fencing;
use crate::failure::Cause;

/// From now on everything that the step expects is expected.
pub(super) fn begin(doing: Doing<'_>) -> Result<(), Failure> {
    let Doing { context, step, .. } = doing;
    let mut all = step.expect.iter();
    all.try_for_each(|expectation| context.expects(step.label.as_str(), expectation))
}

/// What became of the step, in view of what it expects of itself.
pub(super) async fn end(doing: Doing<'_>, done: Result<(), Failure>) -> Result<(), Failure> {
    let step = doing.step;
    let mut done = done;
    for expectation in &step.expect {
        if let Expectation::Fails { kind } = expectation {
            done = fails(doing, *kind, done);
        }
    }
    for expectation in &step.expect {
        if let Expectation::FencesItself { node } = expectation {
            done = fences_itself(doing, node, done).await;
        }
    }
    done
}

/// A failure of that kind is what was wanted.
fn fails(
    doing: Doing<'_>,
    expected: StepFailure,
    done: Result<(), Failure>,
) -> Result<(), Failure> {
    let Doing {
        context,
        step,
        scope,
    } = doing;
    match done {
        Ok(()) => {
            let text = format!(
                "step {} expects to fail with {expected}: it passed",
                step.label
            );
            Err(Cause::ExpectationNotMet(vec![text]).into())
        }
        Err(failure) if failure.kind() == kind(expected) => {
            context.meets(step.label.as_str(), |it| {
                matches!(it, Expectation::Fails { .. })
            });
            scope.progress(None, format!("fails as expected: {failure}"));
            Ok(())
        }
        Err(failure) => Err(failure),
    }
}

/// Waits until the node is down. What failed because of that has not failed.
async fn fences_itself(
    doing: Doing<'_>,
    node: &NodeName,
    done: Result<(), Failure>,
) -> Result<(), Failure> {
    if let Err(failure) = done
        && (failure.kind(), failure.node()) != (FailureKind::NodeDown, Some(node.as_str()))
    {
        return Err(failure);
    }
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
