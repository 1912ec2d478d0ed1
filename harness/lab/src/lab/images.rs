//! The images of a plan's guests, with the progress of their build on the terminal.

use std::collections::BTreeMap;

use sanlab_image::Image;
use sanlab_plan::{NodeName, Plan};
use tokio_util::sync::CancellationToken;

use crate::terminal::{Terminal, watch};
use crate::{Lab, LabError};

/// What a plan's guests boot; what the store lacks is built.
pub(crate) async fn ensure(
    lab: &Lab,
    plan: &Plan,
    cancel: &CancellationToken,
    terminal: &mut Terminal,
) -> Result<BTreeMap<NodeName, Image>, LabError> {
    let title = plan.image.to_string();
    let (lab, plan) = (lab.clone(), plan.clone());
    watch::blocking(terminal, &title, cancel, move |tell| {
        lab.images(&plan, tell)
    })
    .await
}
