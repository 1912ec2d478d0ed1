//! This process's terminal while another's keys and characters pass through it.

use std::io::{self, stdin, stdout};

use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};
use sanlab_vm::frame::TerminalSize;

/// A terminal that passes every key on as it is; it is as it was when this is dropped.
pub(crate) struct RawTerminal(Termios);

impl RawTerminal {
    /// Standard input's, if that is one.
    pub(crate) fn of_stdin() -> io::Result<Option<Self>> {
        if !isatty(stdin()) {
            return Ok(None);
        }
        let before = tcgetattr(stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Now, &raw)?;
        Ok(Some(Self(before)))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.0);
    }
}

/// The size of this terminal; without one, that of old.
pub(crate) fn size() -> TerminalSize {
    let size = tcgetwinsize(stdin()).or_else(|_| tcgetwinsize(stdout()));
    let usual = TerminalSize {
        rows: 24,
        columns: 80,
    };
    size.map_or(usual, |size| TerminalSize {
        rows: size.ws_row,
        columns: size.ws_col,
    })
}
