//! Things that happened, in order.

use serde::{Deserialize, Serialize};

/// One thing that happened in a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Seconds since the run began.
    pub at: f64,
    /// The phase it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// The node it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventKind {
    /// A phase began: images, boot, each layer, each step, teardown.
    PhaseStarted,
    /// A phase ended well after so many seconds.
    PhaseEnded {
        /// How long it took.
        seconds: f64,
    },
    /// The run waits for memory or CPUs that other runs hold.
    Waiting {
        /// What is awaited, and who holds it.
        what: String,
    },
    /// Progress within a phase, for people.
    Progress {
        /// One line.
        text: String,
    },
    /// A node's agent answered for the first time.
    Answered {
        /// Seconds since its QEMU was started.
        seconds: f64,
    },
    /// The kernel of a node said something that tells about the cluster (a node joined, a slot was taken).
    KernelSaid {
        /// The line.
        line: String,
    },
    /// Something was measured.
    Measured {
        /// The step.
        step: String,
        /// The figure, `MiB/s`.
        mib_per_second: f64,
    },
    /// Something went wrong; the run goes on to collect and to end what it started.
    Failed {
        /// The whole message.
        message: String,
    },
    /// A file was kept for the post-mortem.
    Collected {
        /// Path relative to the record's folder.
        file: String,
    },
}
