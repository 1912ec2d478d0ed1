//! Why bytes are not what the protocol says.

use std::error::Error;
use std::fmt::{self, Display, Formatter};

/// What is wrong with bytes from a peer. Messages finish the words "failed to".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtocolError {
    /// There is no request with this number.
    UnknownRequest(u32),
    /// A control request's body, a list or a record has the wrong length in bytes.
    WrongLength {
        /// What the protocol says.
        expected: usize,
        /// What came.
        got: usize,
    },
    /// A name has no NUL: it is longer than its field allows.
    Unterminated,
    /// A name that must not be empty is.
    EmptyName,
    /// A name has a slash, is `.` or `..`, or has bytes that are not printable UTF-8.
    InvalidName,
    /// A string has more bytes than its field takes.
    NameTooLong {
        /// The field's limit in bytes, NUL not counted.
        limit: usize,
    },
    /// A data header has neither of the magic numbers that may stand there.
    BadMagic(u32),
    /// A data request has a command that does not exist. Its handle is known, so that it can be answered.
    UnknownCommand {
        /// The command.
        command: u32,
        /// What the answer must repeat.
        handle: [u8; 8],
    },
    /// A READ or WRITE is longer than [`MAX_TRANSFER`](super::MAX_TRANSFER).
    TooLong(u32),
}

impl Display for ProtocolError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownRequest(number) => write!(f, "know request number {number}"),
            Self::WrongLength { expected, got } => {
                write!(f, "read {expected} bytes: there are {got}")
            }
            Self::Unterminated => f.write_str("read a name: it has no end"),
            Self::EmptyName => f.write_str("take a name: it is empty"),
            Self::InvalidName => {
                f.write_str("take a name: it has characters that names cannot have")
            }
            Self::NameTooLong { limit } => {
                write!(f, "take a name: it is longer than {limit} bytes")
            }
            Self::BadMagic(magic) => write!(f, "recognise a header: its magic is {magic:#010x}"),
            Self::UnknownCommand { command, .. } => write!(f, "know data command {command}"),
            Self::TooLong(length) => write!(f, "transfer {length} bytes in one request"),
        }
    }
}

impl Error for ProtocolError {}
