//! Waiting for a guest to be ready: declared, with a deadline and a reason.

use std::time::Duration;

/// Something that comes true in a guest by and by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Words that finish "see that ...".
    pub what: String,
    /// True when it exits with 0; what it printed last stands in the error.
    pub script: String,
    /// How long it is awaited.
    pub deadline: Duration,
    /// Time between two looks.
    pub interval: Duration,
}
