//! Doors for fuzzing: what a relay does with bytes from a hostile server or kernel. Any bytes are right; what must not
//! be is a panic, an answer that was not asked for, or memory that does not come back.

use std::collections::HashSet;
use std::io::{self, ErrorKind, Read};
use std::time::Instant;

use super::link::Link;
use super::nbd::{NBD_REPLY_SIZE, NbdReply};
use super::outbox::Outbox;
use super::pool::Pool;
use super::questions::{Context, Questions, Turn, answer};
use super::replies::{Received, Replies};
use super::table::Table;
use crate::protocol::{Command, DATA_REQUEST_SIZE, DataReply, DataRequest, MAX_TRANSFER};

/// Gives bytes in pieces, then would block.
struct Pieces<'a> {
    bytes: &'a [u8],
    size: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        if self.bytes.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let count = self.size.min(space.len()).min(self.bytes.len());
        let (now, later) = self.bytes.split_at(count);
        space[..count].copy_from_slice(now);
        self.bytes = later;
        Ok(count)
    }
}

/// Memory that is used for one input after another.
#[derive(Debug)]
pub struct Bench {
    table: Table,
    reads: Pool,
    writes: Pool,
    outbox: Outbox,
    replies: Replies,
}

impl Default for Bench {
    fn default() -> Self {
        Self {
            table: Table::new(),
            reads: Pool::new(2),
            writes: Pool::new(2),
            outbox: Outbox::new(),
            replies: Replies::new(),
        }
    }
}

impl Bench {
    /// A server's answers to one read, one write and one long read, all outstanding. Bytes 0 to 7 of the input are how
    /// much comes at once; then each byte below 8 stands for a header that would be right, and others for themselves:
    /// so that what lies behind a magic number is reached.
    pub fn replies(&mut self, input: &[u8]) {
        let Some((size, input)) = input.split_first() else {
            return;
        };
        let now = Instant::now();
        let mut asked = HashSet::new();
        let mut handles = Vec::new();
        let kinds = [
            (Command::Read, false),
            (Command::Write, false),
            (Command::Read, true),
        ];
        for (number, (command, long)) in kinds.into_iter().enumerate() {
            let cookie = [u8::try_from(number).unwrap_or_default(); 8];
            let data = long.then(|| vec![0; 1024]);
            let Some(request_id) = self.table.begin(cookie, data) else {
                continue;
            };
            for at in if long { vec![0, 512] } else { vec![0] } {
                let payload = if command == Command::Write {
                    self.writes.take()
                } else {
                    None
                };
                let place = (at as u64, 512, at);
                let Some(part) = self.table.add(request_id, command, place, payload, now) else {
                    continue;
                };
                self.table.sent(part);
                handles.extend(self.table.part(part).map(|part| handle(&part.header)));
            }
            let over = self.table.grown(request_id);
            assert!(over.is_none(), "over before it was answered");
            asked.insert(cookie);
        }
        let mut stream = Vec::new();
        for byte in input {
            let error = u32::from(byte & 4);
            match byte {
                0..8 => stream.extend(match handles.get(usize::from(byte & 3)) {
                    Some(handle) => DataReply::Reply {
                        error,
                        handle: *handle,
                    }
                    .encode(),
                    None => DataReply::KeepAlive.encode(),
                }),
                8 => stream.extend([8; 512]),
                9 => stream.extend(DataReply::KeepAlive.encode()),
                byte => stream.push(*byte),
            }
        }
        let mut source = Pieces {
            bytes: &stream,
            size: usize::from(*size).max(1),
        };
        while let Ok(Some(received)) =
            self.replies
                .next(&mut source, &mut self.table, &mut self.reads)
        {
            if let Received::Answer { part, failed, data } = received {
                let (payload, finished) = self.table.complete(part, failed, now);
                self.writes.give(payload);
                self.reads.give(data);
                if let Some(finished) = finished {
                    assert!(asked.remove(&finished.cookie), "answered twice");
                }
            }
        }
        self.replies.reset(&mut self.reads);
        let writes = &mut self.writes;
        self.table.fail_all(|buffer, finished| {
            writes.give(buffer);
            if let Some(finished) = finished {
                assert!(asked.remove(&finished.cookie), "answered twice");
            }
        });
        self.check();
        assert!(asked.is_empty(), "never answered");
    }

    /// A kernel's requests, as they come and in pieces, on a device of 1 MiB whose server never answers. A byte below
    /// 8 stands for the beginning of a good request, the next four for a cookie or an offset, for lengths and for
    /// payload, others for themselves.
    pub fn questions(&mut self, input: &[u8]) {
        let Some((size, input)) = input.split_first() else {
            return;
        };
        let mut stream = Vec::new();
        for byte in input {
            match byte {
                0..8 => {
                    stream.extend(super::nbd::NBD_REQUEST_MAGIC.to_be_bytes());
                    stream.extend([0, 0, 0, *byte]);
                }
                8 => stream.extend([0; 8]),
                9 => stream.extend(512_u32.to_be_bytes()),
                10 => stream.extend((MAX_TRANSFER + 512).to_be_bytes()),
                11 => stream.extend([1; 4096]),
                byte => stream.push(*byte),
            }
        }
        let mut source = Pieces {
            bytes: &stream,
            size: usize::from(*size).max(1),
        };
        let mut questions = Questions::new();
        let mut link = Link::new();
        for round in 0..8 {
            let mut context = Context {
                table: &mut self.table,
                writes: &mut self.writes,
                outbox: &mut self.outbox,
                link: &mut link,
                sectors: 2048,
                read_only: size & 1 == 1,
                refusing: round == 7,
                now: Instant::now(),
            };
            if !matches!(questions.take(&mut source, &mut context), Ok(Turn::Full)) {
                break;
            }
            self.fail();
            questions.fail(&mut self.writes);
        }
        self.fail();
        questions.fail(&mut self.writes);
        // What is still half read has a place in the table that goes with the relay.
        self.table = Table::new();
        self.check();
    }

    fn fail(&mut self) {
        let (writes, outbox) = (&mut self.writes, &mut self.outbox);
        self.table.fail_all(|buffer, finished| {
            writes.give(buffer);
            answer(outbox, finished);
        });
        let mut answers = Vec::new();
        // A vector takes everything.
        let _ = outbox.flush(&mut answers, &mut self.reads);
        assert!(answers.chunks(NBD_REPLY_SIZE).all(|reply| {
            <&[u8; NBD_REPLY_SIZE]>::try_from(reply)
                .is_ok_and(|reply| NbdReply::decode(reply).is_some())
        }));
    }

    fn check(&mut self) {
        assert!(self.table.is_empty() && self.outbox.is_empty());
        for pool in [&mut self.reads, &mut self.writes] {
            let both = [pool.take(), pool.take()];
            assert!(both.iter().all(Option::is_some), "memory is lost");
            assert!(pool.take().is_none(), "memory came from nowhere");
            for buffer in both {
                pool.give(buffer);
            }
        }
    }
}

fn handle(header: &[u8; DATA_REQUEST_SIZE]) -> [u8; 8] {
    DataRequest::decode(header).map_or([0; 8], |request| request.handle)
}

thread_local! {
    static BENCH: std::cell::RefCell<Bench> = std::cell::RefCell::default();
}

/// [`Bench::replies`] on a bench of this thread's.
pub fn replies(input: &[u8]) {
    BENCH.with_borrow_mut(|bench| bench.replies(input));
}

/// [`Bench::questions`] on a bench of this thread's.
pub fn questions(input: &[u8]) {
    BENCH.with_borrow_mut(|bench| bench.questions(input));
}
