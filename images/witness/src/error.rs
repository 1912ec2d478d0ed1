//! What can go wrong. Messages finish the words "failed to".

use std::fmt::{self, Display, Formatter};
use std::io;
use std::path::Path;

/// Why the witness has nothing to say.
#[derive(Debug)]
pub enum Error {
    /// The command line, or a list, is not what it should be.
    Usage(String),
    /// The system refused something.
    Host {
        /// What was tried.
        doing: String,
        /// The system's answer.
        source: io::Error,
    },
}

impl Error {
    /// The system's answer to what was tried with a file.
    pub(crate) fn host(doing: &str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Host {
            doing: format!("{doing} {}", path.display()),
            source: source.into(),
        }
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(reason) => write!(f, "read the command line: {reason}"),
            Self::Host { doing, source } => write!(f, "{doing}: {source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Usage(_) => None,
            Self::Host { source, .. } => Some(source),
        }
    }
}
