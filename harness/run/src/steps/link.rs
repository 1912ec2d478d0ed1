//! `link`: a network cable is pulled, or plugged in.

use std::sync::Arc;

use sanlab_plan::{Link, NodeName};

use super::Doing;
use crate::Failure;
use crate::engine::context::RunContext;
use crate::engine::network::{self, NetworkFault};
use crate::engine::open_faults;

pub(super) async fn perform(
    context: &Arc<RunContext>,
    doing: Doing<'_>,
    link: &Link,
) -> Result<(), Failure> {
    if let Some(pulled) = &link.ends {
        return open_faults::end(context, pulled.as_str()).await;
    }
    let node = &link.node;
    let names = context.plan.nodes.iter().map(|other| other.name.clone());
    let others: Vec<NodeName> = names.filter(|other| other != node).collect();
    let each = others
        .iter()
        .map(|other| (other.clone(), vec![node.clone()]));
    let mut cut_off: Vec<_> = each.collect();
    cut_off.push((node.clone(), others));
    let fault = NetworkFault {
        step: doing.step.label.to_string(),
        what: doing.step.action.describe(),
        impairments: Vec::new(),
        pulled: Some(node.clone()),
        cut_off,
        lasts: link.lasts,
    };
    network::begin(context, fault).await
}
