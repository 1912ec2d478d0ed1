//! The server: exports, bans, connections.
//!
//! One thread accepts connections and gathers their control requests (`control`); whole requests are answered on
//! threads of their own (`answer`), and the thread of a successful LOGIN goes on with the data phase (`data`),
//! joined by more when a client has more than one request under way. `gnbd_export` comes in by a Unix socket
//! (`local`). All state is in memory and lost with the process: exports, bans, timestamps.
//!
//! # Decisions
//!
//! Where the specification leaves a choice, or the historic server was careless:
//!
//! - Every write is synchronous (`O_SYNC`), and uncached exports pass by the page cache (`O_DIRECT`): what is
//!   acknowledged is on the disk.
//! - FENCE and `KILL_GSERV` are answered when no thread of the node's connections is left, so that nothing of theirs
//!   is written any more. A LOGIN is checked and entered in one step, so that none slips in between.
//! - A ban ends by UNFENCE, by a changed timestamp, or with the server; not by the first login of a node that the
//!   server had not seen before, as it once did. Bans are not kept over a restart of the server: a client that was
//!   fenced must be fenced at a restarted server again.
//! - What goes wrong with a disk, a range or a read-only export is answered with the error -1, and the connection goes
//!   on; the historic server ended it. Out-of-range READs have no payload and none is waited for.
//! - Requests that overlap are carried out in their order, others side by side; answers are in no order.
//! - A LOGIN to an export whose size has changed since it was exported gets EIO. One too many is closed without an
//!   answer, which clients take as a reason to come again.
//! - Names that are no printable UTF-8, are empty, have no end or, for devices, have a slash or are `.` or `..`, get
//!   EINVAL: they end up in paths, listings and logs.
//! - A path that does not fit the record of the Unix socket is an error, and is not cut: another file would be served.
//! - Without a cluster (`-n`) uncached exports and FENCE are refused, as ever. There is no `gnbd_clusterd`: nothing
//!   keeps a node from leaving its cluster while it has uncached exports.
//! - SIGTERM, and `gnbd_serv -K`, end the process at once, as a crash would: what is acknowledged is written, and
//!   what is not will be sent again.
//! - It is one process, and however it ends, its listening socket is closed when its last write to a disk has
//!   returned: by the order of things at a shutdown, else by the kernel, which closes a process's files when the
//!   last of its threads is gone, and lets no thread go in the middle of a direct or synchronous write. Clients may
//!   rely on it: `gnbd_import -D`.
//!
//! ```
//! use gnbd::log::Log;
//! use gnbd::protocol::NodeName;
//! use gnbd::server::{Bind, Server, ServerOptions};
//!
//! let bind = Bind::Address("127.0.0.1:0".parse()?);
//! let server = Server::start(ServerOptions::new(bind, NodeName::new("storage0a")?, Log::memory("gnbd_serv")))?;
//! assert_ne!(server.address().port(), 0);
//! server.stop();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod answer;
mod backing;
mod buffer;
mod control;
mod data;
mod exports;
mod fences;
mod flights;
pub(crate) mod fuzzing;
mod inbox;
mod limits;
mod link;
mod listener;
mod local;
mod login;
mod question;
mod state;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::OwnedFd;
use rustix::io::Errno;

pub(crate) use buffer::Buffer;
pub use limits::Limits;
pub use listener::Bind;

use crate::error::Error;
use crate::log::Log;
use crate::protocol::local::{ExportDescription, SessionDescription};
use crate::protocol::{DeviceName, NodeName};
use state::Shared;

/// Of the threads that serve clients: their frames are small, and there can be hundreds.
const STACK: usize = 128 << 10;

/// What a server is told before it starts.
#[derive(Debug)]
pub struct ServerOptions {
    /// Where it listens.
    pub bind: Bind,
    /// Its own name, for clients that ask.
    pub node: NodeName,
    /// Whether there is a cluster manager. Without one, uncached exports and FENCE are refused: nobody could say when
    /// a client may give a write up.
    pub cluster: bool,
    /// How much it bears.
    pub limits: Limits,
    /// Whom it tells of bad peers and disks.
    pub log: Log,
}

impl ServerOptions {
    /// A server in a cluster, with the usual limits.
    pub fn new(bind: Bind, node: NodeName, log: Log) -> Self {
        Self {
            bind,
            node,
            cluster: true,
            limits: Limits::default(),
            log,
        }
    }
}

/// A running server. Dropping it stops it.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    address: SocketAddr,
    wake: Arc<OwnedFd>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    /// Listens, and serves from now on.
    pub fn start(options: ServerOptions) -> Result<Self, Error> {
        let (listener, address) = listener::listen(&options.bind)?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|source| Error::host("make an eventfd", source))?;
        let mut server = Self {
            shared: Arc::new(Shared::new(options)),
            address,
            wake: Arc::new(wake),
            threads: Vec::new(),
        };
        let (shared, wake) = (Arc::clone(&server.shared), Arc::clone(&server.wake));
        server.spawn("gnbd-accept", move || {
            control::run(&shared, &listener, &wake);
        })?;
        Ok(server)
    }

    /// Listens on a Unix socket for `gnbd_export`, too.
    pub fn listen_locally(&mut self, socket: &Path) -> Result<(), Error> {
        let listener = listener::listen_locally(socket)?;
        let (shared, wake) = (Arc::clone(&self.shared), Arc::clone(&self.wake));
        self.spawn("gnbd-local", move || local::run(&shared, &listener, &wake))
    }

    fn spawn(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), Error> {
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(run)
            .map_err(|source| Error::host("start a thread", source))?;
        self.threads.push(thread);
        Ok(())
    }

    /// Where it listens, with the port that the kernel chose if none was given.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whom it tells.
    pub fn log(&self) -> &Log {
        &self.shared.log
    }

    /// Adds an export; its size is taken from the file, whatever the description says.
    pub fn create(&self, export: ExportDescription) -> Result<(), Errno> {
        self.shared.create(export)
    }

    /// Removes an export that no client uses.
    pub fn remove(&self, device: &DeviceName) -> Result<(), Errno> {
        self.shared.remove(device)
    }

    /// Marks an export invalid and ends its connections; returns when they have ended.
    pub fn invalidate(&self, device: &DeviceName) -> Result<(), Errno> {
        self.shared.invalidate(device)
    }

    /// The exports, newest first.
    pub fn exports(&self) -> Vec<ExportDescription> {
        self.shared.exports()
    }

    /// The connections in the data phase, newest first.
    pub fn sessions(&self) -> Vec<SessionDescription> {
        self.shared.sessions()
    }

    /// Sends keep-alives to idle connections, so that dead ones are found.
    pub fn validate(&self) {
        self.shared.validate();
    }

    /// Returns when a shutdown was asked for on the Unix socket.
    pub fn wait_for_shutdown(&self) {
        self.shared.wait_for_shutdown();
    }

    /// Ends every connection and returns when all have ended.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // The listening socket goes last: a client that is refused knows that nothing is written any more.
        self.shared.end_all_sessions();
        // The counter of an eventfd that is never read stays above zero: every poller sees it.
        let _ = rustix::io::write(&*self.wake, &1_u64.to_ne_bytes());
        for thread in self.threads.drain(..) {
            // A panic there has been told where it happened.
            let _ = thread.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}
