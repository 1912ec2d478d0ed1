//! `heal`: faults of the network end.

use sanlab_plan::Heal;

use super::Doing;
use crate::Failure;
use crate::engine::network;

pub(super) async fn perform(doing: Doing<'_>, heal: &Heal) -> Result<(), Failure> {
    for step in &heal.steps {
        network::end(doing.context, step.as_str()).await?;
    }
    Ok(())
}
