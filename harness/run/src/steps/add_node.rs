//! `add_node`: a further guest boots, every layer is extended to it, and it mounts.

use std::time::Duration;

use sanlab_plan::{AddNode, NodeName};
use sanlab_record::EventKind;
use tokio::time::Instant;

use super::Doing;
use crate::Failure;
use crate::engine::tasks;

/// How long the others' kernels may take to log the newcomer; they do so before its mount is over.
const NEWS: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

pub(super) async fn perform(doing: Doing<'_>, add: &AddNode) -> Result<(), Failure> {
    let Doing { context, scope, .. } = doing;
    let (node, before) = (&add.node, context.present());
    scope.progress(Some(node), "boot");
    context
        .backend
        .join(node)
        .await
        .map_err(|failure| failure.during(format!("boot {node}")))?;
    context.arrived(std::slice::from_ref(node));
    context.show_kernel_log(std::slice::from_ref(node)).await?;
    for work in context.stack.join(node, &before) {
        tasks::carry_out(&*context.backend, scope, &work).await?;
    }
    if add.mount {
        let volume = context.volume()?;
        let work = volume.mount(
            std::slice::from_ref(node),
            &before.mounted,
            context.stack.topology(),
        );
        tasks::carry_out(&*context.backend, scope, &work).await?;
        context.has_mounted(std::slice::from_ref(node));
        if let Some(news) = volume.news(node, context.stack.topology()) {
            witnesses(doing, &news, &before.mounted).await;
        }
    }
    Ok(())
}

/// Waits for the kernel lines in which the others log that the newcomer joined their lock domain. They are for the
/// record: that it did join has been probed, and kernels differ in their words.
async fn witnesses(doing: Doing<'_>, joins: &str, others: &[NodeName]) {
    let begun = Instant::now();
    for node in others {
        let said = || {
            doing.scope.any(|event| {
                event.node.as_deref() == Some(node.as_str())
                    && matches!(&event.kind, EventKind::KernelSaid { line } if line.contains(joins))
            })
        };
        while !said() {
            if begun.elapsed() > NEWS {
                doing
                    .scope
                    .progress(Some(node), format!("its kernel did not say `{joins}`"));
                break;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}
