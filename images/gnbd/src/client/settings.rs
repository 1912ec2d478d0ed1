//! What a relay is told at its start.

use std::fmt::{self, Debug, Formatter};
use std::time::Duration;

use super::monitor::Policy;
use super::request::Endpoint;
use crate::protocol::{DeviceName, NodeName};

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// A connection, and the answer to LOGIN.
    pub dial: Duration,
    /// The pause after a failed attempt to log in: an eighth of the time for which there has been no link, so that
    /// whoever was away for seconds is found within one. This at least ...
    pub retry_first: Duration,
    /// ... and this at most.
    pub retry_most: Duration,
    /// Silence before a ping is sent.
    pub quiet: Duration,
    /// Silence after it before the link counts as dead. A server that works on one request at a time answers a ping
    /// only after the requests before it.
    pub ping: Duration,
    /// Between checks of a device that has timed out.
    pub pause: Duration,
    /// For what is outstanding at the end.
    pub drain: Duration,
}

/// The longest pause between attempts to log in, unless another is wished.
pub const RETRY_MOST: Duration = Duration::from_secs(2);

impl Default for Timing {
    fn default() -> Self {
        Self {
            dial: Duration::from_secs(10),
            retry_first: Duration::from_millis(100),
            retry_most: RETRY_MOST,
            quiet: Duration::from_secs(10),
            ping: Duration::from_secs(30),
            pause: Duration::from_secs(5),
            drain: Duration::from_secs(5),
        }
    }
}

/// Whether the server is fenced now; may take its time. It is told when the last login succeeded, by the clock that
/// counts from the machine's boot: fencing before that was another's.
pub type Fencer = Box<dyn Fn(Duration) -> bool + Send>;
/// Takes a line for the system's log.
pub type Log = Box<dyn Fn(&str) + Send>;

/// What a relay needs to know.
pub struct Settings {
    /// Where the server is.
    pub endpoint: Endpoint,
    /// The export.
    pub device: DeviceName,
    /// This node, by the name that the server is told.
    pub node: NodeName,
    /// Constant from boot to boot; see [`LoginRequest`](crate::protocol::LoginRequest).
    pub timestamp: u64,
    /// The size that the kernel believes in.
    pub sectors: u64,
    /// Whether writes are refused here.
    pub read_only: bool,
    /// When requests are given up.
    pub policy: Policy,
    /// For how long the server's process may be dead before they are given up, whatever the policy says; only where
    /// nobody else than the server's own kernel refuses connections in its name. `None`: that is no reason.
    pub dead_peer_grace: Option<Duration>,
    /// How long things may take.
    pub timing: Timing,
    /// Asked under [`Policy::Fence`].
    pub fencer: Fencer,
    /// Where to tell of lost links.
    pub log: Log,
}

impl Debug for Settings {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("endpoint", &self.endpoint)
            .field("device", &self.device)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
