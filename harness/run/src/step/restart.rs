//! `restart`: a node that was crashed, or fenced, comes back with its disk; every layer comes up on it again, and it
//! mounts the volume if it had.

use sanlab_plan::Restart;

use super::Doing;
use crate::drive::attend_to_kernel;
use crate::failure::Cause;
use crate::{Failure, tasks};

pub(super) async fn perform(doing: Doing<'_>, restart: &Restart) -> Result<(), Failure> {
    let Doing { scene, scope, .. } = doing;
    let node = &restart.node;
    let Some(absence) = scene.absence(node) else {
        let failure = Failure::from(Cause::WrongState("it is not down"));
        return Err(failure.on(node).during(format!("restart {node}")));
    };
    let there = scene.there();
    scope.progress(Some(node), format!("comes back: {}", absence.cause));
    scene.powers_on(node);
    let back = scene.site.restart(node).await;
    back.map_err(|failure| failure.during(format!("restart {node}")))?;
    scene.returned(node);
    let just = std::slice::from_ref(node);
    attend_to_kernel(scene, just).await?;
    for work in scene.stack.rejoin(node, &there) {
        tasks::carry_out(&*scene.site, scope, &work).await?;
    }
    if absence.mounted {
        let work = scene
            .volume()?
            .mount(just, &scene.mounted(), scene.stack.topology());
        tasks::carry_out(&*scene.site, scope, &work).await?;
        scene.has_mounted(just);
    }
    Ok(())
}
