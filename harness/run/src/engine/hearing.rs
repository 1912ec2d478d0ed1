//! Hears kernels out: what they had to say by a moment has been heard when this returns.

use std::time::Duration;

use sanlab_plan::NodeName;
use sanlab_record::FailureKind;
use tokio::time::{Instant, timeout_at};

use crate::Failure;
use crate::engine::context::RunContext;
use crate::engine::together;
use crate::failure::Cause;

/// From the mark's writing in the guest to its reading on the host, both included.
const DEADLINE: Duration = Duration::from_secs(20);

/// Leaves a mark in the kernel log of each of `nodes`, and waits until their consoles have come to it. `script` is run besides;
/// its outputs are given back, in the order of the nodes; that of a node that is down by then, or where it does not end,
/// is empty.
pub(crate) async fn catch_up(
    context: &RunContext,
    nodes: &[NodeName],
    script: impl Fn(&NodeName) -> String,
) -> Result<Vec<String>, Failure> {
    let mark = context.marks.next();
    // Of the least important level that the consoles are to hear.
    let write = format!("echo '<6>{mark}' >/dev/kmsg\n");
    let deadline = Instant::now() + DEADLINE;
    let all = nodes.iter().map(|node| {
        let script = format!("{write}{}", script(node));
        async move {
            let said = match context.backend.exec(node, &script, DEADLINE).await {
                Ok(ended) => ended.success()?,
                // Its kernel may be heard all the same.
                Err(failure) if failure.kind() == FailureKind::CommandTimedOut => String::new(),
                Err(_) if context.absence(node).is_some() => return Ok(String::new()),
                Err(failure) => return Err(failure),
            };
            let come = timeout_at(deadline, context.marks.come(node, mark)).await;
            come.map(|()| said).map_err(|_| {
                let seen = "what is written to its kernel log does not come".to_owned();
                let after = DEADLINE;
                let silent = Failure::from(Cause::ConditionNotMet { after, seen });
                silent.on(node).during(format!("hear the kernel of {node}"))
            })
        }
    });
    together::all(all).await
}
