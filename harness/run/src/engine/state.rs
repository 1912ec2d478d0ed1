//! What a run has done so far, in the form that outlives it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::engine::faults::excusing::KeptStopped;
use crate::evidence::ack_log::AckLog;

/// What has been done, as a checkpoint keeps it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct EngineState {
    pub(super) there: Vec<String>,
    pub(super) mounted: Vec<String>,
    pub(super) stopped: Vec<KeptStopped>,
    pub(super) acknowledged: BTreeMap<String, Acknowledged>,
    pub(super) ack_logs: BTreeMap<String, AckLog>,
}

/// A write that dd reported as done: from then on every node must see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Acknowledged {
    /// The step and node that wrote it, for messages.
    pub(crate) by: String,
    pub(crate) bytes: u64,
    pub(crate) content: Content,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Content {
    /// Zeros; the host works out their MD5 when it is asked for.
    Zeros,
    /// Bytes with this MD5, in hex, taken where they were made.
    Md5(String),
}
