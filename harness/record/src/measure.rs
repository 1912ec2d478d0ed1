//! What was measured: repetitions with what they cost each node, and CPU and network over time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One repetition of a measuring step: all of its writers or readers together, from their common start to the end of the
/// last. What each of them said of itself stands in the samples of the same step and repetition.
///
/// `dd` and `write` steps in the foreground are measurements of one repetition. Those in the background are none: their
/// cost cannot be told from that of the steps beside them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// The step's label.
    pub step: String,
    /// From 1; warm-ups count on their own.
    pub repetition: u32,
    /// It was done to warm caches up, and is no figure.
    pub warm_up: bool,
    /// What was done.
    pub work: Work,
    /// When the first of them reported that it began, seconds since the run began.
    pub at: f64,
    /// From then to when the last reported that it was done, by the host's clock.
    pub seconds: f64,
    /// Bytes that all of them moved together.
    pub bytes: u64,
    /// What it cost every node that was there, servers and idle ones too.
    pub nodes: BTreeMap<String, Cost>,
}

/// What a measuring step does, as in scenario files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Work {
    /// `dd`, `fio`, or `write` for the writer of numbered blocks.
    pub tool: String,
    /// `write`, `read`, `randwrite`, `randread`, `rw`, `randrw`.
    pub rw: String,
    /// Who does it.
    pub on: Vec<String>,
    /// Bytes of a request.
    pub block_bytes: u64,
    /// Bytes that each of them moves in a repetition; 0 where the time is what is given.
    pub bytes_each: u64,
    /// How long each of them goes on, where the time is what is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime_seconds: Option<f64>,
    /// Requests under way at a time.
    pub queue_depth: u32,
    /// Whether it goes past the page cache (`O_DIRECT`).
    pub direct: bool,
    /// When the data is forced out: `never`, `end` (one fsync), `each` (with every request).
    pub sync: String,
}

/// What a stretch of time cost a node, and what it did over the network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Instructions that the guest executed, kernel and idle loop included: counted by QEMU's translator. Absent where
    /// nothing counts: under KVM, where QEMU does not load the plugin, with more than one virtual CPU before QEMU 9.0, or when
    /// it was not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instructions: Option<u64>,
    /// CPU seconds that its QEMU used on the host.
    pub host_cpu_seconds: f64,
    /// Bytes that the guest sent into the switch.
    pub sent_bytes: u64,
    /// Bytes that the switch delivered to the guest.
    pub received_bytes: u64,
}

/// Bytes in equal stretches of time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// When the first stretch begins, seconds since the run began.
    pub from: f64,
    /// The length of each, seconds.
    pub every: f64,
    /// Bytes in each.
    pub bytes: Vec<u64>,
}

/// Every node over the run's time, in stretches of about half a second.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Timeline {
    /// When each stretch ended, seconds since the run began; the first began at the time of `from`.
    pub at: Vec<f64>,
    /// When the first stretch began.
    pub from: f64,
    /// By node: what each stretch cost it. All lists are as long as `at`; a node that is not there costs nothing.
    pub nodes: BTreeMap<String, Lane>,
}

/// One node's line of the timeline.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Lane {
    /// CPU seconds that its QEMU used on the host.
    pub host_cpu_seconds: Vec<f64>,
    /// Bytes that the guest sent into the switch.
    pub sent_bytes: Vec<u64>,
    /// Bytes that the switch delivered to the guest.
    pub received_bytes: Vec<u64>,
}
