//! Why nodes are down.

use std::fmt;

use sanlab_plan::NodeName;
use sanlab_record::Excuse;

/// A node that was there and is down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeDown {
    pub(crate) reason: DownReason,
    /// It had the volume mounted.
    pub(crate) mounted: bool,
}

/// What ended a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DownReason {
    /// A step of the scenario, by its label.
    Step(String),
    /// A step that took it out of the cluster, by its label.
    Removed(String),
    /// It fenced itself, as the step of that label expects.
    FencedItself(String),
    /// Its power was cut because that node asked for it.
    Fenced(NodeName),
}

impl fmt::Display for DownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step(step) => write!(f, "it was crashed by step {step}"),
            Self::Removed(step) => write!(f, "it was removed by step {step}"),
            Self::FencedItself(step) => write!(f, "it fenced itself in step {step}"),
            Self::Fenced(by) => write!(f, "it was fenced by {by}"),
        }
    }
}

impl DownReason {
    /// What is said of that which follows from the loss of `node`.
    pub(crate) fn excuse(&self, node: &NodeName) -> Excuse {
        let node = node.to_string();
        match self {
            Self::Step(step) | Self::Removed(step) | Self::FencedItself(step) => Excuse::Fault {
                step: step.clone(),
                node,
            },
            Self::Fenced(by) => Excuse::Fenced {
                node,
                by: by.to_string(),
            },
        }
    }
}
