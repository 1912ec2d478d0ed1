//! The data phase of one connection.
//!
//! The threads of a connection take turns at its socket: who has the turn reads one request, and a write's payload
//! with it, hands the turn on and carries the request out. A second thread starts when there is a second request, and
//! so on up to the limit, each with one preallocated buffer: a connection never has more memory than that. Answers go
//! out as they are ready; clients match them by handle.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::{ReadWriteFlags, preadv2};

use super::buffer::Buffer;
use super::flights::Flight;
use super::inbox::{Inbox, ReadError};
use super::link::Link;
use super::state::{Hired, Seat, Shared};
use crate::protocol::{Command, DataReply, DataRequest, FAILURE, ProtocolError};

/// What a connection reads and writes.
#[derive(Debug)]
pub(super) struct Volume {
    pub(super) file: File,
    /// In bytes.
    pub(super) size: u64,
    pub(super) read_only: bool,
    pub(super) uncached: bool,
}

/// All that the threads of a connection share. When the last of them ends, the fields are dropped in their order: the
/// file is closed before the seat is given up.
#[derive(Debug)]
struct Session {
    link: Arc<Link>,
    volume: Volume,
    inbox: Mutex<Inbox>,
    /// Threads, and those of them that wait for their turn.
    workers: AtomicUsize,
    waiting: AtomicUsize,
    complained: AtomicBool,
    shared: Arc<Shared>,
    _seat: Seat,
}

/// Whether a thread goes on.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Request,
    End,
}

/// Serves a client that has logged in. Returns when this thread is not needed any more.
pub(super) fn serve(shared: &Arc<Shared>, link: &Arc<Link>, volume: Volume, seat: Seat) {
    let patience = shared.limits.data_request;
    let session = Arc::new(Session {
        link: Arc::clone(link),
        volume,
        inbox: Mutex::new(Inbox::new(patience)),
        workers: AtomicUsize::new(1),
        waiting: AtomicUsize::new(0),
        complained: AtomicBool::new(false),
        shared: Arc::clone(shared),
        _seat: seat,
    });
    let limited = link
        .stream
        .set_read_timeout(Some(patience))
        .and_then(|()| link.stream.set_write_timeout(Some(patience)));
    match limited {
        Ok(()) => work(&session, None),
        Err(error) => session.break_off(&format!("failed to set its time limits: {error}")),
    }
}

fn work(session: &Arc<Session>, hired: Option<Hired>) {
    let mut buffer = Buffer::new();
    while session.next(&mut buffer) == Next::Request {}
    // Others may wait for the client still.
    session.link.end();
    drop(hired);
}

impl Session {
    /// Waits for a turn, takes a request and carries it out.
    fn next(self: &Arc<Self>, buffer: &mut Buffer) -> Next {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        if self.link.has_ended() {
            return Next::End;
        }
        let request = match inbox.request(&mut &self.link.stream) {
            Ok(request) => request,
            Err(silence) => return self.give_up(&silence),
        };
        match request.command {
            Command::Ping => self.answer(&request, 0, &[]),
            Command::Disconnect => {
                self.link.flights.drain();
                self.answer(&request, 0, &[]);
                Next::End
            }
            Command::Read | Command::Write => self.transfer(&request, inbox, buffer),
        }
    }

    fn transfer(
        self: &Arc<Self>,
        request: &DataRequest,
        mut inbox: MutexGuard<'_, Inbox>,
        buffer: &mut Buffer,
    ) -> Next {
        let write = request.command == Command::Write;
        let bytes = buffer.bytes(request.length);
        if write {
            // Read whatever becomes of it: the next request stands behind it.
            if let Err(silence) = inbox.payload(&mut &self.link.stream, bytes) {
                return self.give_up(&silence);
            }
        }
        let end = request.offset.checked_add(u64::from(request.length));
        let Some(end) = end.filter(|end| *end <= self.volume.size) else {
            return self.fail(request, "it is beyond the end of the device");
        };
        if write && self.volume.read_only {
            return self.fail(request, "the export is read-only");
        }
        let flight = Flight {
            start: request.offset,
            end,
            write,
        };
        self.link.flights.begin(flight);
        // What the page cache has is answered before the turn is handed on: it is copied sooner than another thread
        // would be awake. On two cores, 4 KiB with one request under way: 1.6 times as many or more; 128 KiB with
        // eight: as many, for half of the processor time.
        let cached = !write && !self.volume.uncached;
        let (turn, done) = if cached && self.is_at_hand(request, bytes) {
            (Some(inbox), Ok(()))
        } else {
            self.call_another();
            drop(inbox);
            (None, self.carry_out(request, bytes))
        };
        self.link.flights.landed(flight);
        let next = match done {
            Ok(()) if write => self.answer(request, 0, &[]),
            Ok(()) => self.answer(request, 0, bytes),
            // Whoever ended the connection may not have shut it yet. The client asks again elsewhere or later: an answer
            // that got through would be a failure to it, of a request that nobody tried.
            Err(_) if self.link.has_ended() => Next::End,
            Err(error) => self.fail(request, &error.to_string()),
        };
        self.link.flights.answered();
        drop(turn);
        next
    }

