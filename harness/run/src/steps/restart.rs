//! `restart`: a node that was crashed, or fenced, comes back with its disk; every layer comes up on it again, and it
//! mounts the volume if it had.

use sanlab_plan::Restart;

use super::Doing;
use crate::Failure;
use crate::engine::tasks;
use crate::failure::Cause;

pub(super) async fn perform(doing: Doing<'_>, restart: &Restart) -> Result<(), Failure> {
    let Doing { context, scope, .. } = doing;
    let node = &restart.node;
    let Some(down) = context.down(node) else {
        let failure = Failure::from(Cause::WrongState("it is not down"));
        return Err(failure.on(node).during(format!("restart {node}")));
    };
    // Whoever is known to be fenced may lose its power only now.
    drop(context.power.lock().await);
    let before = context.present();
    scope.progress(Some(node), format!("comes back: {}", down.reason));
    context.powers_on(node);
    let back = context.backend.restart(node).await;
    back.map_err(|failure| failure.during(format!("restart {node}")))?;
    context.returned(node);
    let just = std::slice::from_ref(node);
    context.show_kernel_log(just).await?;
    for work in context.stack.rejoin(node, &before) {
        tasks::carry_out(&*context.backend, scope, &work).await?;
    }
    if down.mounted {
        let work = context
            .volume()?
            .mount(just, &context.mounted(), context.stack.topology());
        tasks::carry_out(&*context.backend, scope, &work).await?;
        context.has_mounted(just);
    }
    let at = context.now();
    context.faults(|faults| faults.mended(node, at));
    Ok(())
}
