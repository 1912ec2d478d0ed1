//! Faults of the network: what is done to frames, whose cable is pulled, who is cut off from whom.

use std::sync::Arc;
use std::time::Duration;

use sanlab_fleet::{Impaired, Impairment};
use sanlab_plan::{NetworkName, NodeName};
use sanlab_record::Excuse;

use crate::Failure;
use crate::engine::chance;
use crate::engine::context::RunContext;
use crate::engine::faults::excusing::{Broken, Fault};
use crate::engine::faults::open::{self, Undo};

/// A fault of the network that is to begin.
#[derive(Debug)]
pub(crate) struct NetworkFault {
    /// The label of the step.
    pub(crate) step: String,
    /// In words.
    pub(crate) what: String,
    /// The networks that it is one of.
    pub(crate) networks: Vec<NetworkName>,
    pub(crate) impairments: Vec<Impairment>,
    pub(crate) pulled: Option<Cables>,
    /// Who does not reach whom.
    pub(crate) cut_off: Vec<(NodeName, Vec<NodeName>)>,
    /// When it ends by itself.
    pub(crate) lasts: Option<Duration>,
}

/// The cables of a node to some of its networks.
#[derive(Debug, Clone)]
pub(crate) struct Cables {
    pub(crate) node: NodeName,
    pub(crate) networks: Vec<NetworkName>,
}

/// It begins. What follows from it is excused from now on.
pub(crate) async fn begin(context: &Arc<RunContext>, fault: NetworkFault) -> Result<(), Failure> {
    let NetworkFault {
        step,
        what,
        networks,
        impairments,
        pulled,
        cut_off,
        lasts,
    } = fault;
    let since = context.now();
    self::cut_off(context, &step, &networks, cut_off);
    let impaired = match impose(context, &step, (&networks, &impairments), pulled.as_ref()).await {
        Ok(impaired) => impaired,
        Err(failure) => {
            // What did not begin excuses nothing.
            let at = context.now();
            context.faults(|faults| faults.whole_again(&step, at));
            return Err(failure);
        }
    };
    let undo = Undo::Network { impaired, pulled };
    open::began(context, &step, (what, undo), since, lasts);
    Ok(())
}

/// Has it done to the fleet; what was done before an error is undone.
async fn impose(
    context: &RunContext,
    step: &str,
    (networks, impairments): (&[NetworkName], &[Impairment]),
    pulled: Option<&Cables>,
) -> Result<Option<Impaired>, Failure> {
    let impaired = if impairments.is_empty() {
        None
    } else {
        let seed = chance::seed(context.options.seed, step);
        Some(context.backend.impair(networks, seed, impairments)?)
    };
    if let Some(cables) = pulled
        && let Err(failure) = pull(context, cables).await
    {
        if let Some(impaired) = &impaired {
            context.backend.restore(impaired)?;
        }
        return Err(failure);
    }
    Ok(impaired)
}

/// Pulls all of them, or none.
async fn pull(context: &RunContext, cables: &Cables) -> Result<(), Failure> {
    let Cables { node, networks } = cables;
    for (number, network) in networks.iter().enumerate() {
        if let Err(failure) = context.backend.set_link(node, network, false).await {
            let before = Cables {
                node: node.clone(),
                networks: networks[..number].to_vec(),
            };
            plug_in(context, &before).await?;
            return Err(failure.during(format!("pull the network cable of {node}")));
        }
    }
    Ok(())
}

async fn plug_in(context: &RunContext, cables: &Cables) -> Result<(), Failure> {
    let Cables { node, networks } = cables;
    for network in networks {
        let up = context.backend.set_link(node, network, true).await;
        up.map_err(|failure| failure.during(format!("plug in the network cable of {node}")))?;
    }
    Ok(())
}

/// From now on these nodes do not reach those on these networks, because of the step of that label.
pub(crate) fn cut_off(
    context: &RunContext,
    step: &str,
    networks: &[NetworkName],
    apart: Vec<(NodeName, Vec<NodeName>)>,
) {
    let since = context.now();
    context.faults(|faults| {
        for (node, from) in apart {
            let excuse = Excuse::Fault {
                step: step.to_owned(),
                node: node.to_string(),
            };
            let networks = networks.to_vec();
            let what = Broken::CutOff { from, networks };
            faults.begins(Fault::new(node, what, excuse, since));
        }
    });
}

/// It ends. The cables of a node that has lost its power are plugged in when it comes back.
pub(super) async fn undo(
    context: &RunContext,
    impaired: Option<Impaired>,
    pulled: Option<Cables>,
) -> Result<(), Failure> {
    if let Some(impaired) = impaired {
        context.backend.restore(&impaired)?;
    }
    if let Some(cables) = pulled.filter(|it| context.down(&it.node).is_none()) {
        plug_in(context, &cables).await?;
    }
    Ok(())
}
