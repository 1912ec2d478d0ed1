//! What is run in a guest, and what came of it.

use std::fmt;
use std::time::Duration;

use sanlab_plan::guest;
use tokio::sync::mpsc;

use crate::error::ExecError;
use crate::process::status::{Status, tail};

/// A command to be run in a guest, in a session of its own.
#[derive(Debug, Clone)]
pub struct Command {
    pub(crate) argv: Vec<String>,
    pub(crate) environment: Vec<String>,
    pub(crate) stdin: Option<Vec<u8>>,
    pub(crate) stream: Option<mpsc::UnboundedSender<OutputLine>>,
}

impl Command {
    /// A script for the guest's shell, which stops at the first command that fails. Batch what belongs together in one
    /// script: each is a round trip.
    pub fn script(text: impl Into<String>) -> Self {
        Self::new(guest::script(text))
    }

    /// A command of somebody who knows the distribution: for its own shell, which takes every program from `PATH`.
    pub fn shell(text: impl Into<String>) -> Self {
        Self::new(guest::command(text))
    }

    /// A program with its arguments; without a slash it is looked for in the guest's `PATH`.
    pub fn program<S: Into<String>>(
        path: impl Into<String>,
        arguments: impl IntoIterator<Item = S>,
    ) -> Self {
        let arguments = arguments.into_iter().map(Into::into);
        Self::new(std::iter::once(path.into()).chain(arguments).collect())
    }

    /// A program with its arguments.
    pub(crate) fn new(argv: Vec<String>) -> Self {
        Self {
            argv,
            environment: Vec::new(),
            stdin: None,
            stream: None,
        }
    }

    /// Sets an environment variable; the others are the agent's own.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push(format!("{name}={value}"));
        self
    }

    /// Gives the command something to read; without it, it reads from /dev/null.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// Passes on every line of output while the command runs; for output that is long or slow in coming. It costs a few
    /// requests more than a command that is heard at its end. The output lies in a file in the guest's RAM, which bounds it.
    #[must_use]
    pub fn stream(mut self, lines: mpsc::UnboundedSender<OutputLine>) -> Self {
        self.stream = Some(lines);
        self
    }
}

/// The first line of what is run, for messages.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match guest::script_text(&self.argv) {
            Some(script) => script.to_owned(),
            None => self.argv.join(" "),
        };
        let text = text.trim();
        let line = text.lines().next().unwrap_or_default();
        let short: String = line.chars().take(80).collect();
        f.write_str(&short)?;
        if short.len() < text.len() {
            f.write_str(" ...")
        } else {
            Ok(())
        }
    }
}

/// Which of a command's two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A line of output of a command that is still running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputLine {
    /// Where it was written.
    pub stream: OutputStream,
    /// The line without its end; what is not UTF-8 is replaced.
    pub text: String,
}

/// What a command printed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Printed {
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
    /// There was more of one of them.
    pub cut: bool,
}

impl Printed {
    /// Whether it printed nothing.
    pub fn is_empty(&self) -> bool {
        self.stdout.is_empty() && self.stderr.is_empty()
    }
}

/// A command that has ended, well or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// How it ended.
    pub status: Status,
    /// All of its standard output, unless it was cut.
    pub stdout: Vec<u8>,
    /// All of its standard error, unless it was cut.
    pub stderr: Vec<u8>,
    /// There was more: the agent keeps the first 16 MiB of each. [`Command::stream`] has no such limit.
    pub cut: bool,
    /// From the request to the answer, on the host's clock.
    pub elapsed: Duration,
    /// Where it ran.
    pub node: String,
    /// What was run, shortened.
    pub command: String,
}

impl Output {
    /// All of the output of a command that returned 0; [`ExecError::CommandFailed`] of any other, and where it is not all.
    pub fn success(self) -> Result<Self, ExecError> {
        let stderr_tail = match (self.status.is_success(), self.cut) {
            (true, false) => return Ok(self),
            (true, true) => {
                "the agent kept only the first 16 MiB of its output: stream it".to_owned()
            }
            (false, _) => tail(&String::from_utf8_lossy(&self.stderr)),
        };
        Err(ExecError::CommandFailed {
            node: self.node,
            command: self.command,
            status: self.status,
            stderr_tail,
        })
    }

    /// Standard output as text; what is not UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_named_by_its_first_line() {
        assert_eq!(
            Command::script("\nmkfs.ocfs2 -N 5 /dev/sda\nsync\n").to_string(),
            "mkfs.ocfs2 -N 5 /dev/sda ..."
        );
        assert_eq!(
            Command::program("/bin/dd", ["bs=1M", "count=1"]).to_string(),
            "/bin/dd bs=1M count=1"
        );
        assert_eq!(
            Command::script("é".repeat(100)).to_string(),
            format!("{} ...", "é".repeat(80))
        );
    }

    #[test]
    fn a_signal_is_no_success() {
        let output = Output {
            status: Status::Signalled(9),
            stdout: Vec::new(),
            stderr: (1..=30)
                .flat_map(|n| format!("line {n}\n").into_bytes())
                .collect(),
            cut: false,
            elapsed: Duration::ZERO,
            node: "vix0".into(),
            command: "dd".into(),
        };
        let error = output.success().expect_err("killed");
        let text = error.to_string();
        assert!(
            text.starts_with("run `dd` on vix0: it was ended by SIGKILL:\nline 11\n"),
            "{text}"
        );
    }
}
