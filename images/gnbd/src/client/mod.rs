//! The client: control requests, and the relay between the kernel's nbd driver and a server.
//!
//! The historic client was a kernel module. Here the kernel's own nbd driver talks to a process, one for each device,
//! that translates to GNBD: [`Relay`]. It keeps what the module kept, above all the payloads of unanswered writes, and
//! sends it again to a server that has come back.
//!
//! # Decisions
//!
//! - Every login is preceded by `KILL_GSERV` and its answer: when a request is sent again, nothing that was sent
//!   before can be applied any more. A server that does not answer it is not used.
//! - Cached exports wait for ever. Uncached ones are failed only when the cluster says that the server is fenced
//!   ([`Policy::Fence`]); `gnbd_import -F` gives that up for speed ([`Policy::FailFast`]), and dm-multipath with it
//!   is safe only if the storage is fenced by other means.
//! - A server is fenced whether or not it is a member of this node's cluster (storage machines may have clusters of
//!   their own), but only while another server answers: else this node may be the one that is cut off. With one
//!   server alone nothing is ever fenced, and requests wait. Fencing before the last login was another's.
//! - The death of a server's process alone fails nothing: it is looked for again after an eighth of the time that it
//!   has been away, at least every two seconds, and gets everything again. `gnbd_import -D` fails requests at once
//!   when the process is seen to be dead; `monitor.rs` tells what that proves, and where it does not.
//! - A ban, another protocol version or another size of the export fail everything at once: the server is there and
//!   has said that nothing more will be applied. Any other refusal is waited out.
//! - The kernel's own timer never fires before the relay's: it is off, but for fail-fast, where it is a minute later.
//! - Reads and writes beyond the end, of length 0, and all commands but READ, WRITE and FLUSH are answered here.
//! - Addresses are resolved once, when the device is imported: no name service stands in the way of a write-out.

mod attach;
mod device;
mod fencing;
#[doc(hidden)]
pub mod fuzz;
mod host;
mod inbox;
mod link;
mod listing;
mod monitor;
mod nbd;
pub mod netlink;
mod notice;
mod outbox;
mod pool;
mod questions;
mod receiver;
mod relay;
mod remote;
mod replies;
mod request;
mod settings;
mod status;
mod supervisor;
mod table;
mod usage;

pub use attach::Driver;
pub use device::Device;
pub use host::{Host, Machine};
pub use listing::describe;
pub use monitor::{Policy, State};
pub use nbd::{
    Cookie, NBD_REPLY_MAGIC, NBD_REPLY_SIZE, NBD_REQUEST_MAGIC, NBD_REQUEST_SIZE, NbdCommand,
    NbdReply, NbdRequest, errno,
};
pub use receiver::{PROGRAM as RECEIVER, stay_in_memory, timestamp};
pub use relay::{End, Relay};
pub use remote::{Remote, Status};
pub use request::{Endpoint, LONG_PATIENCE, PATIENCE, RequestError, Server, Session};
pub use settings::{Fencer, Log, RETRY_MOST, Settings, Timing};
pub use supervisor::run as receive;
