//! How the program ends.

/// The program's exit codes, from the mildest to the gravest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Everything that was asked for was done, every scenario passed.
    Success,
    /// A scenario failed: the stack under test did not do what the scenario says.
    Failed,
    /// The input or the command line is wrong; nothing was run.
    BadInput,
    /// The lab could not do its part: a tool is missing, a guest did not start, ...
    Broken,
    /// A signal (Ctrl-C, SIGTERM) ended the work early.
    Interrupted,
}

impl Exit {
    /// The number given to the operating system.
    pub const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failed => 1,
            Self::BadInput => 2,
            Self::Broken => 3,
            Self::Interrupted => 4,
        }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
