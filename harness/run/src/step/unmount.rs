//! `unmount`: the volume on nodes, side by side.

use sanlab_plan::Unmount;

use super::Doing;
use crate::Failure;
use crate::tasks;

pub(super) async fn perform(doing: Doing<'_>, unmount: &Unmount) -> Result<(), Failure> {
    let Doing { scene, scope, .. } = doing;
    let work = scene
        .volume()?
        .unmount(&unmount.on, &scene.mounted(), scene.stack.topology());
    tasks::carry_out(&*scene.site, scope, &work).await?;
    scene.has_unmounted(&unmount.on);
    Ok(())
}
