//! `wait`: joins a step that runs in the background; its failure is this one's.

use sanlab_plan::Wait;

use super::{Background, Doing};
use crate::Failure;
use crate::failure::{Cause, PhaseFailure};

pub(super) async fn perform(
    doing: Doing<'_>,
    wait: &Wait,
    background: &mut Background,
) -> Result<(), PhaseFailure> {
    let label = wait.step.as_str();
    let here = |failure| PhaseFailure {
        phase: doing.scope.name().clone(),
        failure,
    };
    let Some(work) = background.remove(label) else {
        let text = format!("wait for `{label}`: it is not running in the background");
        return Err(here(Failure::internal(text)));
    };
    let joined = tokio::time::timeout(doing.left(), super::joined(label, work)).await;
    joined.unwrap_or_else(|_| {
        let failure = Failure::from(Cause::StepTimedOut {
            after: doing.step.deadline,
            so_far: Some("it still runs".to_owned()),
        });
        Err(here(failure.during(format!("wait for `{label}`"))))
    })
}
