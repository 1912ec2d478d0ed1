//! `start`: a layer's daemons again, where they were stopped.

use futures_util::future::try_join_all;
use sanlab_plan::Start;

use super::Doing;
use crate::Failure;
use crate::engine::tasks;

pub(super) async fn perform(doing: Doing<'_>, start: &Start) -> Result<(), Failure> {
    let Doing { context, scope, .. } = doing;
    let there = context.there();
    try_join_all(start.on.iter().map(|node| {
        let work = context.stack.start(start.layer, node, &there);
        async move {
            if work.stages.is_empty() {
                let layer = start.layer;
                let text = format!("start {layer} on {node}: it has no daemons there");
                return Err(Failure::internal(text));
            }
            tasks::carry_out(&*context.backend, scope, &work).await
        }
    }))
    .await?;
    Ok(())
}
