//! Things that happened, in order.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::PhaseName;
use crate::quantity::{self, short};

/// One thing that happened in a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Seconds since the run began.
    pub at: f64,
    /// The phase it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<PhaseName>,
    /// The node it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventKind {
    /// A phase began: boot, each layer, each step, teardown.
    PhaseStarted,
    /// A phase ended well after so many seconds.
    PhaseEnded {
        /// How long it took.
        seconds: f64,
    },
    /// The run waits for memory or CPUs that other runs hold.
    Waiting {
        /// What is awaited, and who holds it.
        what: String,
    },
    /// Progress within a phase, for people.
    Progress {
        /// One line.
        text: String,
    },
    /// A dead run was cleared away before the start.
    Swept {
        /// Its folder.
        run: String,
        /// Processes of it that still ran, and were killed.
        killed: Vec<u32>,
    },
    /// A dead run could not be cleared away, or not wholly; later runs try it again.
    NotSwept {
        /// Its folder.
        run: String,
        /// Why.
        reason: String,
    },
    /// The data disks may grow to more than there is room for.
    LittleSpace {
        /// Where they lie.
        folder: String,
        /// MiB that are free.
        free_mib: u64,
        /// MiB that they have together when full.
        disks_mib: u64,
    },
    /// The fleet stays up for whoever looks inside.
    Held {
        /// By what name it is asked.
        fleet: String,
        /// How long it stays at most.
        seconds: f64,
        /// How to look inside.
        attach: String,
    },
    /// The fleet of a run that has failed was saved as it was, so that it can be brought up again.
    Saved {
        /// Path of the folder, relative to the record's.
        folder: String,
        /// How long that took.
        seconds: f64,
        /// What it takes on disk.
        bytes: u64,
        /// Nodes that were there and were not saved, and why.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        left_out: BTreeMap<String, String>,
    },
    /// It was to be saved, and could not be.
    NotSaved {
        /// Why.
        reason: String,
    },
    /// Disks of the fleet lie in memory, or RAM that is kept: the fleet needs as much more of the machine's.
    FilesInMemory {
        /// Where they lie.
        folder: String,
        /// MiB that they may take.
        mib: u64,
    },
    /// Instructions were to be counted and cannot be. Emitted once for each reason, at the start.
    NotCounted {
        /// Whose.
        nodes: Vec<String>,
        /// What prevents it.
        reason: String,
    },
    /// A kernel's call trace has no lines of source, since there are no debug symbols of it.
    NoSymbols {
        /// Its release.
        kernel: String,
        /// Who booted it and wrote call traces.
        nodes: Vec<String>,
        /// How to get them.
        remedy: String,
    },
    /// A template is about to be made: a guest boots.
    TemplateStarted {
        /// What it is a template of.
        about: String,
    },
    /// A template is in the store.
    TemplateMade {
        /// What it is a template of.
        about: String,
        /// Since its QEMU was started.
        seconds: f64,
        /// What it takes on disk.
        bytes: u64,
    },
    /// A template could not be had: its nodes boot instead of being cloned, and are not kept as a checkpoint.
    TemplateFailed {
        /// What it is a template of.
        about: String,
        /// Why.
        reason: String,
    },
    /// A step broke something that ends by itself or with another step.
    FaultBegan {
        /// In words: `cut vix0 off from vix1, vix2`.
        what: String,
    },
    /// What a step broke is whole again.
    FaultEnded {
        /// The step's label.
        step: String,
        /// How long the fault lasted.
        seconds: f64,
    },
    /// A node's QEMU is about to be started.
    Booting,
    /// A node is about to be cloned from its template.
    Cloning,
    /// A node is about to go on from what was saved.
    Forking,
    /// A node's agent answered for the first time.
    Answered {
        /// Seconds since its QEMU was started.
        seconds: f64,
    },
    /// A node has its name and address, and the nodes started with or before it answer it.
    Ready {
        /// Seconds since its QEMU was started.
        seconds: f64,
    },
    /// A node ended as it was to.
    Stopped {
        /// In what way.
        how: String,
    },
    /// A node's kernel panicked, and no step had caused it.
    Panicked {
        /// The end of its console.
        console_tail: String,
    },
    /// A node's agent went away.
    AgentLost,
    /// A node's QEMU ended, unexpectedly.
    QemuExited {
        /// Its exit code or signal.
        status: String,
        /// Why, in QEMU's own word, such as `guest-reset`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<String>,
        /// It was killed by SIGBUS because this file system has no space left; what it is, and how to get some.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        full: Option<String>,
        /// The last line of its standard error, if there is any.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        stderr: String,
    },
    /// A node's disk did not take a request: QEMU has halted the guest.
    DiskFailed {
        /// The host's reason.
        reason: String,
        /// There is no space left for it.
        no_space: bool,
    },
    /// Something is wrong with the network.
    NetworkFailed {
        /// What.
        reason: String,
    },
    /// The kernel of a node said something about the cluster (a node joined, a slot was taken).
    KernelSaid {
        /// The line.
        line: String,
    },
    /// Something was measured.
    Measured {
        /// The step.
        step: String,
        /// The figure, `MiB/s`.
        mib_per_second: f64,
    },
    /// The node was ended without warning, as a step says.
    Crashed {
        /// In what way.
        how: CrashKind,
        /// So long after the step began: drawn from the run's seed, or at once.
        after_seconds: f64,
    },
    /// The disk of a node whose power was cut lost what was in its volatile write cache, but for what chance had written by then.
    WriteCacheLost {
        /// Writes after the last flush that the disk had completed.
        unflushed_writes: u64,
        /// Their bytes.
        unflushed_bytes: u64,
        /// So many of them are on the disk.
        kept_writes: u64,
        /// So many of these are there in part.
        torn_writes: u64,
    },
    /// The node's power was cut because another node asked for it.
    Fenced {
        /// Who asked.
        by: String,
    },
    /// The run goes on from a fleet that was kept before, instead of building it.
    Forked {
        /// The checkpoint's name, `layers` or what a step calls it.
        checkpoint: String,
        /// Its key in the store, sha256 in hex.
        key: String,
        /// How long ago it was kept.
        age_seconds: f64,
    },
    /// All guests of a fork run, from one instant.
    Resumed {
        /// Seconds since the first of their QEMUs was started.
        seconds: f64,
    },
    /// The fleet was kept as it stands, for later runs.
    Kept {
        /// The checkpoint's name.
        checkpoint: String,
        /// Its key in the store.
        key: String,
        /// How long that took.
        seconds: f64,
        /// What it takes on disk.
        bytes: u64,
    },
    /// The fleet could not be kept, or should not be; the run goes on.
    NotKept {
        /// The checkpoint's name.
        checkpoint: String,
        /// Why.
        reason: String,
    },
    /// The plan's data was proved by an earlier run on the same guests, and is not read back again.
    ProvedBefore {
        /// The folder of that run.
        run: String,
        /// How long ago.
        age_seconds: f64,
    },
    /// Something in the store was not what it should be, and was thrown away.
    Discarded {
        /// `image`, `template` or `checkpoint`.
        kind: String,
        /// Its key in the store.
        key: String,
        /// What was wrong.
        reason: String,
    },
    /// What a command printed on a node was kept.
    Printed {
        /// Path relative to the record's folder; what other commands of the phase printed on the node stands there too.
        file: String,
        /// The first line of what was run, or what it was for.
        command: String,
        /// How it ended, such as `exited with 0`.
        status: String,
        /// Bytes of standard output.
        stdout_bytes: u64,
        /// Bytes of standard error.
        stderr_bytes: u64,
    },
    /// Something went wrong; the run goes on to collect and to end what it started.
    Failed {
        /// The whole message.
        message: String,
    },
    /// The run failed in the way that its scenario names as known.
    KnownFailure {
        /// The whole message.
        message: String,
    },
    /// A file was kept for the post-mortem.
    Collected {
        /// Path relative to the record's folder.
        file: String,
    },
}

