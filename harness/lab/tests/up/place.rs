//! A place of its own for the fleets of a test, and whether anything is left of them.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use fs_err as fs;
use guest_trials::Failed;
use rustix::process::{Pid, Signal, kill_process};

use crate::{SOON, UP, child, pid_of, program};

/// For the janitors of a killed supervisor, on a busy machine, and for a fleet that ends by itself.
const CLEAN_UP: Duration = Duration::from_secs(60);

/// A folder of running fleets of its own; the store is the user's.
pub(crate) struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Result<Self, Failed> {
        let folder = tempfile::Builder::new().prefix("up-").tempdir()?;
        Ok(Self { folder })
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program();
        command
            .args(arguments)
            .current_dir(project())
            .env("SANLAB_RUNTIME", self.file("r"))
            .env("SANLAB_RUNS", self.file("runs"))
            .env("TERM", "xterm")
            .stdin(Stdio::null());
        command
    }

    /// Runs the program to its end.
    pub(crate) fn sanlab(&self, arguments: &[&str], deadline: Duration) -> Result<Output, Failed> {
        self.output(self.command(arguments), deadline)
    }

    /// Brings two nodes up.
    pub(crate) fn up(&self, arguments: &[&str]) -> Result<Output, Failed> {
        let mut command = self.command(&["up"]);
        command.args(arguments).arg(two_nodes());
        self.output(command, UP)
    }

    /// Runs the program with that to read.
    pub(crate) fn piped(&self, arguments: &[&str], input: &[u8]) -> Result<Output, Failed> {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut stdin = child.stdin.take().ok_or("it has no input")?;
        std::thread::scope(|scope| {
            scope.spawn(move || stdin.write_all(input));
            Ok(child.wait_with_output()?)
        })
    }

    pub(crate) fn output(
        &self,
        mut command: Command,
        deadline: Duration,
    ) -> Result<Output, Failed> {
        let (out, err) = (self.file("out"), self.file("err"));
        let mut child = command
            .stdout(fs::File::create(&out)?.into_parts().0)
            .stderr(fs::File::create(&err)?.into_parts().0)
            .spawn()?;
        let status = child::ended(&mut child, deadline)?;
        if status.is_none() {
            child.kill()?;
        }
        let (stdout, stderr) = (fs::read(out)?, fs::read(err)?);
        let Some(status) = status else {
            let said = String::from_utf8_lossy(&stderr).into_owned();
            return Err(format!("it did not end within {deadline:?}:\n{said}").into());
        };
        Ok(Output {
            status,
            stdout,
            stderr,
        })
    }

    /// The process of the only fleet, as soon as there is one.
    pub(crate) fn supervisor(&self) -> Result<Pid, Failed> {
        let end = Instant::now() + SOON;
        loop {
            let list = self.sanlab(&["ls"], SOON)?;
            let list = String::from_utf8_lossy(&list.stdout).into_owned();
            let row = list.lines().find(|line| line.starts_with("two_nodes"));
            // Before the scenario, which is last.
            let number = row.and_then(|row| row.split_whitespace().rev().nth(1));
            if let Some(pid) = number.and_then(pid_of) {
                return Ok(pid);
            }
            if Instant::now() >= end {
                return Err(format!("waited for a fleet; `ls` says\n{list}").into());
            }
        }
    }

    /// Nothing is left of any fleet.
    pub(crate) fn expect_empty(&self, after: &str) -> Result<(), Failed> {
        let end = Instant::now() + CLEAN_UP;
        loop {
            let remains = self.remains();
            if remains.is_empty() {
                return Ok(());
            }
            if Instant::now() >= end {
                return Err(format!("left after {after}:\n  {}", remains.join("\n  ")).into());
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    fn remains(&self) -> Vec<String> {
        let mut remains = self.processes();
        for entry in fs::read_dir(self.file("r")).into_iter().flatten().flatten() {
            // The registry's own files stay.
            if entry.path().is_dir() {
                remains.push(format!("folder {}", entry.path().display()));
            }
        }
        remains
    }

    /// Processes whose command line or environment names this place.
    fn processes(&self) -> Vec<String> {
        let path = self.file("r").to_string_lossy().into_owned();
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let read = |name: &str| {
                let bytes = fs::read(entry.path().join(name)).unwrap_or_default();
                String::from_utf8_lossy(&bytes).replace('\0', " ")
            };
            if read("cmdline").contains(&path) || read("environ").contains(&path) {
                let number = entry.file_name();
                found.push(format!("{} {}", number.to_string_lossy(), read("cmdline")));
            }
        }
        found
    }
}

impl Drop for Place {
    /// A test that found a leak does not leave it to the next one.
    fn drop(&mut self) {
        for process in self.processes() {
            if let Some(pid) = process.split(' ').next().and_then(pid_of) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

pub(crate) fn two_nodes() -> PathBuf {
    project().join("fixtures/leaks/two-nodes.toml")
}

pub(crate) fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
