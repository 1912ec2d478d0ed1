//! `unmount`: the volume on nodes, side by side.

use sanlab_plan::Unmount;

use super::Doing;
use crate::Failure;
use crate::engine::tasks;

pub(super) async fn perform(doing: Doing<'_>, unmount: &Unmount) -> Result<(), Failure> {
    let Doing { context, scope, .. } = doing;
    let work = context
        .volume()?
        .unmount(&unmount.on, &context.mounted(), context.stack.topology());
    tasks::carry_out(&*context.backend, scope, &work).await?;
    context.has_unmounted(&unmount.on);
    Ok(())
}
