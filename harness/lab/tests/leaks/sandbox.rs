//! A place for a child and all that it makes, and whether anything of it is left.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use fs_err as fs;
use libtest_mimic::Failed;
use rustix::process::{Pid, Signal, kill_process};
use sanlab_image::{Kind, Store};
use sanlab_record::RunRecord;

use crate::child::ended;

/// For the janitor of a killed lab, on a busy machine.
pub(crate) const CLEAN_UP: Duration = Duration::from_secs(20);

/// For a whole run of the scenario.
pub(crate) const WHOLE_RUN: Duration = Duration::from_secs(240);

/// How soon it is looked again what a child has said: some of what it does takes a quarter of a second.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// A place of its own for one child: everything that the lab makes outside its records is in it or names it.
pub(crate) struct Sandbox {
    folder: tempfile::TempDir,
    store: PathBuf,
}

impl Sandbox {
    /// With a store of its own, too, in which there is nothing but the user's images.
    pub(crate) fn new() -> Result<Self, Failed> {
        let folder = tempfile::Builder::new().prefix("leak-").tempdir()?;
        let store = folder.path().join("store");
        Self::in_folder(folder, store)
    }

    /// With a store that others use as well.
    pub(crate) fn with_store(store: PathBuf) -> Result<Self, Failed> {
        let folder = tempfile::Builder::new().prefix("leak-").tempdir()?;
        Self::in_folder(folder, store)
    }

    fn in_folder(folder: tempfile::TempDir, store: PathBuf) -> Result<Self, Failed> {
        let sandbox = Self { folder, store };
        fs::create_dir(sandbox.temp())?;
        fs::create_dir_all(&sandbox.store)?;
        let images = sandbox.store.join("images");
        if !images.exists() {
            let all = Store::open_default()?.root().join("images");
            fs::os::unix::fs::symlink(all, images)?;
        }
        Ok(sandbox)
    }

    fn runtime(&self) -> PathBuf {
        self.folder.path().join("r")
    }

    fn runs(&self) -> PathBuf {
        self.folder.path().join("runs")
    }

    fn temp(&self) -> PathBuf {
        self.folder.path().join("t")
    }

    pub(crate) fn start(&self, mut command: Command) -> Result<Child, Failed> {
        let said = fs::File::create(self.folder.path().join("said"))?;
        command
            .current_dir(project())
            .env("SANLAB_CACHE", &self.store)
            // Never reached: the images in it are the user's.
            .env("SANLAB_CACHE_LIMIT", "1024TiB")
            .env("SANLAB_RUNTIME", self.runtime())
            .env("SANLAB_RUNS", self.runs())
            .env("TMPDIR", self.temp())
            .stdin(Stdio::null())
            .stdout(said.file().try_clone()?)
            .stderr(said.into_file())
            .process_group(0);
        Ok(command.spawn()?)
    }

