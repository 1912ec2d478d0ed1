//! What is said on a supervisor's socket: one request a connection, a line of JSON, and a reply in the same form. Behind the
//! reply to a command follow frames as the guest's agent speaks them, of one job.

use std::io;
use std::path::PathBuf;

use sanlab_vm::frame::Job;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// The number of a connection's only job.
pub(crate) const JOB: Job = 0;

/// What a fleet is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    /// How is it?
    Status,
    /// End. The connection is closed when nothing is left.
    Down,
    /// Where is the log of a node's console? The connection is closed when the fleet ends.
    Console {
        /// The node's name.
        node: String,
    },
    /// Show what a node's network card carries from now on, until the client says no more. Behind the reply follow the pieces of a
    /// pcap file, each with its length before it (32 bits, the highest first); after one of no length, how many frames there were
    /// and how many are missing (64 bits each).
    Capture {
        /// The node's name.
        node: String,
        /// The network's name; the first, if none is given.
        network: Option<String>,
    },
    /// Let a debugger of a node's kernel connect, until the connection is closed.
    Gdb {
        /// The node's name.
        node: String,
    },
    /// Take a step now. The reply comes when it is done; a connection that is closed before gives it up.
    Step {
        /// The scenario that has it, for the same nodes and layers.
        file: PathBuf,
        /// Its label.
        label: String,
    },
    /// Run a command.
    Exec(Exec),
}

/// A command for one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Exec {
    /// The node's name.
    pub(crate) node: String,
    /// The program and its arguments.
    pub(crate) argv: Vec<String>,
    /// `NAME=VALUE`.
    pub(crate) environment: Vec<String>,
    /// Rows and columns of its terminal, if it is to have one.
    pub(crate) terminal: Option<(u16, u16)>,
}

/// What a fleet answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    /// To [`Request::Status`].
    Status(Box<Status>),
    /// To [`Request::Down`]: it is about to end.
    Ends,
    /// To [`Request::Console`].
    Console {
        /// The log; it grows.
        log: PathBuf,
    },
    /// To [`Request::Exec`], [`Request::Step`] and [`Request::Capture`]: it is under way.
    Started,
    /// To [`Request::Gdb`].
    Gdb {
        /// Where QEMU listens, in gdb's remote protocol.
        socket: PathBuf,
        /// What gdb calls the architecture.
        architecture: String,
        /// The kernel's own file with debug information, if that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        symbols: Option<PathBuf>,
    },
    /// To [`Request::Step`], once it is done.
    StepDone {
        /// How long it took.
        seconds: f64,
    },
    /// To [`Request::Step`], once what was done has failed. The fleet stays.
    StepFailed {
        /// How.
        message: String,
    },
    /// It cannot be done, and why.
    Refused {
        /// In words.
        reason: String,
        /// Something was asked for that is not there.
        mistaken: bool,
    },
}

/// How a fleet is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Status {
    /// Its name.
    pub(crate) name: String,
    /// The scenario's file.
    pub(crate) scenario: PathBuf,
    /// The supervisor's process.
    pub(crate) pid: u32,
    /// Its nodes, once they are up.
    pub(crate) nodes: Vec<String>,
    /// When the nodes were up, in seconds since 1970.
    pub(crate) up: Option<f64>,
    /// When its time is over, in seconds since 1970.
    pub(crate) ends: Option<f64>,
    /// Where consoles are logged.
    pub(crate) logs: PathBuf,
}

/// Writes a request or a reply.
pub(crate) async fn send(
    to: &mut (impl AsyncWrite + Unpin),
    message: &impl Serialize,
) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    to.write_all(&line).await
}

/// Reads one.
pub(crate) async fn receive<T: DeserializeOwned>(
    from: &mut (impl AsyncBufRead + Unpin),
) -> io::Result<T> {
    let mut line = Vec::new();
    from.read_until(b'\n', &mut line).await?;
    if line.last() != Some(&b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_slice(&line)?)
}
