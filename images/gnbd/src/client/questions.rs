//! What the kernel asks, taken apart as it comes and split into parts that a GNBD server takes.

use std::io::{self, Read};
use std::time::Instant;

use super::inbox::Inbox;
use super::link::Link;
use super::nbd::{Cookie, NBD_REQUEST_SIZE, NbdCommand, NbdRequest, errno};
use super::outbox::{Body, Outbox};
use super::pool::Pool;
use super::table::{Buffer, Finished, RequestId, Table};
use crate::protocol::{Command, MAX_TRANSFER, SECTOR_SIZE};

/// Bytes of long reads that are held at once, unless a single one is longer. By default the kernel sends none: its
/// limit is [`MAX_TRANSFER`], too. An administrator may raise it.
const MOST_LONG: usize = 4 << 20;

/// The longest read: the nbd driver's own limit.
const LONGEST_READ: u32 = 32 << 20;

/// What the relay has, as far as questions need it.
pub(crate) struct Context<'a> {
    pub(crate) table: &'a mut Table,
    pub(crate) writes: &'a mut Pool,
    pub(crate) outbox: &'a mut Outbox,
    pub(crate) link: &'a mut Link,
    pub(crate) sectors: u64,
    pub(crate) read_only: bool,
    /// Everything fails at once.
    pub(crate) refusing: bool,
    pub(crate) now: Instant,
}

/// What came of reading.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// There is no more for now.
    Dry,
    /// Something must be answered first.
    Full,
    /// The kernel wants no more of the device.
    Disconnect,
}

/// Why the kernel's socket cannot be used any longer.
#[derive(Debug)]
pub(crate) enum KernelError {
    Io(io::Error),
    BadMagic,
}

impl From<io::Error> for KernelError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A request that is being split.
#[derive(Debug, Clone, Copy)]
struct Cursor {
    request_id: RequestId,
    command: Command,
    offset: u64,
    /// Where the next part begins in the whole.
    at: usize,
    /// Bytes that are in no part yet.
    left: u32,
}

impl Cursor {
    fn length(&self) -> u32 {
        self.left.min(MAX_TRANSFER)
    }
}

/// Who is answered when a payload that nobody wants is gone.
#[derive(Debug)]
enum After {
    Answer(Cookie, u32),
    KernelRequest(RequestId),
}

#[derive(Debug)]
enum State {
    Header,
    /// A valid request for whose first part there is no place yet.
    Admit(NbdRequest),
    Split(Cursor),
    Payload {
        cursor: Cursor,
        buffer: Buffer,
        filled: usize,
    },
    Discard {
        left: u64,
        after: After,
    },
}

/// The reader of the kernel's socket.
#[derive(Debug)]
pub(crate) struct Questions {
    inbox: Inbox,
    state: State,
}

impl Questions {
    pub(crate) fn new() -> Self {
        Self {
            inbox: Inbox::new(),
            state: State::Header,
        }
    }

    /// Takes in what there is and there is room for.
    pub(crate) fn take(
        &mut self,
        source: &mut impl Read,
        context: &mut Context<'_>,
    ) -> Result<Turn, KernelError> {
        loop {
            if context.outbox.is_full() {
                return Ok(Turn::Full);
            }
            match &mut self.state {
                State::Header => {
                    let Some(header) = self.inbox.take::<NBD_REQUEST_SIZE>(source)? else {
                        return Ok(Turn::Dry);
                    };
                    let request = NbdRequest::decode(&header).ok_or(KernelError::BadMagic)?;
                    if request.command == NbdCommand::Disconnect {
                        return Ok(Turn::Disconnect);
                    }
                    self.state = judge(&request, context);
                }
                State::Admit(request) => {
                    let Some(state) = admit(request, context) else {
                        return Ok(Turn::Full);
                    };
                    self.state = state;
                }
                State::Split(cursor) if cursor.left == 0 => {
                    let finished = context.table.grown(cursor.request_id);
                    answer(context.outbox, finished);
                    self.state = State::Header;
                }
                State::Split(cursor) => {
                    if !context.table.has_room() {
                        return Ok(Turn::Full);
                    }
                    if cursor.command == Command::Write {
                        let Some(buffer) = context.writes.take() else {
                            return Ok(Turn::Full);
                        };
                        self.state = State::Payload {
                            cursor: *cursor,
                            buffer,
                            filled: 0,
                        };
                    } else {
                        add(cursor, None, context);
                    }
                }
                State::Payload {
                    cursor,
                    buffer,
                    filled,
                } => {
                    let length = cursor.length() as usize;
                    if !self.inbox.fill(source, &mut buffer[..length], filled)? {
                        return Ok(Turn::Dry);
                    }
                    let mut cursor = *cursor;
                    // The whole is not alone with its memory until the part has it.
                    let buffer = std::mem::take(buffer);
                    add(&mut cursor, Some(buffer), context);
                    self.state = State::Split(cursor);
                }
                State::Discard { left, after } => {
                    if !self.inbox.discard(source, left)? {
                        return Ok(Turn::Dry);
                    }
                    match after {
                        After::Answer(cookie, error) => {
                            context.outbox.answer(*cookie, *error, Body::None);
                        }
                        After::KernelRequest(request_id) => {
                            let finished = context.table.grown(*request_id);
                            answer(context.outbox, finished);
                        }
                    }
                    self.state = State::Header;
                }
            }
        }
    }

