//! `wait_for`: until nodes see a state of a layer, within the step's deadline.

use sanlab_plan::WaitFor;

use super::Doing;
use crate::Failure;
use crate::engine::tasks;

pub(super) async fn perform(doing: Doing<'_>, wait: &WaitFor) -> Result<(), Failure> {
    let context = doing.context;
    let probes = context.stack.state_probe(wait, doing.left());
    if probes.is_empty() {
        let text = format!("wait for {:?}: no layer knows that state", wait.state);
        return Err(Failure::internal(text));
    }
    tasks::await_probes(&*context.backend, doing.scope, &probes).await
}
