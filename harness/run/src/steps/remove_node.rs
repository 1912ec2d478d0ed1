//! `remove_node`: a node unmounts, its layers go down, and its power is cut.

use sanlab_plan::{CrashKind, RemoveNode};

use super::Doing;
use crate::Failure;
use crate::engine::faults::down::DownReason;
use crate::engine::{console_sync, tasks};
use crate::failure::Cause;

pub(super) async fn perform(doing: Doing<'_>, remove: &RemoveNode) -> Result<(), Failure> {
    let Doing {
        context,
        step,
        scope,
    } = doing;
    let node = &remove.node;
    let one = std::slice::from_ref(node);
    let mounted = context.mounted();
    if mounted.contains(node) {
        let volume = context.volume()?;
        let work = volume.unmount(one, &mounted, context.stack.topology());
        tasks::carry_out(&*context.backend, scope, &work).await?;
        context.has_unmounted(one);
    }
    for work in context.stack.down(one, &[]) {
        tasks::carry_out(&*context.backend, scope, &work).await?;
    }
    // What its kernel says until then counts.
    console_sync::catch_up(context, one, |_| String::new()).await?;
    let _switch = context.power.lock().await;
    if !context.departs(node, DownReason::Removed(step.label.to_string())) {
        let down = Failure::from(Cause::NodeDown {
            node: node.clone(),
            why: context.down(node).map(|down| down.reason),
            failure: None,
        });
        return Err(down.during(format!("remove {node}: it is not there any more")));
    }
    let gone = context.backend.crash(node, CrashKind::Power).await;
    gone.map_err(|failure| failure.during(format!("cut the power of {node}")))
}
