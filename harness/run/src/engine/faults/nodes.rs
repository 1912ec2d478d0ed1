//! Faults of nodes themselves, of their disks, clocks and memory: a script on each node begins one, another ends it.

use std::sync::Arc;
use std::time::Duration;

use sanlab_plan::{NodeName, Step};
use sanlab_record::Excuse;

use crate::Failure;
use crate::backend::Ended;
use crate::engine::context::RunContext;
use crate::engine::faults::excusing::{Broken, Fault};
use crate::engine::faults::open::{self, Mend, Undo};
use crate::engine::join;

/// How long the end of one may take on a node.
const MEND: Duration = Duration::from_secs(60);

/// A fault of nodes that is to begin.
pub(crate) struct NodeFault<'a> {
    /// The label of the step.
    pub(crate) step: &'a str,
    /// In words.
    pub(crate) what: String,
    pub(crate) on: &'a [NodeName],
    pub(crate) mend: Mend,
    /// Their disks fail: that excuses errors of what lies on them.
    pub(crate) fails_disks: bool,
    /// When it ends by itself.
    pub(crate) lasts: Option<Duration>,
}

impl<'a> NodeFault<'a> {
    /// The fault of a step; nothing is excused that follows from it.
    pub(crate) fn of(
        step: &'a Step,
        on: &'a [NodeName],
        mend: Mend,
        lasts: Option<Duration>,
    ) -> Self {
        Self {
            step: step.label.as_str(),
            what: step.action.describe(),
            on,
            mend,
            fails_disks: false,
            lasts,
        }
    }
}

/// It begins with what is done on each node. Where that fails, what was done is undone.
pub(crate) async fn begin<F>(
    context: &Arc<RunContext>,
    fault: NodeFault<'_>,
    broken: impl Fn(NodeName) -> F,
) -> Result<(), Failure>
where
    F: Future<Output = Result<Ended, Failure>>,
{
    let NodeFault {
        step,
        what,
        on,
        mend,
        fails_disks,
        lasts,
    } = fault;
    let since = context.now();
    if fails_disks {
        context.faults(|faults| {
            for node in on {
                let excuse = Excuse::Fault {
                    step: step.to_owned(),
                    node: node.to_string(),
                };
                faults.begins(Fault::new(node.clone(), Broken::Disk, excuse, since));
            }
        });
    }
    let each = on.iter().map(async |node| {
        let ended = broken(node.clone()).await.and_then(Ended::success);
        ended.map_err(|failure| failure.during(format!("{what} on {node}")))
    });
    if let Err(failure) = join::all(each).await {
        let script = mend.script(context.now() - since);
        let mended = self::mend(context, step, on, &script).await;
        // What did not begin excuses nothing.
        let at = context.now();
        context.faults(|faults| faults.whole_again(step, at));
        let failures = std::iter::once(failure).chain(mended.err());
        return Failure::together(failures).map_or(Ok(()), Err);
    }
    let undo = Undo::Nodes {
        on: on.to_vec(),
        mend,
    };
    open::began(context, step, (what, undo), since, lasts);
    Ok(())
}

/// Makes those nodes whole again that are there.
pub(super) async fn mend(
    context: &RunContext,
    step: &str,
    on: &[NodeName],
    script: &str,
) -> Result<(), Failure> {
    let there = on.iter().filter(|node| context.down(node).is_none());
    let mended = there.map(async |node| {
        let ended = context.backend.exec(node, script, MEND).await;
        match ended.and_then(Ended::success) {
            // One that has lost its power meanwhile comes up whole.
            Err(failure) if context.down(node).is_none() => {
                Err(failure.during(format!("end the fault of step {step} on {node}")))
            }
            _ => {
                context.open_faults.leaves(step, node);
                Ok(())
            }
        }
    });
    join::all(mended).await.map(drop)
}
