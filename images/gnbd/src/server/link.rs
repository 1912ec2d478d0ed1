//! One connection in the data phase, as the rest of the server sees it: who it is, and how to end it.

use std::io::{self, ErrorKind, IoSlice, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, TryLockError};

use rustix::net::{SendFlags, send};

use super::flights::Flights;
use crate::protocol::local::SessionDescription;
use crate::protocol::{DataReply, DeviceName, NodeName};

#[derive(Debug)]
pub(super) struct Link {
    pub(super) device: DeviceName,
    pub(super) node: NodeName,
    /// The thread that the connection began with; `gnbd_export -L` shows it where there once was a process.
    pub(super) thread: u32,
    pub(super) stream: TcpStream,
    pub(super) flights: Flights,
    /// Held while an answer is written, so that answers do not mix.
    outbox: Mutex<()>,
    ended: AtomicBool,
}

impl Link {
    pub(super) fn new(device: DeviceName, node: NodeName, stream: TcpStream) -> Self {
        Self {
            device,
            node,
            thread: rustix::thread::gettid().as_raw_pid().unsigned_abs(),
            stream,
            flights: Flights::default(),
            outbox: Mutex::new(()),
            ended: AtomicBool::new(false),
        }
    }

    pub(super) fn description(&self) -> SessionDescription {
        SessionDescription {
            node: self.node.clone(),
            pid: self.thread,
            device: self.device.clone(),
        }
    }

    /// Ends it: no write begins any more, and whoever waits for the client wakes up. Whether it had not ended before.
    pub(super) fn end(&self) -> bool {
        let first = !self.ended.swap(true, Ordering::SeqCst);
        if first {
            // The peer may have gone already.
            let _ = self.stream.shutdown(Shutdown::Both);
        }
        first
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// Sends a header and what follows it.
    pub(super) fn answer(&self, reply: DataReply, data: &[u8]) -> io::Result<()> {
        let header = reply.encode();
        let _turn = self.outbox.lock().unwrap_or_else(PoisonError::into_inner);
        write_both(&self.stream, &header, data)
    }

    /// Sends two keep-alives if nothing else is going on: the first to a client that is gone does not fail yet.
    pub(super) fn keep_alive(&self) {
        let turn = match self.outbox.try_lock() {
            Ok(turn) => turn,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        if !self.flights.idle() {
            return;
        }
        let frame = DataReply::KeepAlive.encode();
        for _ in 0..2 {
            match send(
                &self.stream,
                &frame,
                SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
            ) {
                Ok(sent) if sent == frame.len() => {}
                // A client that reads nothing is alive for all that is known.
                Err(rustix::io::Errno::AGAIN) => break,
                // Half a frame cannot be taken back.
                Ok(_) | Err(_) => {
                    self.end();
                    break;
                }
            }
        }
        drop(turn);
    }
}

/// As `write_all`, of two pieces with one system call where possible. The stream's write timeout ends it when the
/// peer reads nothing at all for that long.
fn write_both(mut stream: &TcpStream, header: &[u8], data: &[u8]) -> io::Result<()> {
    let mut sent = 0;
    while sent < header.len() {
        let pieces = [IoSlice::new(&header[sent..]), IoSlice::new(data)];
        match stream.write_vectored(&pieces) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => sent += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    stream.write_all(&data[sent - header.len()..])
}
