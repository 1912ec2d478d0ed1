//! Faults of the network: what is done to frames, whose cable is pulled, who is cut off from whom.

use std::sync::Arc;
use std::time::Duration;

use sanlab_fleet::{Impairment, ImpairmentId};
use sanlab_plan::NodeName;
use sanlab_record::Excuse;

use crate::Failure;
use crate::engine::chance;
use crate::engine::context::RunContext;
use crate::engine::faults::{Broken, Fault};
use crate::engine::open_faults::{self, Undo};

/// A fault of the network that is to begin.
#[derive(Debug)]
pub(crate) struct NetworkFault {
    /// The label of the step.
    pub(crate) step: String,
    /// In words.
    pub(crate) what: String,
    pub(crate) impairments: Vec<Impairment>,
    /// The node whose cable is pulled.
    pub(crate) pulled: Option<NodeName>,
    /// Who does not reach whom.
    pub(crate) cut_off: Vec<(NodeName, Vec<NodeName>)>,
    /// When it ends by itself.
    pub(crate) lasts: Option<Duration>,
}

/// It begins. What follows from it is excused from now on.
pub(crate) async fn begin(context: &Arc<RunContext>, fault: NetworkFault) -> Result<(), Failure> {
    let NetworkFault {
        step,
        what,
        impairments,
        pulled,
        cut_off,
        lasts,
    } = fault;
    let since = context.now();
    self::cut_off(context, &step, cut_off);
    let impaired = match impose(context, &step, impairments, pulled.as_ref()).await {
        Ok(impaired) => impaired,
        Err(failure) => {
            // What did not begin excuses nothing.
            let at = context.now();
            context.faults(|faults| faults.whole_again(&step, at));
            return Err(failure);
        }
    };
    let undo = Undo::Network { impaired, pulled };
    open_faults::began(context, &step, (what, undo), since, lasts);
    Ok(())
}

/// Has it done to the fleet; what was done before an error is undone.
async fn impose(
    context: &RunContext,
    step: &str,
    impairments: Vec<Impairment>,
    pulled: Option<&NodeName>,
) -> Result<Option<ImpairmentId>, Failure> {
    let impaired = if impairments.is_empty() {
        None
    } else {
        let seed = chance::seed(context.seed, step);
        Some(context.backend.impair(seed, impairments)?)
    };
    if let Some(node) = pulled
        && let Err(failure) = context.backend.set_link(node, false).await
    {
        if let Some(impaired) = impaired {
            context.backend.restore(impaired)?;
        }
        return Err(failure.during(format!("pull the network cable of {node}")));
    }
    Ok(impaired)
}

/// From now on these nodes do not reach those, because of the step of that label.
pub(crate) fn cut_off(context: &RunContext, step: &str, apart: Vec<(NodeName, Vec<NodeName>)>) {
    let since = context.now();
    context.faults(|faults| {
        for (node, from) in apart {
            let excuse = Excuse::Fault {
                step: step.to_owned(),
                node: node.to_string(),
            };
            faults.begins(Fault::new(node, Broken::CutOff { from }, excuse, since));
        }
    });
}

/// It ends. The cable of a node that has lost its power is plugged in when it comes back.
pub(super) async fn undo(
    context: &RunContext,
    impaired: Option<ImpairmentId>,
    pulled: Option<NodeName>,
) -> Result<(), Failure> {
    if let Some(impaired) = impaired {
        context.backend.restore(impaired)?;
    }
    if let Some(node) = pulled.filter(|node| context.absence(node).is_none()) {
        let up = context.backend.set_link(&node, true).await;
        up.map_err(|failure| failure.during(format!("plug in the network cable of {node}")))?;
    }
    Ok(())
}
