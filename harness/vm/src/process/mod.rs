//! Processes that cannot outlive the harness. The only file of this crate with unsafe code.
//!
//! Three mechanisms, because each has a gap. The kernel kills a child when the *thread* that started it ends
//! (`PR_SET_PDEATHSIG`), so all are started from one thread that lives as long as the process. Every child is in the
//! run's process group, whose leader, the janitor, kills the rest and removes the run's folder when the harness is gone
//! for whatever reason. And an orderly end looks through the group: a survivor is an error.

pub(crate) mod cost;
pub(crate) mod priority;
pub(crate) mod records;
pub(crate) mod run_process;
pub(crate) mod space;
pub(crate) mod status;
pub(crate) mod usage;

use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::Duration;

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, getpid, getppid, kill_process, pidfd_open,
    pidfd_send_signal, set_parent_process_death_signal, waitid,
};
use tokio::sync::watch;
use tokio::time::{Instant, interval};

use crate::error::VmError;
use crate::process::records::ProcessRecords;
use crate::process::status::Status;

/// The janitor: leader of the group, deaf to what a terminal sends, asleep until its standard input says something.
/// "done" is an orderly end; end of file means that the harness is no more. It must outlive its own group's killing,
/// so it does not kill the group but looks for its members in /proc (field 5 of `stat`, counted after the
/// parenthesised name, which may itself contain anything). While one of them cannot be killed, the folder with their record
/// stays.
const JANITOR: &str = r#"
trap '' INT TERM HUP QUIT
read -r word && [ "$word" = done ] && exit 0
tries=0
while [ $tries -lt 1000 ]; do
    left=
    for stat in /proc/[0-9]*/stat; do
        read -r line 2>/dev/null <"$stat" || continue
        pid=${line%% *}
        set -- ${line##*) }
        [ "$3" = $$ ] && [ "$pid" != $$ ] && [ "$1" != Z ] || continue
        left=yes
        kill -KILL "$pid" 2>/dev/null
    done
    [ "$left" ] || exec rm -rf -- "$RUN_DIR"
    tries=$((tries + 1))
done
"#;

/// How long killed survivors and the janitor are awaited.
const PATIENCE: Duration = Duration::from_secs(5);

/// All processes of a run. Dropping it without [`close`](Self::close), as a panic does, kills them and removes the
/// run's folder, too.
#[derive(Debug)]
pub struct ProcessGroup {
    leader: Pid,
    dir: PathBuf,
    records: ProcessRecords,
    // Its closing wakes the janitor.
    lifeline: Mutex<Option<OwnedFd>>,
    janitor: Process,
}

impl ProcessGroup {
    /// Starts the janitor of `run_dir`, an existing folder that is removed when the harness dies.
    pub fn new(run_dir: &Path) -> Result<Self, VmError> {
        let records = ProcessRecords::open(run_dir)
            .map_err(|error| VmError::host("begin the record of processes", error))?;
        let (end, lifeline) = io::pipe().map_err(|error| VmError::host("make a pipe", error))?;
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", JANITOR, "sanlab-janitor"])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("RUN_DIR", run_dir);
        command
            .current_dir("/")
            .stdin(end)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        let mut janitor =
            spawn(command).map_err(|error| VmError::host("start the janitor /bin/sh", error))?;
        janitor.kill_on_drop = false;
        Ok(Self {
            leader: janitor.pid,
            dir: run_dir.to_owned(),
            records,
            lifeline: Mutex::new(Some(lifeline.into())),
            janitor,
        })
    }

    /// The process group's number.
    pub fn pgid(&self) -> u32 {
        self.leader.as_raw_nonzero().get().unsigned_abs()
    }

    /// The run's folder, which the janitor removes should the harness die.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Starts a process that dies with the harness, and is in the record of the run's processes.
    pub(crate) fn spawn(&self, mut command: Command) -> io::Result<Process> {
        command.process_group(self.leader.as_raw_nonzero().get());
        let records = self.records.clone();
        prepare_child(&mut command, move || records.add_this_process());
        spawn(command)
    }

    /// The orderly end: nobody of the group is left, and the janitor goes without removing anything. Who is left is
    /// killed all the same, and named in the error.
    pub async fn close(&self) -> Result<(), VmError> {
        let survivors = self.members();
        let deadline = Instant::now() + PATIENCE;
        let mut tick = interval(Duration::from_millis(5));
        let mut left = survivors.clone();
        while !left.is_empty() && Instant::now() < deadline {
            for (pid, _) in &left {
                let _ = kill_process(*pid, Signal::KILL);
            }
            tick.tick().await;
            left = self.members();
        }
        let lifeline = self
            .lifeline
            .lock()
            .expect("no panic while the lock is held")
            .take();
        if let Some(lifeline) = lifeline {
            // The janitor may have been killed by hand: then there is nothing to dismiss.
            let _ = io::PipeWriter::from(lifeline).write_all(b"done\n");
            let _ = tokio::time::timeout(PATIENCE, self.janitor.exited()).await;
        }
        if survivors.is_empty() {
            return Ok(());
        }
        let survivors = survivors
            .into_iter()
            .map(|(pid, name)| format!("{} ({name})", pid.as_raw_nonzero()))
            .collect();
        Err(VmError::Survivors { survivors })
    }

    /// Living members but for the janitor, with their names.
    fn members(&self) -> Vec<(Pid, String)> {
        let processes = procfs::process::all_processes();
        processes
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|process| {
                let pid = Pid::from_raw(process.pid).filter(|pid| *pid != self.leader)?;
                let stat = process.stat().ok()?;
                let lives = !matches!(stat.state, 'Z' | 'X');
                (lives && stat.pgrp.unsigned_abs() == self.pgid()).then_some((pid, stat.comm))
            })
            .collect()
    }
}

