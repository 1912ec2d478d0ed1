//! `partition`: the switch drops what groups of nodes send to each other.

use sanlab_fleet::{Effect, Impairment};
use sanlab_plan::{NodeName, Partition};

use super::Doing;
use crate::Failure;
use crate::engine::faults::network::{self, NetworkFault};

pub(super) async fn perform(doing: Doing<'_>, partition: &Partition) -> Result<(), Failure> {
    let Doing { context, step, .. } = doing;
    let groups = partition.groups.iter().enumerate();
    let pairs = groups.clone().flat_map(|(i, from)| {
        let others = groups.clone().filter(move |(j, _)| i != *j);
        others.map(move |(j, to)| ((i, from), (j, to)))
    });
    let impairments = pairs
        .filter(|((i, _), (j, _))| !partition.one_way || i < j)
        .map(|((_, from), (_, to))| cut(from, to))
        .collect();
    // One way or both: without answers nothing goes on.
    let cut_off = groups.clone().flat_map(|(i, group)| {
        let others = groups.clone().filter(move |(j, _)| i != *j);
        let others: Vec<NodeName> = others.flat_map(|(_, other)| other.clone()).collect();
        group.iter().map(move |node| (node.clone(), others.clone()))
    });
    let fault = NetworkFault {
        step: step.label.to_string(),
        what: step.action.describe(),
        networks: context.plan.networks_of_fault(partition.network.as_ref()),
        impairments,
        pulled: None,
        cut_off: cut_off.collect(),
        lasts: partition.lasts,
    };
    network::begin(context, fault).await
}

fn cut(from: &[NodeName], to: &[NodeName]) -> Impairment {
    let names = |nodes: &[NodeName]| nodes.iter().map(ToString::to_string).collect();
    Impairment {
        from: names(from),
        to: names(to),
        effect: Effect {
            cut: true,
            ..Effect::default()
        },
    }
}
