//! `degrade`: the switch delays, loses, repeats or damages what passes between nodes.

use sanlab_fleet::{Effect, Impairment};
use sanlab_plan::{ByteSize, Degrade, Direction, NodeName};

use super::Doing;
use crate::Failure;
use crate::engine::faults::network::{self, NetworkFault};

pub(super) async fn perform(doing: Doing<'_>, degrade: &Degrade) -> Result<(), Failure> {
    let Doing { context, step, .. } = doing;
    let names = |nodes: &[NodeName]| nodes.iter().map(ToString::to_string).collect();
    let way = |from: &[NodeName], to: &[NodeName]| Impairment {
        from: names(from),
        to: names(to),
        effect: effect(degrade),
    };
    let (out, into) = (
        way(&degrade.on, &degrade.with),
        way(&degrade.with, &degrade.on),
    );
    let impairments = match degrade.direction {
        Direction::Both => vec![out, into],
        Direction::Out => vec![out],
        Direction::In => vec![into],
    };
    let fault = NetworkFault {
        step: step.label.to_string(),
        what: step.action.describe(),
        networks: context.plan.networks_of_fault(degrade.network.as_ref()),
        impairments,
        pulled: None,
        cut_off: Vec::new(),
        lasts: degrade.lasts,
    };
    network::begin(context, fault).await
}

fn effect(degrade: &Degrade) -> Effect {
    Effect {
        cut: false,
        delay: degrade.delay,
        jitter: degrade.jitter,
        loss: degrade.loss.fraction(),
        duplicate: degrade.duplicate.fraction(),
        reorder: degrade.reorder.fraction(),
        corrupt: degrade.corrupt.fraction(),
        rate: degrade.rate.map(ByteSize::bytes),
        mtu: degrade.mtu,
    }
}
