//! `pause`: nodes stand still for a time, and go on.

use sanlab_plan::{NodeName, Pause};
use sanlab_record::EventKind;
use tokio::time::sleep;

use super::Doing;
use crate::Failure;
use crate::engine::faults::network;
use crate::engine::join;

pub(super) async fn perform(doing: Doing<'_>, pause: &Pause) -> Result<(), Failure> {
    let Doing {
        context,
        step,
        scope,
    } = doing;
    let label = step.label.as_str();
    let since = context.now();
    // The others do not reach a node that stands still, and it has not heard of them when it goes on.
    let names = context.plan.nodes.iter().map(|node| &node.name);
    let apart = pause.on.iter().flat_map(|still| {
        let others: Vec<NodeName> = names.clone().filter(|one| *one != still).cloned().collect();
        let each = others.clone().into_iter();
        each.map(move |other| (other, vec![still.clone()]))
            .chain([(still.clone(), others)])
    });
    let networks = context.plan.networks_of_fault(None);
    network::cut_off(context, label, &networks, apart.collect());
    scope.say(
        None,
        EventKind::FaultBegan {
            what: step.action.describe(),
        },
    );
    let stopped = pause.on.iter().map(|node| async move {
        let done = context.backend.pause(node).await;
        done.map_err(|failure| failure.during(format!("let {node} stand still")))
    });
    let stopped = join::all(stopped).await;
    if stopped.is_ok() {
        sleep(pause.lasts).await;
    }
    // One whose power was cut meanwhile has nothing to go on with.
    let there = pause.on.iter();
    let there = there.filter(|node| context.down(node).is_none());
    let resumed = there.map(|node| async move {
        let done = context.backend.resume(node).await;
        done.map_err(|failure| failure.during(format!("let {node} go on")))
    });
    let resumed = join::all(resumed).await;
    let at = context.now();
    context.faults(|faults| faults.whole_again(label, at));
    scope.say(
        None,
        EventKind::FaultEnded {
            step: label.to_owned(),
            seconds: at - since,
        },
    );
    stopped.and(resumed).map(drop)
}