    /// Everything was failed: what is half read fails, too, as soon as its payload is out of the way.
    pub(crate) fn fail(&mut self, writes: &mut Pool) {
        self.state = match std::mem::replace(&mut self.state, State::Header) {
            State::Split(cursor) => discard(&cursor, 0),
            State::Payload {
                cursor,
                buffer,
                filled,
            } => {
                writes.give(Some(buffer));
                discard(&cursor, filled)
            }
            State::Admit(request) => refuse(&request, errno::EIO),
            state @ (State::Header | State::Discard { .. }) => state,
        };
    }
}

fn discard(cursor: &Cursor, filled: usize) -> State {
    let left = match cursor.command {
        Command::Write => u64::from(cursor.left) - filled as u64,
        _ => 0,
    };
    State::Discard {
        left,
        after: After::KernelRequest(cursor.request_id),
    }
}

/// Answers with an error, after the payload if there is one.
fn refuse(request: &NbdRequest, error: u32) -> State {
    let left = match request.command {
        NbdCommand::Write => u64::from(request.length),
        _ => 0,
    };
    State::Discard {
        left,
        after: After::Answer(request.cookie, error),
    }
}

/// What becomes of a request. Out of range is checked here: a historic server that gets such a READ hangs.
fn judge(request: &NbdRequest, context: &Context<'_>) -> State {
    let end = request.offset.checked_add(u64::from(request.length));
    let fits = end.is_some_and(|end| end <= context.sectors.saturating_mul(SECTOR_SIZE));
    match request.command {
        // Writes are answered when they are on the server's disk, so there is never anything to flush.
        NbdCommand::Flush => refuse(request, 0),
        NbdCommand::Write if context.read_only => refuse(request, errno::EPERM),
        NbdCommand::Read | NbdCommand::Write if !fits => refuse(request, errno::EINVAL),
        NbdCommand::Read if request.length > LONGEST_READ => refuse(request, errno::EINVAL),
        NbdCommand::Read | NbdCommand::Write if request.length == 0 => refuse(request, 0),
        NbdCommand::Read | NbdCommand::Write if context.refusing => refuse(request, errno::EIO),
        NbdCommand::Read | NbdCommand::Write => State::Admit(*request),
        NbdCommand::Disconnect | NbdCommand::Other(_) => refuse(request, errno::EINVAL),
    }
}

/// Gives a request a place in the table; `None` if there is none yet.
fn admit(request: &NbdRequest, context: &mut Context<'_>) -> Option<State> {
    let write = request.command == NbdCommand::Write;
    let length = request.length as usize;
    let mut data = None;
    if !write && request.length > MAX_TRANSFER {
        let held = context.table.long() + context.outbox.long();
        if held > 0 && held + length > MOST_LONG {
            return None;
        }
        let mut memory = Vec::new();
        if memory.try_reserve_exact(length).is_err() {
            return Some(refuse(request, errno::ENOMEM));
        }
        memory.resize(length, 0);
        data = Some(memory);
    }
    let request_id = context.table.begin(request.cookie, data)?;
    Some(State::Split(Cursor {
        request_id,
        command: if write { Command::Write } else { Command::Read },
        offset: request.offset,
        at: 0,
        left: request.length,
    }))
}

/// Makes the next part and sends it. There is room for it.
fn add(cursor: &mut Cursor, payload: Option<Buffer>, context: &mut Context<'_>) {
    let length = cursor.length();
    let place = (cursor.offset, length, cursor.at);
    let part = context.table.add(
        cursor.request_id,
        cursor.command,
        place,
        payload,
        context.now,
    );
    if let Some(part) = part {
        context.link.send(part);
    }
    cursor.offset += u64::from(length);
    cursor.at += length as usize;
    cursor.left -= length;
}

/// Answers the kernel's request if it is over.
pub(crate) fn answer(outbox: &mut Outbox, finished: Option<Finished>) {
    if let Some(Finished {
        cookie,
        error,
        data,
    }) = finished
    {
        outbox.answer(cookie, error, data.map_or(Body::None, Body::Long));
    }
}
