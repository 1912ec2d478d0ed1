//! How much a server bears from its peers before it lets them go.

use std::time::Duration;

/// Numbers and times. The defaults hold a server under 64 MiB of buffers, whatever comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections whose control request is not whole yet. One more, and the oldest is closed.
    pub asking: usize,
    /// Control requests that are being answered.
    pub answering: usize,
    /// Connections in the data phase. One more, and it is closed without an answer, which a client takes as a
    /// reason to come again.
    pub sessions: usize,
    /// Threads of one connection, that is to say its requests under way.
    pub workers_per_session: usize,
    /// Threads of all connections, the first of each not counted.
    pub extra_workers: usize,
    /// Exports.
    pub exports: usize,
    /// Banned nodes, and again as many whose timestamps are known.
    pub nodes: usize,
    /// Until a control request must be whole.
    pub control_request: Duration,
    /// Until a data request that has begun must be whole, and until a peer that reads nothing is let go.
    pub data_request: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            asking: 256,
            answering: 256,
            sessions: 128,
            workers_per_session: 16,
            extra_workers: 256,
            exports: 1024,
            nodes: 4096,
            control_request: Duration::from_secs(10),
            data_request: Duration::from_secs(30),
        }
    }
}
