//! Marks in kernel logs: a console hears what was written before a mark before it hears the mark.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use sanlab_plan::NodeName;
use tokio::sync::watch;

/// What stands before the number of a mark.
const WORDS: &str = "sanlab hears up to mark ";

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