/// How a node was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CrashKind {
    /// Its power was cut.
    Power,
    /// Its kernel panicked.
    Panic,
}

/// With its node in front; the phase and the time are for who has room for them.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind.about(self.node.as_deref()))
    }
}

impl EventKind {
    /// The sentence with the node that it is about in front.
    pub fn about(&self, node: Option<&str>) -> String {
        match node {
            Some(node) => format!("{node}: {self}"),
            None => self.to_string(),
        }
    }
}

/// One sentence for each kind, without the node: the only one that anybody prints.
impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PhaseStarted => f.write_str("begins"),
            Self::PhaseEnded { seconds } => write!(f, "done in {}", quantity::seconds(*seconds)),
            Self::Waiting { what } => write!(f, "waits for {what}"),
            Self::Progress { text } => f.write_str(text),
            Self::Swept { run, killed } => {
                write!(f, "cleared away the dead run {run}")?;
                if killed.is_empty() {
                    Ok(())
                } else {
                    write!(f, " and its processes {killed:?}")
                }
            }
            Self::NotSwept { run, reason } => {
                write!(f, "the dead run {run} was not cleared away: {reason}")
            }
            Self::LittleSpace {
                folder,
                free_mib,
                disks_mib,
            } => write!(
                f,
                "{folder} has {free_mib} MiB free, the data disks may take {disks_mib} MiB"
            ),
            Self::Held {
                fleet,
                seconds,
                attach,
            } => write!(
                f,
                "the fleet stays up as `{fleet}` for {}: {attach}",
                quantity::seconds(*seconds)
            ),
            Self::Saved {
                folder,
                seconds,
                bytes,
                left_out,
            } => {
                let (seconds, mib) = (quantity::seconds(*seconds), bytes >> 20);
                write!(
                    f,
                    "the fleet was saved in {seconds}, {mib} MiB on disk: {folder}"
                )?;
                let mut left_out = left_out.iter();
                left_out.try_for_each(|(node, why)| write!(f, "; without {node}: {why}"))
            }
            Self::NotSaved { reason } => write!(f, "the fleet was not saved: {reason}"),
            Self::FilesInMemory { folder, mib } => write!(
                f,
                "{folder} lies in memory: what the fleet writes there counts as {mib} MiB more; SANLAB_RUNTIME (running \
                 fleets) and SANLAB_CACHE (the store) choose other folders"
            ),
            Self::NotCounted { nodes, reason } => write!(
                f,
                "the instructions of {} are not counted: {reason}",
                nodes.join(", ")
            ),
            Self::NoSymbols {
                kernel,
                nodes,
                remedy,
            } => write!(
                f,
                "no file and line in the call trace of {}: the debug symbols of {kernel} are not here; {remedy}",
                nodes.join(", ")
            ),
            Self::TemplateStarted { about } => write!(f, "a template of {about} boots"),
            Self::TemplateMade {
                about,
                seconds,
                bytes,
            } => write!(
                f,
                "the template of {about} was made in {} and takes {} MiB",
                quantity::seconds(*seconds),
                bytes >> 20
            ),
            Self::TemplateFailed { about, reason } => write!(
                f,
                "without a template of {about} its nodes boot: failed to {reason}"
            ),
            Self::Booting => f.write_str("boots"),
            Self::Cloning => f.write_str("is cloned"),
            Self::Forking => f.write_str("is forked"),
            Self::Answered { seconds } => {
                write!(f, "answered after {}", quantity::seconds(*seconds))
            }
            Self::Ready { seconds } => write!(f, "is ready after {}", quantity::seconds(*seconds)),
            Self::Stopped { how } => f.write_str(how),
            Self::Panicked { console_tail } => {
                f.write_str("the kernel panicked")?;
                match console_tail.lines().last() {
                    Some(line) => write!(f, ": {line}"),
                    None => Ok(()),
                }
            }
            Self::AgentLost => f.write_str("the guest agent went away"),
            Self::QemuExited {
                status,
                cause,
                full,
                stderr,
            } => {
                write!(f, "QEMU {status}")?;
                if let Some(cause) = cause {
                    write!(f, " ({cause})")?;
                }
                if let Some(full) = full {
                    write!(f, ": there is no space left on {full}")?;
                }
                if stderr.is_empty() {
                    Ok(())
                } else {
                    write!(f, ": {stderr}")
                }
            }
            Self::DiskFailed { reason, .. } => {
                write!(f, "was halted: its disk on the host failed: {reason}")
            }
            Self::NetworkFailed { reason } => f.write_str(reason),
            Self::KernelSaid { line } => write!(f, "kernel: {line}"),
            Self::Measured { mib_per_second, .. } => write!(f, "{mib_per_second:.1} MiB/s"),
            Self::Crashed { how, after_seconds } => {
                let how = match how {
                    CrashKind::Power => "power",
                    CrashKind::Panic => "panic",
                };
                write!(
                    f,
                    "crashed ({how}) after {}",
                    quantity::seconds(*after_seconds)
                )
            }
            Self::WriteCacheLost {
                unflushed_writes: 0,
                ..
            } => f.write_str("power lost: every write to its disk had been flushed"),
            Self::WriteCacheLost {
                unflushed_writes,
                unflushed_bytes,
                kept_writes,
                torn_writes,
            } => {
                let amount = quantity::bytes(*unflushed_bytes);
                f.write_str("power lost: ")?;
                match (unflushed_writes, kept_writes) {
                    (1, 0) => write!(f, "a write of {amount} was not flushed, and is lost")?,
                    (1, _) => write!(f, "a write of {amount} was not flushed, and is on the disk")?,
                    (all, kept) => write!(
                        f,
                        "{all} writes of {amount} were not flushed, {kept} of them are on the disk"
                    )?,
                }
                match (unflushed_writes, torn_writes) {
                    (_, 0) => Ok(()),
                    (1, _) => f.write_str(" in part"),
                    (_, torn) => write!(f, ", {torn} of these in part"),
                }
            }
            Self::Fenced { by } => write!(f, "fenced by {by}"),
            Self::FaultBegan { what } => f.write_str(what),
            Self::FaultEnded { step, seconds } => write!(
                f,
                "what step {step} broke is whole again after {}",
                quantity::seconds(*seconds)
            ),
            Self::Forked {
                checkpoint,
                key,
                age_seconds,
            } => write!(
                f,
                "`{checkpoint}` forked from {} of {} ago",
                short(key),
                quantity::seconds(*age_seconds)
            ),
            Self::Resumed { seconds } => {
                write!(f, "all guests run after {}", quantity::seconds(*seconds))
            }
            Self::Kept {
                checkpoint,
                key,
                seconds,
                bytes,
            } => write!(
                f,
                "`{checkpoint}` kept as {} in {}, {} MiB on disk",
                short(key),
                quantity::seconds(*seconds),
                bytes >> 20
            ),
            Self::NotKept { checkpoint, reason } => {
                write!(f, "`{checkpoint}` was not kept: {reason}")
            }
            Self::ProvedBefore { run, age_seconds } => write!(
                f,
                "what is written was proved {} ago, in {run}",
                quantity::seconds(*age_seconds)
            ),
            Self::Discarded { kind, key, reason } => {
                write!(f, "{kind} {} was discarded: {reason}", short(key))
            }
            Self::Printed {
                file,
                command,
                status,
                stdout_bytes,
                stderr_bytes,
            } => {
                let bytes = stdout_bytes + stderr_bytes;
                write!(f, "`{command}` {status} and printed {bytes} bytes: {file}")
            }
            Self::Failed { message } => write!(f, "FAILED: {message}"),
            Self::KnownFailure { message } => write!(f, "KNOWN FAILURE: {message}"),
            Self::Collected { file } => write!(f, "collected {file}"),
        }
    }
}

#[cfg(test)]
mod tests;
