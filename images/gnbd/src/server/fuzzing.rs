//! The server's parsers, for fuzz targets: from bytes as they come from a peer, in pieces of any size.

use std::io::{ErrorKind, Read};
use std::time::Duration;

use super::buffer::Buffer;
use super::inbox::Inbox;
use super::question::{Heard, Question};
use crate::protocol::local::LocalRequest;
use crate::protocol::{Command, MAX_TRANSFER};

/// Gives the bytes piece by piece; the first byte says how long pieces are, and every other read is in vain.
struct Pieces<'a> {
    bytes: &'a [u8],
    size: usize,
    vain: bool,
}

impl<'a> Pieces<'a> {
    fn new(input: &'a [u8]) -> Self {
        let (size, bytes) = input.split_first().unwrap_or((&0, &[]));
        Self {
            bytes,
            size: usize::from(*size) + 1,
            vain: false,
        }
    }
}

impl Read for Pieces<'_> {
    fn read(&mut self, target: &mut [u8]) -> std::io::Result<usize> {
        self.vain = !self.vain;
        if self.vain && !self.bytes.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let count = self.size.min(target.len()).min(self.bytes.len());
        let (piece, rest) = self.bytes.split_at(count);
        target[..count].copy_from_slice(piece);
        self.bytes = rest;
        Ok(count)
    }
}

/// A control request. One that is understood is written as it came, but for what the protocol leaves undefined.
pub fn control_request(input: &[u8]) {
    let mut pieces = Pieces::new(input);
    let mut question = Question::new();
    let number = loop {
        match question.hear(&mut pieces) {
            Heard::Part => {}
            Heard::Nothing(_) => return,
            Heard::KernelRequest(number) => break number,
        }
    };
    if let Ok(request) = question.request(number) {
        let bytes = request.encode();
        assert_eq!(bytes.len(), 4 + number.body_size());
        let mut again = Question::new();
        let heard = again.hear(&mut &*bytes);
        assert!(matches!(heard, Heard::KernelRequest(other) if other == number));
        assert_eq!(again.request(number), Ok(request));
    }
}

/// The data phase, until it ends. Every request stays within the limits that buffers are made for.
pub fn data_requests(input: &[u8]) {
    let mut pieces = Pieces::new(input);
    let mut inbox = Inbox::new(Duration::from_secs(60));
    let mut buffer = Buffer::new();
    while let Ok(request) = inbox.request(&mut pieces) {
        let transfer = matches!(request.command, Command::Read | Command::Write);
        assert!(!transfer || request.length <= MAX_TRANSFER);
        if request.command == Command::Write {
            let payload = buffer.bytes(request.length);
            if inbox.payload(&mut pieces, payload).is_err() {
                return;
            }
        }
    }
}

/// A request on the Unix socket.
pub fn local_request(input: &[u8]) {
    let Some((number, body)) = input.split_first_chunk::<4>() else {
        return;
    };
    if let Ok(request) = LocalRequest::decode(*number, body) {
        let bytes = request.encode();
        let again = bytes.map(|bytes| LocalRequest::decode(*number, &bytes[4..]));
        assert_eq!(again, Ok(Ok(request)));
    }
}
