//! `wait`: joins a step that runs in the background; its failure is this one's.

use sanlab_plan::Wait;

use super::{Background, Doing};
use crate::Fault;
use crate::scene::Setback;

pub(super) async fn perform(
    doing: Doing<'_>,
    wait: &Wait,
    background: &mut Background,
) -> Result<(), Setback> {
    let label = wait.step.as_str();
    let here = |fault| Setback {
        phase: doing.scope.name().to_owned(),
        fault,
    };
    let Some(work) = background.remove(label) else {
        return Err(here(Fault::Lab(format!(
            "wait for `{label}`: it is not running in the background"
        ))));
    };
    let joined = tokio::time::timeout(doing.left(), super::joined(label, work)).await;
    joined.unwrap_or_else(|_| {
        let seconds = doing.step.deadline.as_secs_f64();
        Err(here(Fault::Stack(format!(
            "wait for `{label}`: it still runs after {seconds} s"
        ))))
    })
}
