//! The connection to the server in its data phase: requests out, replies in, and whether it still lives.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::outbox::SLICES;
use super::pool::Pool;
use super::replies::{GOODBYE, LinkError, PING, Received, Replies};
use super::table::{KERNEL_REQUESTS, PartId, Table};
use crate::protocol::{Command, DATA_REQUEST_SIZE, DataRequest, Handle};

/// What is on its way to the server.
#[derive(Debug, Clone, Copy)]
enum Item {
    Part(PartId),
    Bare([u8; DATA_REQUEST_SIZE]),
}

/// One connection after another to one server.
#[derive(Debug)]
pub(crate) struct Link {
    stream: Option<TcpStream>,
    replies: Replies,
    queue: VecDeque<Item>,
    /// Bytes of the first that are sent.
    sent: usize,
    /// When something last came.
    heard: Instant,
    /// When the ping was sent that has no answer yet.
    pinged: Option<Instant>,
}

impl Link {
    pub(crate) fn new() -> Self {
        Self {
            stream: None,
            replies: Replies::new(),
            queue: VecDeque::with_capacity(4 * KERNEL_REQUESTS),
            sent: 0,
            heard: Instant::now(),
            pinged: None,
        }
    }

    /// The connection, while there is one.
    pub(crate) fn stream(&self) -> Option<&TcpStream> {
        self.stream.as_ref()
    }

    /// Takes a connection that is logged in. Everything that waits is sent again.
    pub(crate) fn connect(
        &mut self,
        stream: TcpStream,
        table: &mut Table,
        now: Instant,
    ) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        self.stream = Some(stream);
        self.heard = now;
        self.queue.extend(table.resend().map(Item::Part));
        Ok(())
    }

    /// Ends the connection at once. What is in its socket and not on the wire yet must not be sent any more: whoever
    /// does this may go on to fail it or send it another way.
    pub(crate) fn cut(&mut self, reads: &mut Pool) {
        if let Some(stream) = self.stream.take() {
            // A reset instead of an orderly end. Where it cannot be had, KILL_GSERV does the same.
            let _ = rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO));
        }
        self.replies.reset(reads);
        self.queue.clear();
        self.sent = 0;
        self.pinged = None;
    }

    /// Sends this part after those before it, if there is a connection.
    pub(crate) fn send(&mut self, part: PartId) {
        if self.stream.is_some() {
            self.queue.push_back(Item::Part(part));
        }
    }

    /// Sends the request that ends the connection.
    pub(crate) fn send_goodbye(&mut self) {
        self.send_bare(Command::Disconnect, GOODBYE);
    }

    fn send_bare(&mut self, command: Command, handle: Handle) {
        let request = DataRequest {
            command,
            handle,
            offset: 0,
            length: 0,
        };
        self.queue.push_back(Item::Bare(request.encode()));
    }

    /// Whether there is something to write.
    pub(crate) fn wants_to_write(&self) -> bool {
        self.stream.is_some() && !self.queue.is_empty()
    }

    /// Whether replies can be read.
    pub(crate) fn wants_to_read(&self) -> bool {
        self.stream.is_some() && !self.replies.is_starved()
    }

    /// Whether reading goes on only when there is a buffer for it, and then without waiting.
    pub(crate) fn is_starved(&self) -> bool {
        self.replies.is_starved()
    }

    /// Asks for a sign of life where there was none for `quiet`. An error if none came for `patience` after that.
    pub(crate) fn ping(
        &mut self,
        quiet: Duration,
        patience: Duration,
        now: Instant,
    ) -> io::Result<()> {
        if self.stream.is_none() {
            return Ok(());
        }
        match self.pinged {
            Some(pinged) if now.duration_since(pinged.max(self.heard)) >= patience => {
                Err(ErrorKind::TimedOut.into())
            }
            None if now.duration_since(self.heard) >= quiet => {
                self.pinged = Some(now);
                self.send_bare(Command::Ping, PING);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// When [`ping`](Self::ping) has something to do next.
    pub(crate) fn next_ping(&self, quiet: Duration, patience: Duration) -> Option<Instant> {
        self.stream.as_ref()?;
        Some(match self.pinged {
            Some(pinged) => pinged.max(self.heard) + patience,
            None => self.heard + quiet,
        })
    }

    /// The next reply to a part, or to DISCONNECT; `None` when there is no more for now.
    pub(crate) fn receive(
        &mut self,
        table: &mut Table,
        reads: &mut Pool,
        now: Instant,
    ) -> Result<Option<Received>, LinkError> {
        let Some(mut stream) = self.stream.as_ref() else {
            return Ok(None);
        };
        loop {
            let received = self.replies.next(&mut stream, table, reads)?;
            if received.is_some() {
                self.heard = now;
            }
            match received {
                Some(Received::Pong) => self.pinged = None,
                Some(Received::KeepAlive) => {}
                Some(Received::Answer { .. } | Received::Goodbye) | None => return Ok(received),
            }
        }
    }

    /// Writes as much as goes.
    pub(crate) fn flush(&mut self, table: &mut Table) -> io::Result<()> {
        let Some(mut stream) = self.stream.as_ref() else {
            return Ok(());
        };
        while !self.queue.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut count = 0;
            let mut skip = self.sent;
            for item in self.queue.iter().take(SLICES / 2) {
                let (header, payload) = bytes(item, table);
                for bytes in [header, payload] {
                    let skipped = skip.min(bytes.len());
                    skip -= skipped;
                    if skipped < bytes.len() {
                        slices[count] = IoSlice::new(&bytes[skipped..]);
                        count += 1;
                    }
                }
            }
            match stream.write_vectored(&slices[..count]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => self.sent += written,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
            while let Some(item) = self.queue.front() {
                let (header, payload) = bytes(item, table);
                let size = header.len() + payload.len();
                if self.sent < size {
                    break;
                }
                self.sent -= size;
                if let Some(Item::Part(part)) = self.queue.pop_front() {
                    table.sent(part);
                }
            }
        }
        Ok(())
    }
}

/// Header and payload. A part in the queue is in the table: both lose it together.
fn bytes<'a>(item: &'a Item, table: &'a Table) -> (&'a [u8], &'a [u8]) {
    match item {
        Item::Bare(header) => (header, &[]),
        Item::Part(part) => match table.part(*part) {
            Some(part) => (&part.header, part.payload()),
            None => (&[], &[]),
        },
    }
}
