//! Nodes that fence themselves, as a step expects: their end is no end of the run.

use std::sync::Arc;
use std::time::Duration;

use sanlab_fleet::FleetEvent;
use sanlab_plan::{CrashKind, Expectation, NodeName};
use sanlab_record::EventKind;

use crate::Failure;
use crate::backend::Notice;
use crate::engine::context::RunContext;
use crate::engine::faults::down::DownReason;

/// From the error of a command on a node to the news of the node's end.
const NEWS: Duration = Duration::from_secs(10);

/// The node that has come to its end in a way that a step expects.
pub(crate) fn expected(context: &RunContext, notice: &Notice) -> Option<NodeName> {
    let Notice::Event(FleetEvent {
        node: Some(node),
        kind,
    }) = notice
    else {
        return None;
    };
    let node = NodeName::parse(node).ok()?;
    let is_own = match kind {
        EventKind::Panicked { .. } => true,
        // In QEMU's words, `ShutdownCause` of its QMP reference.
        EventKind::QemuExited { cause, .. } => cause.as_deref() == Some("guest-reset"),
        _ => false,
    };
    let is_gone = || {
        let down = context.down(&node);
        down.is_some_and(|it| matches!(it.reason, DownReason::FencedItself(_)))
    };
    (is_own && (context.expects_fencing(&node).is_some() || is_gone())).then_some(node)
}

/// Ends what is left of the node; it is down then as after a crash.
pub(crate) async fn settle(context: Arc<RunContext>, node: NodeName) -> Result<(), Failure> {
    let _switch = context.power.lock().await;
    let Some(step) = context.expects_fencing(&node) else {
        return Ok(());
    };
    if !context.departs(&node, DownReason::FencedItself(step.clone())) {
        return Ok(());
    }
    context.meets(&step, |it| is_of(it, &node));
    let gone = context.backend.crash(&node, CrashKind::Power).await;
    gone.map_err(|failure| failure.during(format!("end {node}, which has fenced itself")))?;
    context.fenced.send_modify(|fenced| {
        fenced.insert(node);
    });
    Ok(())
}

/// Whether that is expected of the node.
pub(crate) fn is_of(expectation: &Expectation, of: &NodeName) -> bool {
    matches!(expectation, Expectation::FencesItself { node } if node == of)
}

/// Returns when the node has fenced itself and is down; at the latest after a moment if no step expects it to.
pub(crate) async fn news(context: &RunContext, node: &NodeName) {
    if context.expects_fencing(node).is_some() {
        // If it does not come, the command's error stands.
        let _ = tokio::time::timeout(NEWS, gone(context, node)).await;
    }
}

/// Returns when the node has fenced itself and is down.
pub(crate) async fn gone(context: &RunContext, node: &NodeName) {
    let mut fenced = context.fenced.subscribe();
    // The sender lives as long as this.
    let _ = fenced.wait_for(|fenced| fenced.contains(node)).await;
}
