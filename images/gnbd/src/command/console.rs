//! What the programs say, and to whom: messages to standard output, hidden by `-q`; errors to standard error, always.

use std::ffi::OsString;
use std::io::{self, Write};

use super::options::{CommandLine, OptionError};

/// Ways out of a program, tests' included.
pub struct Console<'a> {
    program: &'static str,
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
    /// `-q`: only errors, and what was asked for.
    pub quiet: bool,
    /// `-v`: details, too.
    pub verbose: bool,
}

/// A program's exit status.
pub type ExitStatus = u8;

impl<'a> Console<'a> {
    /// A console that writes to these. A write that fails is ignored: there is nobody left to tell.
    pub fn new(program: &'static str, out: &'a mut dyn Write, err: &'a mut dyn Write) -> Self {
        Self {
            program,
            out,
            err,
            quiet: false,
            verbose: false,
        }
    }

    /// The same ways out, for what a program says that this one has started.
    pub fn speaking_as(&mut self, program: &'static str) -> Console<'_> {
        Console {
            program,
            out: &mut *self.out,
            err: &mut *self.err,
            quiet: self.quiet,
            verbose: self.verbose,
        }
    }

    /// The program's name.
    pub fn program(&self) -> &'static str {
        self.program
    }

    /// `PROG: text` unless quiet.
    pub fn say(&mut self, text: &str) {
        if !self.quiet {
            let _ = writeln!(self.out, "{}: {text}", self.program);
        }
    }

    /// `PROG: text` if verbose.
    pub fn detail(&mut self, text: &str) {
        if self.verbose {
            let _ = writeln!(self.out, "{}: {text}", self.program);
        }
    }

    /// `PROG: ERROR text` on standard error. The status is 1, for `return console.error(...)`.
    pub fn error(&mut self, text: &str) -> ExitStatus {
        let _ = writeln!(self.err, "{}: ERROR {text}", self.program);
        1
    }

    /// What was asked for, such as a list: as it stands, quiet or not.
    pub fn print(&mut self, text: &str) {
        let _ = self.out.write_all(text.as_bytes());
        let _ = self.out.flush();
    }

    /// A command line taken apart, or the status to end with after everything was said about it. `-h` and `-V` are
    /// answered here, `-q` and `-v` set.
    pub fn command_line(
        &mut self,
        specification: &str,
        usage: &str,
        arguments: impl IntoIterator<Item = OsString>,
    ) -> Result<CommandLine, ExitStatus> {
        let line = CommandLine::parse(specification, arguments)
            .map_err(|error| self.usage_error(&error))?;
        if line.has('h') {
            self.print(usage);
            return Err(0);
        }
        if line.has('V') {
            let version = env!("CARGO_PKG_VERSION");
            // No date: the same sources give the same program.
            let built = option_env!("GNBD_BUILT").unwrap_or("from source");
            self.print(&format!(
                "{} {version} (built {built})\nCopyright (C) the authors of sanlab. MIT or Apache-2.0.\n",
                self.program
            ));
            return Err(0);
        }
        self.quiet = line.has('q');
        self.verbose = line.has('v');
        if self.quiet && self.verbose {
            return Err(self.incompatible('q', 'v'));
        }
        Ok(line)
    }

    /// What is said of two flags that exclude each other.
    pub fn incompatible(&mut self, one: char, other: char) -> ExitStatus {
        self.error(&format!("flags -{one} and -{other} are not compatible"));
        let _ = writeln!(self.err, "Please see man page for details.");
        1
    }

    fn usage_error(&mut self, error: &OptionError) -> ExitStatus {
        let _ = writeln!(self.err, "{}: {error}", self.program);
        let _ = writeln!(self.err, "Please use '-h' for usage.");
        1
    }
}

/// The words of the C library for an error, as the historic programs print them.
pub fn strerror(error: &io::Error) -> String {
    let text = error.to_string();
    match text.rfind(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// [`strerror`] of a bare number.
pub fn strerror_of(errno: u32) -> String {
    match i32::try_from(errno) {
        Ok(errno) => strerror(&io::Error::from_raw_os_error(errno)),
        Err(_) => format!("Unknown error {errno}"),
    }
}
