//! `start`: a layer's daemons again, where they were stopped.

use futures_util::future::try_join_all;
use sanlab_plan::Start;

use super::Doing;
use crate::{Fault, tasks};

pub(super) async fn perform(doing: Doing<'_>, start: &Start) -> Result<(), Fault> {
    let Doing { scene, scope, .. } = doing;
    let there = scene.there();
    try_join_all(start.on.iter().map(|node| {
        let work = scene.stack.start(start.layer, node, &there);
        async move {
            if work.stages.is_empty() {
                let layer = start.layer;
                return Err(Fault::Lab(format!(
                    "start {layer} on {node}: it has no daemons there"
                )));
            }
            tasks::carry_out(&*scene.site, scope, &work).await
        }
    }))
    .await?;
    Ok(())
}