    /// What the child has written.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.folder.path().join("said")).unwrap_or_default()
    }

    pub(crate) fn wait(&self, child: &mut Child, deadline: Duration) -> Result<ExitStatus, Failed> {
        if let Some(status) = ended(child, deadline)? {
            return Ok(status);
        }
        child.kill()?;
        child.wait()?;
        Err(format!("the child did not end within {deadline:?}\n{}", self.said()).into())
    }

    /// Until the child has written this; a child that ends without it is an error.
    pub(crate) fn wait_until_said(&self, child: &mut Child, words: &str) -> Result<(), Failed> {
        until(&format!("`{words}`"), WHOLE_RUN, || {
            let ended = !matches!(child.try_wait(), Ok(None));
            // Looked at last: an ended child writes nothing more.
            let said = self.said();
            if said.contains(words) {
                return Some(Ok(()));
            }
            ended.then(|| Err(format!("the child ended without `{words}`\n{said}").into()))
        })?
    }

    /// The record of the run that the child has made.
    pub(crate) fn record(&self) -> Result<RunRecord, Failed> {
        let run = fs::read_dir(self.runs())?
            .next()
            .ok_or("no run was kept")??;
        let record = run.path().join("leaks/two_nodes/record.json");
        Ok(RunRecord::from_json(&fs::read_to_string(record)?)?)
    }

    /// Every process whose command line names the sandbox.
    pub(crate) fn processes(&self) -> Vec<String> {
        let path = self.folder.path().to_string_lossy().into_owned();
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            // A process may end while it is looked at.
            let Ok(line) = fs::read(entry.path().join("cmdline")) else {
                continue;
            };
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            if line.contains(&path) {
                found.push(format!("{} {line}", entry.file_name().to_string_lossy()));
            }
        }
        found
    }

    /// What is left of the lab.
    fn remains(&self) -> Vec<String> {
        let mut remains = self.processes();
        for entry in fs::read_dir(self.runtime()).into_iter().flatten().flatten() {
            // The registry's own files stay: the lock and what it knows of the machine.
            if entry.path().is_dir() {
                remains.push(format!("folder {}", entry.path().display()));
            }
        }
        remains.extend(
            fs::read_dir(self.temp())
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.path().display().to_string()),
        );
        let path = self.folder.path().to_string_lossy().into_owned();
        let sockets = fs::read_to_string("/proc/net/unix").unwrap_or_default();
        remains.extend(
            sockets
                .lines()
                .filter(|line| line.contains(&path))
                .map(|line| format!("socket {line}")),
        );
        remains
    }

    /// Nothing is left, after this long at the latest.
    pub(crate) fn expect_empty(&self, after: &str, deadline: Duration) -> Result<(), Failed> {
        let mut remains = Vec::new();
        let gone = until("nothing to be left", deadline, || {
            remains = self.remains();
            remains.is_empty().then_some(())
        });
        gone.map_err(|_| {
            format!(
                "left after {after}, {deadline:?} later:\n  {}\n{}",
                remains.join("\n  "),
                self.said()
            )
        })?;
        self.expect_good_store(after)
    }

    /// What stands half made in the store.
    pub(crate) fn half_made(&self) -> usize {
        fs::read_dir(self.store.join("building")).map_or(0, Iterator::count)
    }

    /// Whatever is in the store is whole and held by nobody, and looking at it sweeps away what was half made.
    fn expect_good_store(&self, after: &str) -> Result<(), Failed> {
        let store = Store::at(&self.store)?;
        let mut bad = store.entries()?;
        // Of the images nothing is asked: others may use them.
        bad.retain(|entry| entry.kind != Kind::Image && (entry.held || !entry.whole));
        let half = self.half_made();
        if bad.is_empty() && half == 0 {
            return Ok(());
        }
        Err(format!(
            "left in the store after {after}: {half} half made and {bad:?}\n{}",
            self.said()
        )
        .into())
    }
}

impl Drop for Sandbox {
    /// A test that found a leak does not leave it to the next one.
    fn drop(&mut self) {
        for process in self.processes() {
            let pid = process
                .split(' ')
                .next()
                .and_then(|pid| pid.parse().ok())
                .and_then(Pid::from_raw);
            if let Some(pid) = pid {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

/// Asks again and again until there is an answer; the error names what was awaited.
pub(crate) fn until<T>(
    what: &str,
    deadline: Duration,
    mut ask: impl FnMut() -> Option<T>,
) -> Result<T, Failed> {
    let end = Instant::now() + deadline;
    loop {
        if let Some(answer) = ask() {
            return Ok(answer);
        }
        if Instant::now() >= end {
            return Err(format!("waited {deadline:?} for {what}").into());
        }
        std::thread::park_timeout(LOOK_AGAIN);
    }
}

/// A run that builds everything, whatever is kept.
pub(crate) fn fresh() -> Command {
    let mut command = sanlab();
    command.arg("--fresh");
    command
}

pub(crate) fn sanlab() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sanlab"));
    command.arg("run").arg(two_nodes());
    command
}

pub(crate) fn two_nodes() -> PathBuf {
    project().join("fixtures/leaks/two-nodes.toml")
}

pub(crate) fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
