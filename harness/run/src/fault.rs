//! What ends a run early, and whose fault it is.

/// Why a phase could not be ended well. The two kinds are the record's `failed` and `broken`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// The stack under test did not do what the scenario says: a command in a guest failed or did not end, a check
    /// found a difference, a kernel panicked.
    #[error("{0}")]
    Stack(String),
    /// The lab did not do its part: QEMU did not start or died, an agent is silent, there is no space.
    #[error("{0}")]
    Lab(String),
}

impl Fault {
    /// The same fault, with what was being done in front: "format the volume on vix0: ...".
    pub(crate) fn during(self, what: impl std::fmt::Display) -> Self {
        match self {
            Self::Stack(message) => Self::Stack(format!("{what}: {message}")),
            Self::Lab(message) => Self::Lab(format!("{what}: {message}")),
        }
    }
}
