//! `start`: a layer's daemons again, where they were stopped. Those that a step stopped elsewhere are not waited for.

use sanlab_plan::Start;

use super::Doing;
use crate::Failure;
use crate::engine::{join, tasks};

pub(super) async fn perform(doing: Doing<'_>, start: &Start) -> Result<(), Failure> {
    let Doing { context, scope, .. } = doing;
    let mut present = context.present();
    present
        .stopped
        .retain(|(node, kind)| *kind != start.layer || !start.on.contains(node));
    let present = &present;
    join::all(start.on.iter().map(|node| {
        let work = context.stack.start(start.layer, node, present);
        async move {
            if work.stages.is_empty() {
                let layer = start.layer;
                let text = format!("start {layer} on {node}: it has no daemons there");
                return Err(Failure::internal(text));
            }
            tasks::carry_out(&*context.backend, scope, &work).await?;
            let at = context.now();
            context.faults(|faults| faults.started(node, start.layer, at));
            Ok(())
        }
    }))
    .await?;
    Ok(())
}
