//! Bytes from a client, with a time limit for what has begun.

use std::io::{self, ErrorKind, Read};
use std::time::{Duration, Instant};

use crate::protocol::{DATA_REQUEST_SIZE, DataRequest, ProtocolError};

/// Bytes read ahead at most: some headers, or headers and small writes.
const AHEAD: usize = 8192;

/// Why there is no request.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The client closed, or its connection broke, or this side ended it.
    Gone,
    /// The client began a request and did not go on with it.
    Stalled,
    /// It is no request.
    Protocol(ProtocolError),
}

#[derive(Debug)]
pub(super) struct Inbox {
    ahead: Box<[u8; AHEAD]>,
    start: usize,
    end: usize,
    patience: Duration,
    /// When the request that is being read must be whole.
    deadline: Option<Instant>,
}

impl Inbox {
    /// The stream's read timeout must be set to about `patience`: it is what makes a silent peer be looked at.
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            ahead: Box::new([0; AHEAD]),
            start: 0,
            end: 0,
            patience,
            deadline: None,
        }
    }

    /// Waits for the next request, as long as none has begun without limit.
    pub(super) fn request(&mut self, stream: &mut impl Read) -> Result<DataRequest, ReadError> {
        self.deadline = None;
        while self.end - self.start < DATA_REQUEST_SIZE {
            if self.start > 0 {
                self.ahead.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, self.end - self.start);
            }
            if self.end > 0 {
                self.start_clock();
            }
            let read = stream.read(&mut self.ahead[self.end..]);
            self.end += self.judge(&read)?;
        }
        let mut header = [0; DATA_REQUEST_SIZE];
        header.copy_from_slice(&self.ahead[self.start..self.start + DATA_REQUEST_SIZE]);
        self.start += DATA_REQUEST_SIZE;
        DataRequest::decode(&header).map_err(ReadError::Protocol)
    }

    /// Reads the payload of the request that was read last.
    pub(super) fn payload(
        &mut self,
        stream: &mut impl Read,
        target: &mut [u8],
    ) -> Result<(), ReadError> {
        let ahead = (self.end - self.start).min(target.len());
        target[..ahead].copy_from_slice(&self.ahead[self.start..self.start + ahead]);
        self.start += ahead;
        let mut filled = ahead;
        while filled < target.len() {
            self.start_clock();
            filled += self.judge(&stream.read(&mut target[filled..]))?;
        }
        Ok(())
    }

    /// The request has begun and is not whole: not before, since looking at the clock costs, too.
    fn start_clock(&mut self) {
        let patience = self.patience;
        self.deadline
            .get_or_insert_with(|| Instant::now() + patience);
    }

    /// How many bytes came; none is no error as long as there is time.
    fn judge(&self, read: &io::Result<usize>) -> Result<usize, ReadError> {
        let late = || self.deadline.is_some_and(|end| Instant::now() >= end);
        match read {
            Ok(0) => Err(ReadError::Gone),
            Ok(_) if late() => Err(ReadError::Stalled),
            Ok(count) => Ok(*count),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut if late() => Err(ReadError::Stalled),
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => Ok(0),
                _ => Err(ReadError::Gone),
            },
        }
    }
}
