//! What can go wrong. Messages finish the words "failed to".

use std::error::Error as StdError;
use std::fmt::{self, Display, Formatter};
use std::io;

use crate::protocol::ProtocolError;

/// Why something could not be done.
#[derive(Debug)]
pub enum Error {
    /// The system refused something.
    Host {
        /// What was tried.
        doing: String,
        /// The system's answer.
        source: io::Error,
    },
    /// A peer does not speak the protocol.
    Protocol(ProtocolError),
    /// A peer refused, with a positive errno.
    Refused {
        /// What was asked.
        doing: String,
        /// Its answer.
        errno: u32,
    },
    /// A program that was asked, such as the membership hook, gave no good answer.
    Command {
        /// What was run.
        command: String,
        /// What came of it.
        reason: String,
    },
}

impl Error {
    /// The system's answer to what was tried.
    pub fn host(doing: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::Host {
            doing: doing.into(),
            source: source.into(),
        }
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host { doing, source } => write!(f, "{doing}: {source}"),
            Self::Protocol(error) => error.fmt(f),
            Self::Refused { doing, errno } => {
                let answer = i32::try_from(*errno).map_or(0, |errno| errno);
                write!(f, "{doing}: {}", io::Error::from_raw_os_error(answer))
            }
            Self::Command { command, reason } => write!(f, "run `{command}`: {reason}"),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Host { source, .. } => Some(source),
            Self::Protocol(error) => Some(error),
            Self::Refused { .. } | Self::Command { .. } => None,
        }
    }
}

impl From<ProtocolError> for Error {
    fn from(error: ProtocolError) -> Self {
        Self::Protocol(error)
    }
}
