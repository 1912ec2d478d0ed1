//! What can go wrong with a machine. Messages finish the words "failed to".

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::channels::command::Printed;
use crate::command_line::spec::Arch;
use crate::process::space::FileSystem;
use crate::process::status::Status;

/// Why a command in a guest gave no good answer: six kinds, because each has another cause and another remedy.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ExecError {
    /// The command ended badly; the machine is well.
    #[error("run `{command}` on {node}: it {status}{}", tail(.stderr_tail))]
    CommandFailed {
        /// Where it ran.
        node: String,
        /// What was run, shortened.
        command: String,
        /// How it ended; 126 if the agent could not begin it.
        status: Status,
        /// The end of its standard error.
        stderr_tail: String,
    },
    /// The command was not done in time; the agent answers, and the command's session was killed.
    #[error("run `{command}` on {node} within {}: {last_seen}", seconds(*.deadline))]
    TimedOut {
        /// Where it ran.
        node: String,
        /// What was run, shortened.
        command: String,
        /// The time that it was given.
        deadline: Duration,
        /// What was known of it last.
        last_seen: String,
        /// What it had printed by then.
        printed: Box<Printed>,
    },
    /// QEMU runs and the guest's kernel is well, as far as is known, but its agent does not answer.
    #[error("run `{command}` on {node}: the guest agent is dead: {reason}")]
    AgentDead {
        /// Where it should have run.
        node: String,
        /// What should have been run, shortened.
        command: String,
        /// What was seen.
        reason: String,
    },
    /// QEMU runs, but the guest does not get on: its kernel obeys nothing, or keeps the agent from going on.
    #[error("run `{command}` on {node}: the guest hangs: {reason}")]
    GuestHangs {
        /// Where it should have run.
        node: String,
        /// What should have been run, shortened.
        command: String,
        /// What was seen.
        reason: String,
    },
    /// The QEMU process has ended.
    #[error("run `{command}` on {node}: QEMU {status}{}{}{}", why(.cause.as_deref()), space(.full.as_deref()), tail(.stderr_tail))]
    QemuDead {
        /// Where it should have run.
        node: String,
        /// What should have been run, shortened.
        command: String,
        /// How QEMU ended.
        status: Status,
        /// Why it ended, in QEMU's own word, such as `guest-reset`.
        cause: Option<Box<str>>,
        /// It was killed by SIGBUS because this file system has no space left.
        full: Option<Box<FileSystem>>,
        /// The end of what QEMU wrote to its standard error.
        stderr_tail: String,
    },
    /// The guest's kernel has panicked.
    #[error("run `{command}` on {node}: the guest's kernel panicked{}", tail(.console_tail))]
    GuestPanicked {
        /// Where it should have run.
        node: String,
        /// What should have been run, shortened.
        command: String,
        /// What the console says of it.
        console_tail: String,
    },
}

/// Why a machine could not be started, asked or ended.
#[derive(Debug, thiserror::Error)]
pub enum VmError {
    /// The QEMU program cannot be run.
    #[error("run {}: {source} (is QEMU installed?)", program.display())]
    NoQemu {
        /// What was tried.
        program: PathBuf,
        /// The host's answer.
        source: io::Error,
    },
    /// The host refused something.
    #[error("{doing}: {source}")]
    Host {
        /// What was tried.
        doing: String,
        /// The host's answer.
        source: io::Error,
    },
    /// QEMU ended before its control channel was ready.
    #[error("start {node}: QEMU {status}{}{}", space(.full.as_deref()), tail(.stderr_tail))]
    DiedAtStart {
        /// The machine.
        node: String,
        /// How QEMU ended.
        status: Status,
        /// It was killed by SIGBUS because this file system has no space left.
        full: Option<Box<FileSystem>>,
        /// What it said.
        stderr_tail: String,
    },
    /// QEMU runs but its control channel did not become ready.
    #[error("start {node} within {}: waited for {awaited}", seconds(*.deadline))]
    StartTimedOut {
        /// The machine.
        node: String,
        /// The time that it was given.
        deadline: Duration,
        /// What did not happen.
        awaited: String,
    },
    /// KVM was asked for and does not work.
    #[error(
        "use KVM for {arch} guests: {reason}; without `--accel kvm` and SANLAB_REQUIRE_KVM they run on TCG, several times slower"
    )]
    NoKvm {
        /// The guests' instruction set.
        arch: Arch,
        /// What the probe saw, and what mends it.
        reason: String,
    },
    /// QEMU refused a QMP command.
    #[error("run the QMP command {command} on {node}: {description}")]
    Qmp {
        /// The machine.
        node: String,
        /// The command's name.
        command: String,
        /// QEMU's words.
        description: String,
    },
    /// A machine's state could not be written; the machine can go on.
    #[error("save {node} to {}: {reason}", state.display())]
    NotSaved {
        /// The machine.
        node: String,
        /// The file that was to be written.
        state: PathBuf,
        /// What went wrong, in QEMU's or the host's words.
        reason: String,
    },
    /// QEMU did not take a state that is what was saved: it belongs to another machine, or to another QEMU.
    #[error("load {} as {node}: {reason}", state.display())]
    NotLoaded {
        /// The machine.
        node: String,
        /// The file with the state.
        state: PathBuf,
        /// What went wrong, in QEMU's or the host's words.
        reason: String,
    },
    /// A saved machine's file is not what was saved.
    #[error("load {}: {reason}", path.display())]
    StateDamaged {
        /// The file.
        path: PathBuf,
        /// How it differs.
        reason: String,
    },
    /// The machine could not be asked; one of the six kinds.
    #[error(transparent)]
    Guest(#[from] ExecError),
    /// A process did not end although it was killed.
    #[error("end {node}: process {pid} did not go away after SIGKILL")]
    Unkillable {
        /// The machine.
        node: String,
        /// QEMU's process.
        pid: u32,
    },
    /// Processes of a run were still there after everything was ended; they have been killed.
    #[error("leave nothing behind: these processes survived: {}", survivors.join(", "))]
    Survivors {
        /// Process id and name of each.
        survivors: Vec<String>,
    },
}

impl VmError {
    pub(crate) fn host(doing: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::Host {
            doing: doing.into(),
            source: source.into(),
        }
    }
}

fn why(cause: Option<&str>) -> String {
    cause.map(|cause| format!(" ({cause})")).unwrap_or_default()
}

pub(crate) fn space(full: Option<&FileSystem>) -> String {
    full.map(|full| format!(": there is no space left on {full}"))
        .unwrap_or_default()
}

fn tail(text: &str) -> String {
    let text = text.trim_end();
    if text.is_empty() {
        String::new()
    } else {
        format!(":\n{text}")
    }
}

/// To the millisecond.
fn seconds(duration: Duration) -> String {
    format!("{} s", (duration.as_secs_f64() * 1e3).round() / 1e3)
}
