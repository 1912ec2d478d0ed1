//! Hears kernels out: what they had to say by a moment has been heard when [`catch_up`] returns. It leaves a mark in each kernel
//! log, and a console hears what was written before a mark before it hears the mark.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sanlab_plan::NodeName;
use sanlab_record::FailureKind;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::Failure;
use crate::engine::context::RunContext;
use crate::engine::join;
use crate::failure::Cause;

/// From the mark's writing in the guest to its reading on the host, both included.
const DEADLINE: Duration = Duration::from_secs(20);
/// What stands before the number of a mark.
const WORDS: &str = "sanlab hears up to mark ";

/// Leaves a mark in the kernel log of each of `nodes`, and waits until their consoles have come to it. `script` is run besides;
/// its outputs are given back, in the order of the nodes; that of a node that is down by then, or where it does not end,
/// is empty.
pub(crate) async fn catch_up(
    context: &RunContext,
    nodes: &[NodeName],
    script: impl Fn(&NodeName) -> String,
) -> Result<Vec<String>, Failure> {
    let mark = context.marks.next();
    // Of the least important level that the consoles are to hear.
    let write = format!("echo '<6>{mark}' >/dev/kmsg\n");
    let all = nodes.iter().map(|node| {
        let script = format!("{write}{}", script(node));
        async move {
            let deadline = Instant::now() + DEADLINE;
            let said = match context.backend.exec(node, &script, DEADLINE).await {
                Ok(ended) => ended.success()?,
                // Its kernel may be heard all the same.
                Err(failure) if failure.kind() == FailureKind::CommandTimedOut => String::new(),
                Err(_) if context.down(node).is_some() => return Ok(String::new()),
                Err(failure) => return Err(failure),
            };
            let come = timeout_at(deadline, context.marks.come(node, mark)).await;
            come.map(|()| said).map_err(|_| {
                let seen = "what is written to its kernel log does not come".to_owned();
                let after = DEADLINE;
                let silent = Failure::from(Cause::ConditionNotMet { after, seen });
                silent.on(node).during(format!("hear the kernel of {node}"))
            })
        }
    });
    join::by_turns(all).await
}

/// The marks of a run.
#[derive(Default)]
pub(crate) struct Marks {
    last: AtomicU64,
    /// By node the last one that was heard.
    heard: watch::Sender<BTreeMap<NodeName, Mark>>,
}

/// A mark, as it stands in a kernel log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark(u64);

impl Marks {
    /// Another mark than all before.
    pub(crate) fn next(&self) -> Mark {
        Mark(self.last.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Takes a line of a kernel log, without its time, if it is a mark.
    pub(crate) fn take(&self, node: &NodeName, line: &str) -> bool {
        let Some(mark) = line.strip_prefix(WORDS).and_then(|it| it.parse().ok()) else {
            return false;
        };
        self.heard.send_modify(|heard| {
            heard.insert(node.clone(), Mark(mark));
        });
        true
    }

    /// Returns when the mark has been heard on the node's console.
    pub(crate) async fn come(&self, node: &NodeName, mark: Mark) {
        let mut heard = self.heard.subscribe();
        let come = |heard: &BTreeMap<NodeName, Mark>| heard.get(node).is_some_and(|it| *it >= mark);
        // The sender lives as long as this.
        let _ = heard.wait_for(come).await;
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{WORDS}{}", self.0)
    }
}
