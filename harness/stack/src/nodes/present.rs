//! Who takes part at a moment of a run: steps crash nodes and stop daemons, and what is down on purpose is not waited for.

use sanlab_plan::{LayerKind, NodeName};

/// Those of `some` that are among `others`, in the order of `some`.
pub(crate) fn those(some: &[NodeName], others: &[NodeName]) -> Vec<NodeName> {
    let found = some.iter().filter(|node| others.contains(node));
    found.cloned().collect()
}

/// The nodes of a run at a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Present {
    /// Those that run, in the order of their numbers.
    pub there: Vec<NodeName>,
    /// Those that have the volume mounted.
    pub mounted: Vec<NodeName>,
    /// Where a step stopped daemons of a layer and nothing has started them since.
    pub stopped: Vec<(NodeName, LayerKind)>,
}

impl Present {
    /// These nodes run, and nothing is stopped.
    pub fn all(there: &[NodeName]) -> Self {
        Self {
            there: there.to_vec(),
            ..Self::default()
        }
    }

    /// Whether a step stopped daemons of that layer there.
    pub fn is_stopped(&self, node: &NodeName, kind: LayerKind) -> bool {
        self.stopped
            .iter()
            .any(|(other, of)| other == node && *of == kind)
    }

    /// The nodes whose own disks other nodes can reach, if they are served at all.
    pub(crate) fn serving(&self) -> Vec<NodeName> {
        let serves = |node: &&NodeName| {
            let mut stopped = self.stopped.iter();
            !stopped.any(|(other, kind)| other == *node && kind.serves_disks())
        };
        self.there.iter().filter(serves).cloned().collect()
    }
}

/// What a layer must know of the nodes at a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peers {
    /// Its nodes that run, in the order of their numbers.
    pub there: Vec<NodeName>,
    /// Those of them where no step has stopped its daemons.
    pub active: Vec<NodeName>,
    /// The nodes, with this layer or not, whose own disks can be reached.
    pub serving: Vec<NodeName>,
}

impl Peers {
    /// These nodes run, and nothing is stopped.
    pub fn all(there: &[NodeName]) -> Self {
        Self {
            there: there.to_vec(),
            active: there.to_vec(),
            serving: there.to_vec(),
        }
    }
}