    /// Reads without waiting for the disk; whether that gave everything.
    fn is_at_hand(&self, request: &DataRequest, bytes: &mut [u8]) -> bool {
        let length = bytes.len();
        let pieces = &mut [IoSliceMut::new(bytes)];
        preadv2(
            &self.volume.file,
            pieces,
            request.offset,
            ReadWriteFlags::NOWAIT,
        ) == Ok(length)
    }

    fn carry_out(&self, request: &DataRequest, bytes: &mut [u8]) -> io::Result<()> {
        if request.command == Command::Read {
            return self.volume.file.read_exact_at(bytes, request.offset);
        }
        // The last look before the disk. Who ended the link waits until this thread has come back from there.
        if self.link.has_ended() {
            return Err(io::Error::other("the connection was ended"));
        }
        self.volume.file.write_all_at(bytes, request.offset)
    }

    /// Sees to it that somebody takes the turn.
    fn call_another(self: &Arc<Self>) {
        let limit = self.shared.limits.workers_per_session;
        if self.waiting.load(Ordering::SeqCst) > 0 || self.workers.load(Ordering::SeqCst) >= limit {
            return;
        }
        let Some(hired) = self.shared.hire() else {
            return;
        };
        let session = Arc::clone(self);
        self.workers.fetch_add(1, Ordering::SeqCst);
        let spawned = std::thread::Builder::new()
            .name("gnbd-data".to_owned())
            .stack_size(super::STACK)
            .spawn(move || work(&session, Some(hired)));
        if spawned.is_err() {
            // Slower, no worse.
            self.workers.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn answer(&self, request: &DataRequest, error: u32, data: &[u8]) -> Next {
        let reply = DataReply::Reply {
            error,
            handle: request.handle,
        };
        match self.link.answer(reply, data) {
            Ok(()) => Next::Request,
            Err(error) => {
                self.break_off(&format!("failed to answer: {error}"));
                Next::End
            }
        }
    }

    /// Answers that a request failed, and tells of the first such.
    fn fail(&self, request: &DataRequest, reason: &str) -> Next {
        if !self.link.has_ended() && !self.complained.swap(true, Ordering::SeqCst) {
            self.shared.log.line(format_args!(
                "failed to {} {} bytes at {} of {} for {}: {reason}",
                if request.command == Command::Write {
                    "write"
                } else {
                    "read"
                },
                request.length,
                request.offset,
                self.link.device,
                self.link.node
            ));
        }
        self.answer(request, FAILURE, &[])
    }

    fn give_up(&self, silence: &ReadError) -> Next {
        match silence {
            ReadError::Gone => {
                self.link.end();
            }
            ReadError::Stalled => self.break_off("it began a request and did not end it"),
            ReadError::Protocol(error) => {
                if let ProtocolError::UnknownCommand { handle, .. } = error {
                    let reply = DataReply::Reply {
                        error: FAILURE,
                        handle: *handle,
                    };
                    let _ = self.link.answer(reply, &[]);
                }
                self.break_off(&format!("failed to {error}"));
            }
        }
        Next::End
    }

    /// Ends the connection and tells why, unless it has ended before.
    fn break_off(&self, reason: &str) {
        if self.link.end() {
            self.shared.log.line(format_args!(
                "closed the connection of {} for {}: {reason}",
                self.link.node, self.link.device
            ));
        }
    }
}
