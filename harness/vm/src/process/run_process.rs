//! Programs that run for a moment, and what they say.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::unix::pipe;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::error::VmError;
use crate::process::spawn_alone;
use crate::process::status::{Status, tail};

/// What a short-lived program said.
pub(crate) struct ProcessOutput {
    /// `None`: it was killed at the deadline.
    pub(crate) status: Option<Status>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl ProcessOutput {
    /// The end of what it complained of, in one line.
    pub(crate) fn complaint(&self) -> String {
        tail(&self.stderr).replace('\n', "; ")
    }
}

/// Runs a program to its end, or to its death at the deadline.
pub(crate) async fn run(
    mut command: Command,
    deadline: Duration,
) -> Result<ProcessOutput, VmError> {
    let program = PathBuf::from(command.get_program());
    let host = |error| VmError::host(format!("run {}", program.display()), error);
    // Files and not pipes: nothing has to be drained while it runs.
    let (stdout, stderr) = (
        tempfile::tempfile().map_err(host)?,
        tempfile::tempfile().map_err(host)?,
    );
    command
        .stdin(Stdio::null())
        .stdout(stdout.try_clone().map_err(host)?)
        .stderr(stderr.try_clone().map_err(host)?);
    let process = spawn_alone(command).map_err(|source| VmError::NoQemu {
        program: program.clone(),
        source,
    })?;
    let status = if let Ok(status) = timeout(deadline, process.exited()).await {
        Some(status.map_err(host)?)
    } else {
        process.signal(Signal::KILL);
        process.exited().await.map_err(host)?;
        None
    };
    Ok(ProcessOutput {
        status,
        stdout: text(stdout).map_err(host)?,
        stderr: text(stderr).map_err(host)?,
    })
}

/// So much of what a watched program prints is heard.
const HEARD: u64 = 1 << 16;

/// How long what a program printed at its end may take to be read.
const REST: Duration = Duration::from_secs(1);

/// Runs a program that reads `input`. It may take as long as `patience` until it prints a line that `gets_on`, and as long again
/// from each such line on; then it is killed.
pub(crate) async fn run_watched(
    mut command: Command,
    input: &[u8],
    patience: Duration,
    mut gets_on: impl FnMut(&str) -> bool,
) -> Result<ProcessOutput, VmError> {
    let program = PathBuf::from(command.get_program());
    let host = |error| VmError::host(format!("run {}", program.display()), error);
    let (stdin, mut to_stdin) = io::pipe().map_err(host)?;
    let (from_stdout, stdout) = io::pipe().map_err(host)?;
    let stderr = tempfile::tempfile().map_err(host)?;
    // Less than a pipe holds.
    to_stdin.write_all(input).map_err(host)?;
    command
        .stdin(stdin)
        .stdout(stdout)
        .stderr(stderr.try_clone().map_err(host)?);
    let process = spawn_alone(command).map_err(|source| VmError::NoQemu {
        program: program.clone(),
        source,
    })?;
    let printed = pipe::Receiver::from_owned_fd(from_stdout.into()).map_err(host)?;
    let mut lines = BufReader::new(printed.take(HEARD)).lines();
    let mut deadline = Instant::now() + patience;
    let mut prints = true;
    let status = loop {
        tokio::select! {
            () = process.ended() => break Some(process.exited().await.map_err(host)?),
            line = lines.next_line(), if prints => match line.map_err(host)? {
                Some(line) if gets_on(&line) => deadline = Instant::now() + patience,
                Some(_) => {}
                None => prints = false,
            },
            () = sleep_until(deadline) => {
                process.signal(Signal::KILL);
                process.exited().await.map_err(host)?;
                break None;
            }
        }
    };
    let rest = Instant::now() + REST;
    while let Ok(Ok(Some(line))) = timeout_at(rest, lines.next_line()).await {
        gets_on(&line);
    }
    Ok(ProcessOutput {
        status,
        stdout: String::new(),
        stderr: text(stderr).map_err(host)?,
    })
}

fn text(mut file: File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
