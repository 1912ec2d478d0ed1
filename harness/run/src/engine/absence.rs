//! Why nodes are down.

use std::fmt;

use sanlab_plan::NodeName;

/// Why a node that was there is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Absence {
    pub(crate) cause: Cause,
    /// It had the volume mounted.
    pub(crate) mounted: bool,
}

/// What ended a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A step of the scenario, by its phase.
    Step(String),
    /// Its power was cut because that node asked for it.
    Fenced(NodeName),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step(step) => write!(f, "it was crashed by {step}"),
            Self::Fenced(by) => write!(f, "it was fenced by {by}"),
        }
    }
}
