//! Where the program writes: results to standard output, progress to standard error. Nothing else prints.

pub(crate) mod follow;
pub(crate) mod interrupt;
pub(crate) mod progress;
pub(crate) mod quantity;
pub(crate) mod raw;
pub(crate) mod summary;
pub(crate) mod watch;

use std::io::{self, IsTerminal, Write};

use crate::LabError;

/// Writes results to standard output.
pub(crate) fn print(text: &str) -> io::Result<()> {
    print_bytes(text.as_bytes())
}

/// Passes a command's output on as it is.
pub(crate) fn print_bytes(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

/// The same of its standard error.
pub(crate) fn complain_bytes(bytes: &[u8]) -> io::Result<()> {
    let mut err = io::stderr().lock();
    err.write_all(bytes)?;
    err.flush()
}

/// Says on standard error why the program ends.
pub fn complain(error: &LabError) {
    let mut terminal = Terminal::new();
    let text = error.show(terminal.is_coloured());
    terminal.line(text.trim_end());
}

/// What tells lines apart at a glance; their words do too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    Red,
    Cyan,
}

impl Colour {
    /// The text in it: ECMA-48, "select graphic rendition".
    fn of(self, text: &str) -> String {
        let number = match self {
            Self::Red => 31,
            Self::Cyan => 36,
        };
        format!("\x1b[{number}m{text}\x1b[0m")
    }
}

/// Standard error as a person sees it: lines that stay, and below them one status line that is redrawn.
#[derive(Debug)]
pub struct Terminal {
    live: bool,
    drawn: bool,
}

impl Terminal {
    /// Redraws only where standard error is a terminal that can do so.
    pub fn new() -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self {
            live: io::stderr().is_terminal() && !dumb,
            drawn: false,
        }
    }

    /// Lines only, as in a file.
    pub const fn plain() -> Self {
        Self {
            live: false,
            drawn: false,
        }
    }

    /// Whether the status line is shown.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// Whether coloured text is welcome (`NO_COLOR` is honoured).
    pub fn is_coloured(&self) -> bool {
        self.live && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
    }

    /// Writes a line that stays.
    pub fn line(&mut self, text: &str) {
        let clear = self.take_clear();
        write(&format!("{clear}{text}\n"));
    }

    /// The same in a colour, where that is welcome.
    pub(crate) fn line_in(&mut self, colour: Colour, text: &str) {
        if self.is_coloured() {
            self.line(&colour.of(text));
        } else {
            self.line(text);
        }
    }

    /// Shows this as the status line, cut to the terminal's width; nothing where there is no terminal.
    pub fn status(&mut self, text: &str) {
        if !self.live {
            return;
        }
        let columns = rustix::termios::tcgetwinsize(io::stderr())
            .map_or(80, |size| usize::from(size.ws_col.max(20)));
        let clear = self.take_clear();
        let shown: String = text.chars().take(columns - 1).collect();
        write(&format!("{clear}{shown}"));
        self.drawn = true;
    }

    /// Takes the status line away.
    pub fn clear(&mut self) {
        let clear = self.take_clear();
        write(clear);
    }

    fn take_clear(&mut self) -> &'static str {
        if std::mem::take(&mut self.drawn) {
            "\r\x1b[K"
        } else {
            ""
        }
    }
}

impl Default for Terminal {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Progress is worth no error: whoever closed standard error does not want to read it.
fn write(text: &str) {
    let mut err = io::stderr().lock();
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}
