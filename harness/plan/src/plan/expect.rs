//! What a scenario declares beforehand: signs of trouble that a step brings about, and failures that are known.

use crate::document::word::words;
use crate::values::names::{NodeName, names};

/// A sign of trouble that a step brings about. It is in force from the step's begin to the end of the run, excuses what it
/// describes, and must come true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expectation {
    /// A kernel writes a line that matches.
    KernelLog {
        /// A regular expression.
        pattern: String,
        /// Whose kernel; never empty.
        on: Vec<NodeName>,
    },
    /// What these nodes serve fails: the others' errors on devices that need them.
    ErrorsOf {
        /// Never empty.
        nodes: Vec<NodeName>,
    },
    /// The node resets itself or panics to protect the cluster. The step ends when it is down.
    FencesItself {
        /// Which.
        node: NodeName,
    },
    /// The step itself, which may run in the background, ends with a failure of that kind.
    Fails {
        /// Which kind.
        kind: StepFailure,
    },
}

impl Expectation {
    /// What is expected, in a few words.
    pub fn describe(&self) -> String {
        match self {
            Self::KernelLog { pattern, on } => {
                format!("`{pattern}` in the kernel log of {}", names(on))
            }
            Self::ErrorsOf { nodes } => format!("errors of devices served by {}", names(nodes)),
            Self::FencesItself { node } => format!("{node} to fence itself"),
            Self::Fails { kind } => format!("its own failure ({kind})"),
        }
    }
}

words! {
    /// How a step may be expected to fail: the words of the record's failures.
    pub StepFailure, "kind of failure", "kinds of failure", "a kind of failure", r#""write_failed""# {
        /// A command ends badly.
        CommandFailed = "command_failed",
        /// A command does not end in time, although the guest answers.
        CommandTimedOut = "command_timed_out",
        /// A command ends otherwise than the step says.
        UnexpectedResult = "unexpected_result",
        /// A state that is waited for does not come about.
        ConditionNotMet = "condition_not_met",
        /// A node that is needed is down.
        NodeDown = "node_down",
        /// A writer gets an error.
        WriteFailed = "write_failed",
        /// Acknowledged blocks are lost.
        BlocksLost = "blocks_lost",
        /// Nodes see different bytes.
        Differences = "differences",
    }
}

/// A failure that is known: the run that fails so is reported as a known failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// A regular expression that is found in everything that failed.
    pub pattern: String,
    /// Why it fails, in a sentence.
    pub because: String,
    /// Where that is reported or discussed: an address, a message-id, a commit.
    pub source: String,
}
