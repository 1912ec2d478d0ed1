//! Programs that run for a moment, and what they say.

use std::io::{Read as _, Seek as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::timeout;

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
    let text = |mut file: std::fs::File| {
        let mut bytes = Vec::new();
        file.rewind()?;
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    Ok(ProcessOutput {
        status,
        stdout: text(stdout).map_err(host)?,
        stderr: text(stderr).map_err(host)?,
    })
}
