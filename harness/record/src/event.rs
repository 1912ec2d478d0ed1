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
    /// The node was ended without warning, as a step says.
    Crashed {
        /// `power`: its power was cut; `panic`: its kernel panicked.
        how: String,
        /// So long after the step began: drawn from the run's seed, or at once.
        after_seconds: f64,
    },
    /// The node's power was cut because another node asked for it.
    Fenced {
        /// Who asked.
        by: String,
    },
    /// The run goes on from a fleet that was kept before, instead of building it.
    Forked {
        /// The checkpoint's name, `layers` or what a step calls it.
        checkpoint: String,
        /// Its key in the store, sha256 in hex.
        key: String,
        /// How long ago it was kept.
        age_seconds: f64,
    },
    /// All guests of a fork run, from one instant.
    Resumed {
        /// Seconds since the first of their QEMUs was started.
        seconds: f64,
    },
    /// The fleet was kept as it stands, for later runs.
    Kept {
        /// The checkpoint's name.
        checkpoint: String,
        /// Its key in the store.
        key: String,
        /// How long that took.
        seconds: f64,
        /// What it takes on disk.
        bytes: u64,
    },
    /// The fleet could not be kept, or should not be; the run goes on.
    NotKept {
        /// The checkpoint's name.
        checkpoint: String,
        /// Why.
        reason: String,
    },
    /// Something in the store was not what it should be, and was thrown away.
    Discarded {
        /// `image`, `template` or `checkpoint`.
        kind: String,
        /// Its key in the store.
        key: String,
        /// What was wrong.
        reason: String,
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
