//! `add_node`: a further guest boots, every layer is extended to it, and it mounts.

use std::time::Duration;

use sanlab_plan::AddNode;
use sanlab_record::EventKind;
use tokio::time::Instant;

use super::Doing;
use crate::drive::attend_to_kernel;
use crate::{Failure, tasks};

/// How long the others' kernels may take to tell of the newcomer; they do so before its mount is over.
const NEWS: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

pub(super) async fn perform(doing: Doing<'_>, add: &AddNode) -> Result<(), Failure> {
    let Doing { scene, scope, .. } = doing;
    let (node, there, mounted) = (&add.node, scene.there(), scene.mounted());
    scope.progress(Some(node), "boot");
    scene
        .site
        .join(node)
        .await
        .map_err(|failure| failure.during(format!("boot {node}")))?;
    scene.arrived(std::slice::from_ref(node));
    attend_to_kernel(scene, std::slice::from_ref(node)).await?;
    for work in scene.stack.join(node, &there) {
        tasks::carry_out(&*scene.site, scope, &work).await?;
    }
    if add.mount {
        let work =
            scene
                .volume()?
                .mount(std::slice::from_ref(node), &mounted, scene.stack.topology());
        tasks::carry_out(&*scene.site, scope, &work).await?;
        scene.has_mounted(std::slice::from_ref(node));
        witnesses(doing, add, &mounted).await;
    }
    Ok(())
}

/// Waits for the kernel lines in which the others tell that the newcomer joined their lock domain. They are for the
/// record: that it did join has been probed, and kernels differ in their words.
async fn witnesses(doing: Doing<'_>, add: &AddNode, others: &[sanlab_plan::NodeName]) {
    let number = doing
        .scene
        .plan
        .node(&add.node)
        .map_or(0, |node| node.number);
    let joins = format!("Node {number} joins domain");
    let begun = Instant::now();
    for node in others {
        let said = || {
            doing.scope.any(|event| {
                event.node.as_deref() == Some(node.as_str())
                    && matches!(&event.kind, EventKind::KernelSaid { line } if line.contains(&joins))
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
