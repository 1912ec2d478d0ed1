//! What the server sends in the data phase, taken apart as it comes.

use std::fmt::{self, Display, Formatter};
use std::io::{self, Read};

use super::inbox::Inbox;
use super::pool::Pool;
use super::table::{Buffer, PartId, Table};
use crate::protocol::{Command, DataReply, Handle, ProtocolError};

/// The handle of pings. Parts have no such handles: the lower half is no place in the table.
pub(crate) const PING: Handle = [0xff; 8];
/// The handle of the last request.
pub(crate) const GOODBYE: Handle = [0xfe; 8];

/// What came from the server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// A part is answered.
    Answer {
        part: PartId,
        failed: bool,
        /// The data of a read that stands for itself; that of a long read is in its place already.
        data: Option<Buffer>,
    },
    /// The ping is answered.
    Pong,
    /// DISCONNECT is answered.
    Goodbye,
    /// A keep-alive.
    KeepAlive,
}

/// Why a link cannot be used any longer.
#[derive(Debug)]
pub(crate) enum LinkError {
    Io(io::Error),
    Protocol(ProtocolError),
    /// An answer to nothing that was asked.
    Unasked(Handle),
}

impl Display for LinkError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                f.write_str("the server closed the connection")
            }
            Self::Io(error) => error.fmt(f),
            Self::Protocol(error) => write!(f, "failed to {error}"),
            Self::Unasked(handle) => write!(f, "answer to an unknown request {handle:02x?}"),
        }
    }
}

impl LinkError {
    /// Whether it is the peer that ended the connection, not we or time.
    pub(crate) fn is_the_peers(&self) -> bool {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
        let kinds = [BrokenPipe, ConnectionReset, UnexpectedEof];
        matches!(self, Self::Io(error) if kinds.contains(&error.kind()))
    }
}

impl From<io::Error> for LinkError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

#[derive(Debug)]
enum State {
    Header,
    Data {
        part: PartId,
        buffer: Option<Buffer>,
        filled: usize,
    },
}

/// The reader of one link after another.
#[derive(Debug)]
pub(crate) struct Replies {
    inbox: Inbox,
    state: State,
    starved: bool,
}

impl Replies {
    pub(crate) fn new() -> Self {
        Self {
            inbox: Inbox::new(),
            state: State::Header,
            starved: false,
        }
    }

    /// The link is another.
    pub(crate) fn reset(&mut self, reads: &mut Pool) {
        self.inbox.clear();
        self.starved = false;
        if let State::Data { buffer, .. } = std::mem::replace(&mut self.state, State::Header) {
            reads.give(buffer);
        }
    }

    /// Whether reading goes on only when there is a buffer for it.
    pub(crate) fn is_starved(&self) -> bool {
        self.starved
    }

    /// The next thing; `None` when there is no more for now.
    pub(crate) fn next(
        &mut self,
        source: &mut impl Read,
        table: &mut Table,
        reads: &mut Pool,
    ) -> Result<Option<Received>, LinkError> {
        if matches!(self.state, State::Header) {
            let Some(header) = self.inbox.take(source)? else {
                return Ok(None);
            };
            // A keep-alive's other fields are garbage: its magic decides before anything else is looked at.
            let (error, handle) = match DataReply::decode(&header).map_err(LinkError::Protocol)? {
                DataReply::KeepAlive => return Ok(Some(Received::KeepAlive)),
                DataReply::Reply { error, handle } => (error, handle),
            };
            match handle {
                PING => return Ok(Some(Received::Pong)),
                GOODBYE => return Ok(Some(Received::Goodbye)),
                _ => {}
            }
            let part = table.find(handle).ok_or(LinkError::Unasked(handle))?;
            let read = table
                .part(part)
                .is_some_and(|part| part.command == Command::Read);
            if error != 0 || !read {
                return Ok(Some(Received::Answer {
                    part,
                    failed: error != 0,
                    data: None,
                }));
            }
            self.state = State::Data {
                part,
                buffer: None,
                filled: 0,
            };
        }
        let State::Data {
            part,
            buffer,
            filled,
        } = &mut self.state
        else {
            return Ok(None);
        };
        let part = *part;
        let complete = if let Some(place) = table.place(part) {
            self.inbox.fill(source, place, filled)?
        } else {
            if buffer.is_none() {
                *buffer = reads.take();
            }
            self.starved = buffer.is_none();
            let Some(buffer) = buffer else {
                return Ok(None);
            };
            let length = table.part(part).map_or(0, |part| part.length as usize);
            self.inbox.fill(source, &mut buffer[..length], filled)?
        };
        if !complete {
            return Ok(None);
        }
        let data = buffer.take();
        self.state = State::Header;
        Ok(Some(Received::Answer {
            part,
            failed: false,
            data,
        }))
    }
}
