//! `link`: network cables are pulled, or plugged in.

use sanlab_plan::{Link, LinkState, NodeName};

use super::Doing;
use crate::Failure;
use crate::engine::faults::network::{self, Cables, NetworkFault};
use crate::engine::faults::open;

pub(super) async fn perform(doing: Doing<'_>, link: &Link) -> Result<(), Failure> {
    let Doing { context, step, .. } = doing;
    if link.state == LinkState::Up {
        for pulled in &link.ends {
            open::end(context, pulled.as_str()).await?;
        }
        return Ok(());
    }
    let node = &link.node;
    let names = context.plan.nodes.iter().map(|other| other.name.clone());
    let others: Vec<NodeName> = names.filter(|other| other != node).collect();
    let each = others
        .iter()
        .map(|other| (other.clone(), vec![node.clone()]));
    let mut cut_off: Vec<_> = each.collect();
    cut_off.push((node.clone(), others));
    let mut networks = context.plan.networks_of_fault(link.network.as_ref());
    networks.retain(|name| context.plan.is_on(node, name));
    let fault = NetworkFault {
        step: step.label.to_string(),
        what: step.action.describe(),
        networks: networks.clone(),
        impairments: Vec::new(),
        pulled: Some(Cables {
            node: node.clone(),
            networks,
        }),
        cut_off,
        lasts: link.lasts,
    };
    network::begin(context, fault).await
}
