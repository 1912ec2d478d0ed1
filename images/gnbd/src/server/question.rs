//! A control request, gathered as it comes in.

use std::io::{ErrorKind, Read};

use crate::protocol::{LONGEST_BODY, Number, ProtocolError, Request};

/// What has come of one.
pub(super) struct Question {
    bytes: [u8; 4 + LONGEST_BODY],
    filled: usize,
}

/// What came of listening.
#[derive(Debug)]
pub(super) enum Heard {
    /// Not all yet.
    Part,
    /// All.
    KernelRequest(Number),
    /// Nothing that could be answered; in words, if it is worth any.
    Nothing(Option<String>),
}

impl Question {
    pub(super) fn new() -> Self {
        Self {
            bytes: [0; 4 + LONGEST_BODY],
            filled: 0,
        }
    }

    /// Reads what is there, and nothing behind the request.
    pub(super) fn hear(&mut self, stream: &mut impl Read) -> Heard {
        loop {
            let mut whole = 4;
            if self.filled >= 4 {
                let number = [self.bytes[0], self.bytes[1], self.bytes[2], self.bytes[3]];
                let number = match Number::decode(number) {
                    Ok(number) => number,
                    Err(error) => return Heard::Nothing(Some(format!("failed to {error}"))),
                };
                whole += number.body_size();
                if self.filled >= whole {
                    return Heard::KernelRequest(number);
                }
            }
            match stream.read(&mut self.bytes[self.filled..whole]) {
                // Not a word: a port scan, or a probe whether the server lives.
                Ok(0) if self.filled == 0 => return Heard::Nothing(None),
                Ok(0) => {
                    return Heard::Nothing(Some("it left in the middle of a request".to_owned()));
                }
                Ok(count) => self.filled += count,
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return Heard::Part,
                    ErrorKind::Interrupted => {}
                    _ => return Heard::Nothing(None),
                },
            }
        }
    }

    /// The request, when it is whole.
    pub(super) fn request(&self, number: Number) -> Result<Request, ProtocolError> {
        Request::decode(number, &self.bytes[4..self.filled])
    }
}