/// A started process, held by a descriptor so that its number cannot come to mean somebody else. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Process {
    pid: Pid,
    handle: Arc<OwnedFd>,
    ended: watch::Receiver<bool>,
    kill_on_drop: bool,
}

impl Process {
    pub(crate) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Sends a signal; one that is gone already is no error.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ = pidfd_send_signal(&*self.handle, signal);
    }

    /// Waits for the process to end, and reaps it. Only one caller learns the status.
    pub(crate) async fn exited(&self) -> io::Result<Status> {
        self.ended().await;
        let status = waitid(WaitId::PidFd(self.handle.as_fd()), WaitIdOptions::EXITED)?
            .ok_or_else(|| io::Error::other("the process ended without a status"))?;
        Ok(match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Status::Exited(code),
            (None, signal) => Status::Signalled(signal.unwrap_or_default()),
        })
    }

    /// Waits for the process to end and leaves it to be reaped: its figures can still be read.
    pub(crate) async fn ended(&self) {
        // Without its watcher there is nothing to wait for.
        let _ = self.ended.clone().wait_for(|ended| *ended).await;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.kill_on_drop {
            self.signal(Signal::KILL);
        }
    }
}

/// A program that runs for a moment and belongs to no run; it dies with the harness.
pub(crate) fn spawn_alone(mut command: Command) -> io::Result<Process> {
    command.process_group(0);
    prepare_child(&mut command, || Ok(()));
    spawn(command)
}

/// Starts a process from the thread that never ends.
fn spawn(mut command: Command) -> io::Result<Process> {
    type Job = Box<dyn FnOnce() + Send>;
    static SPAWNER: OnceLock<mpsc::Sender<Job>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (jobs, queue) = mpsc::channel::<Job>();
        let name = std::thread::Builder::new().name("spawner".into());
        // Without a thread the queue closes, and every spawn below says so.
        let _ = name.spawn(move || queue.into_iter().for_each(|job| job()));
        jobs
    });
    let (answer, answered) = mpsc::sync_channel(1);
    let gone = || io::Error::other("the thread that starts processes is gone");
    let job = Box::new(move || drop(answer.send(command.spawn())));
    spawner.send(job).map_err(|_| gone())?;
    // Not waited for through the `Child`: until `Process` reaps it, its number stays its own.
    let child = answered.recv().map_err(|_| gone())??;
    let pid = Pid::from_child(&child);
    let handle = Arc::new(pidfd_open(pid, PidfdFlags::empty())?);
    let (sender, ended) = watch::channel(false);
    let watched = Arc::clone(&handle);
    // A thread and not the runtime, whose own watching of descriptors is unsafe or wants a SIGCHLD handler.
    std::thread::Builder::new()
        .name(format!("wait {}", pid.as_raw_nonzero()))
        .spawn(move || {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while matches!(
                waitid(WaitId::PidFd(watched.as_fd()), options),
                Err(rustix::io::Errno::INTR)
            ) {}
            sender.send_replace(true);
        })?;
    Ok(Process {
        pid,
        handle,
        ended,
        kill_on_drop: true,
    })
}

/// Has the kernel kill the child when the thread that starts it, and so this process, ends. Then the child calls `then`,
/// which may make system calls and do nothing else.
fn prepare_child(command: &mut Command, then: impl Fn() -> io::Result<()> + Send + Sync + 'static) {
    let harness = getpid();
    let before_exec = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // It may have died before the line above: then nobody would send the signal.
        if getppid() == Some(harness) {
            then()
        } else {
            Err(io::ErrorKind::Interrupted.into())
        }
    };
    #[expect(
        unsafe_code,
        reason = "pre_exec: the closure makes a few system calls and does not allocate"
    )]
    // SAFETY: only async-signal-safe calls happen between fork and exec.
    unsafe {
        command.pre_exec(before_exec);
    }
}
