//! `heal`: faults end.

use sanlab_plan::Heal;

use super::Doing;
use crate::Failure;
use crate::engine::faults::open;

pub(super) async fn perform(doing: Doing<'_>, heal: &Heal) -> Result<(), Failure> {
    for step in &heal.steps {
        open::end(doing.context, step.as_str()).await?;
    }
    Ok(())
}
