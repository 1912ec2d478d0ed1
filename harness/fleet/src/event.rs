//! What a fleet tells while it lives. Nothing here prints.

use std::fmt;
use std::path::PathBuf;

use crate::budget::WaitingFor;
use crate::crash::How;
use crate::network::SwitchEvent;
use crate::registry::Swept;

/// Something that happened to a fleet. Its words are one line each.
#[derive(Debug, Clone, PartialEq)]
pub enum FleetEvent {
    /// A dead run was cleared away before the start.
    Swept(Swept),
    /// Other fleets hold the machine.
    Waiting(WaitingFor),
    /// The data disks may grow to more than there is room for.
    LittleSpace {
        /// Where they lie.
        folder: PathBuf,
        /// MiB that are free.
        free_mib: u64,
        /// MiB that they have together when full.
        disks_mib: u64,
    },
    /// Instructions were to be counted and cannot be. Told once a reason, at the start.
    NotCounted {
        /// Whose.
        nodes: Vec<String>,
        /// What prevents it.
        reason: String,
    },
    /// The node's QEMU is about to be started.
    Booting {
        /// Who.
        node: String,
    },
    /// The node is about to be cloned from its template.
    Cloning {
        /// Who.
        node: String,
    },
    /// The node is about to go on from what was saved.
    Forking {
        /// Who.
        node: String,
    },
    /// All forked nodes go on, from one instant.
    Resumed {
        /// Since the first of their QEMUs was started.
        seconds: f64,
    },
    /// Somebody else makes a template that this fleet needs.
    TemplateAwaited {
        /// What it is a template of.
        about: String,
    },
    /// A template is about to be made: a guest boots.
    TemplateMaking {
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
    /// A template was not what it should be, and was thrown away; another is made.
    TemplateDiscarded {
        /// Its key in the store.
        key: String,
        /// What was wrong.
        reason: String,
    },
    /// The node's guest agent answered for the first time.
    Answered {
        /// Who.
        node: String,
        /// Since its QEMU was started.
        seconds: f64,
    },
    /// The node has its name and address, and the nodes started with or before it answer it.
    Ready {
        /// Who.
        node: String,
        /// Since its QEMU was started.
        seconds: f64,
    },
    /// The node's kernel panicked.
    Panicked {
        /// Who.
        node: String,
        /// The end of its console log.
        console_tail: String,
    },
    /// The node's guest agent went away.
    AgentLost {
        /// Who.
        node: String,
    },
    /// The node's QEMU ended, and nobody had asked it to.
    Exited {
        /// Who.
        node: String,
        /// How, and its last words.
        how: String,
    },
    /// The node crashed, as it was to.
    Crashed {
        /// Who.
        node: String,
        /// In what way.
        how: How,
    },
    /// The node's disk did not take a write: QEMU has halted the guest.
    DiskFailed {
        /// Who.
        node: String,
        /// The host's reason.
        reason: String,
    },
    /// Something is wrong with the network.
    Network(SwitchEvent),
    /// The node was ended as asked.
    Stopped {
        /// Who.
        node: String,
    },
}

impl fmt::Display for FleetEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Swept(swept) => {
                write!(f, "cleared away the dead run {}", swept.run.display())?;
                if swept.killed.is_empty() {
                    Ok(())
                } else {
                    write!(f, " and its processes {:?}", swept.killed)
                }
            }
            Self::Waiting(waiting) => write!(f, "waiting for {waiting}"),
            Self::LittleSpace {
                folder,
                free_mib,
                disks_mib,
            } => {
                let folder = folder.display();
                write!(
                    f,
                    "{folder} has {free_mib} MiB free, the data disks may take {disks_mib} MiB"
                )
            }
            Self::NotCounted { nodes, reason } => write!(
                f,
                "the instructions of {} are not counted: {reason}",
                nodes.join(", ")
            ),
            Self::Booting { node } => write!(f, "{node} boots"),
            Self::Cloning { node } => write!(f, "{node} is cloned"),
            Self::Forking { node } => write!(f, "{node} is forked"),
            Self::Resumed { seconds } => write!(f, "all nodes go on after {seconds:.2} s"),
            Self::TemplateAwaited { about } => {
                write!(
                    f,
                    "waiting for a template of {about}, which another run makes"
                )
            }
            Self::TemplateMaking { about } => write!(f, "a template of {about} boots"),
            Self::TemplateMade {
                about,
                seconds,
                bytes,
            } => write!(
                f,
                "the template of {about} was made in {seconds:.1} s and takes {} MiB",
                bytes >> 20
            ),
            Self::TemplateDiscarded { key, reason } => {
                write!(f, "the template {key} was thrown away: {reason}")
            }
            Self::Answered { node, seconds } => write!(f, "{node} answered after {seconds:.1} s"),
            Self::Ready { node, seconds } => write!(f, "{node} is ready after {seconds:.1} s"),
            Self::Panicked { node, console_tail } => {
                write!(
                    f,
                    "the kernel of {node} panicked: {}",
                    console_tail.lines().last().unwrap_or_default()
                )
            }
            Self::AgentLost { node } => write!(f, "the guest agent of {node} went away"),
            Self::Exited { node, how } => write!(f, "the QEMU of {node} {how}"),
            Self::Crashed { node, how } => write!(f, "{node} {how}"),
            Self::DiskFailed { node, reason } => write!(
                f,
                "{node} was halted: its disk on the host failed: {reason}"
            ),
            Self::Network(event) => event.fmt(f),
            Self::Stopped { node } => write!(f, "{node} ended"),
        }
    }
}
