//! Signs of trouble, and what excuses them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::PhaseName;

/// Something that a healthy stack does not show. One of them stands for all of one kind, node, device and excuse.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// When it was seen first, seconds since the run began.
    pub at: f64,
    /// When it was seen last.
    pub until: f64,
    /// How many times.
    pub count: u64,
    /// The node that showed it.
    pub node: String,
    /// The phase in the foreground when it was seen first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<PhaseName>,
    /// What kind.
    pub kind: FindingKind,
    /// The device, as the kernel names it, or the node that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// Where it was seen.
    pub source: Source,
    /// What was seen the first time.
    pub text: String,
    /// Why it does not count; absent: it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub excuse: Option<Excuse>,
    /// Of a kernel's report: its calls, with lines of source, where debug symbols of that kernel were there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trace: Vec<TraceLine>,
}

/// A line of a kernel's report with a place in its code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceLine {
    /// As the kernel wrote it, without its time: `ocfs2_lock+0x1f/0x40 [ocfs2]`.
    pub text: String,
    /// `fs/ocfs2/dlmglue.c:1234`: of functions that the compiler has put into this one, the innermost first, and at last of itself. Empty:
    /// not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<String>,
}

/// `ocfs2_lock+0x1f/0x40 [ocfs2] (fs/ocfs2/dlmglue.c:1234)`, as the kernel's own `decode_stacktrace.sh` has it.
impl fmt::Display for TraceLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        if self.lines.is_empty() {
            return Ok(());
        }
        write!(f, " ({})", self.lines.join(" "))
    }
}

/// What kind of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// The kernel panicked.
    Panic,
    /// The kernel stumbled.
    Oops,
    /// The kernel found an error of its own.
    Bug,
    /// A task did not go on for minutes.
    HungTask,
    /// A CPU did not go on for seconds.
    Lockup,
    /// The kernel killed a process for lack of memory.
    OutOfMemory,
    /// A rule of RCU was broken.
    RcuViolation,
    /// The kernel warned of an error of its own.
    Warning,
    /// The kernel printed a call trace without another of these.
    CallTrace,
    /// A file system is damaged, or could not write.
    FileSystemError,
    /// A request to a device failed, or a device lost its server or a part of itself.
    DeviceError,
    /// The two nodes of a DRBD resource have written apart from each other.
    SplitBrain,
    /// The others went on without a node.
    Eviction,
    /// A node had to leave to protect the cluster.
    Fencing,
    /// A layer was not in the state that it must be in at the end.
    LayerState,
}

/// Where a finding was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// In the node's kernel log.
    KernelLog,
    /// By a look at a layer.
    Layer {
        /// Its key in a scenario file.
        kind: String,
    },
}

/// Why a finding does not count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Excuse {
    /// It follows from a fault that a step brought about.
    Fault {
        /// The step's label.
        step: String,
        /// The node that was hit.
        node: String,
    },
    /// It follows from the loss of a node whose power was cut because another one asked for that.
    Fenced {
        /// The node that was cut off.
        node: String,
        /// Who asked.
        by: String,
    },
    /// It follows from the loss of a node that nobody wanted, which ends the run by itself.
    Lost {
        /// The node.
        node: String,
    },
    /// A step expects it.
    Expected {
        /// The step's label.
        step: String,
    },
    /// Kernels are known to write this line, and what it tells of does no harm.
    Known {
        /// The versions that do, such as `6.1`.
        kernels: String,
        /// What it tells of.
        because: String,
        /// Where that is written.
        source: String,
    },
}

/// The words for people, of one.
impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Panic => "panic",
            Self::Oops => "oops",
            Self::Bug => "bug",
            Self::HungTask => "hung task",
            Self::Lockup => "lockup",
            Self::OutOfMemory => "out-of-memory kill",
            Self::RcuViolation => "RCU violation",
            Self::Warning => "warning",
            Self::CallTrace => "call trace",
            Self::FileSystemError => "file system error",
            Self::DeviceError => "device error",
            Self::SplitBrain => "split brain",
            Self::Eviction => "eviction",
            Self::Fencing => "fencing",
            Self::LayerState => "wrong layer state",
        })
    }
}

/// "follows from step crash on d0", "expected by step pull".
impl fmt::Display for Excuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fault { step, node } => write!(f, "follows from step {step} on {node}"),
            Self::Fenced { node, by } => write!(f, "follows from the fencing of {node} by {by}"),
            Self::Lost { node } => write!(f, "follows from the loss of {node}"),
            Self::Expected { step } => write!(f, "expected by step {step}"),
            Self::Known {
                kernels,
                because,
                source,
            } => write!(f, "known of Linux {kernels}: {because} ({source})"),
        }
    }
}

impl Finding {
    /// When it was seen: "at 12.1 s", "12.1-14.0 s".
    pub fn span(&self) -> String {
        let (first, last) = (format!("{:.1}", self.at), format!("{:.1}", self.until));
        if first == last {
            format!("at {first} s")
        } else {
            format!("{first}-{last} s")
        }
    }

    /// What was seen the first time, with the layer that showed it.
    pub fn seen(&self) -> String {
        match &self.source {
            Source::KernelLog => self.text.clone(),
            Source::Layer { kind } => format!("layer {kind}: {}", self.text),
        }
    }
}

/// "14 device errors about nbd0 on vix1, 12.1-14.0 s: follows from step crash on vix3". One that counts ends with what was seen:
/// "2 oopses on vix1, 12.1-14.0 s; the first: Oops: 0002".
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = match self.kind {
            _ if self.count == 1 => "",
            FindingKind::Oops => "es",
            _ => "s",
        };
        write!(f, "{} {}{plural}", self.count, self.kind)?;
        if let Some(about) = &self.about {
            write!(f, " about {about}")?;
        }
        write!(f, " on {}, {}", self.node, self.span())?;
        match &self.excuse {
            Some(excuse) => write!(f, ": {excuse}"),
            None if self.count == 1 => write!(f, ": {}", self.seen()),
            None => write!(f, "; the first: {}", self.seen()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_told_in_one_line_with_its_extent() {
        let excused = Finding {
            at: 12.08,
            until: 14.0,
            count: 14,
            node: "vix1".to_owned(),
            phase: Some(PhaseName::step("load")),
            kind: FindingKind::DeviceError,
            about: Some("nbd0".to_owned()),
            source: Source::KernelLog,
            text: "I/O error, dev nbd0, sector 8".to_owned(),
            excuse: Some(Excuse::Fault {
                step: "crash".to_owned(),
                node: "vix3".to_owned(),
            }),
            trace: Vec::new(),
        };
        let counts = Finding {
            excuse: None,
            ..excused.clone()
        };
        let layer = Finding {
            until: 12.1,
            count: 1,
            kind: FindingKind::LayerState,
            about: None,
            source: Source::Layer {
                kind: "drbd".to_owned(),
            },
            text: "r is StandAlone".to_owned(),
            ..counts.clone()
        };
        let expected = Finding {
            count: 2,
            kind: FindingKind::Oops,
            excuse: Some(Excuse::Expected {
                step: "pull".to_owned(),
            }),
            ..layer.clone()
        };
        let known = Finding {
            kind: FindingKind::Warning,
            excuse: Some(Excuse::Known {
                kernels: "6.1".to_owned(),
                because: "a checker is wrong".to_owned(),
                source: "https://example.org/2".to_owned(),
            }),
            ..expected.clone()
        };
        let told = [excused, counts, layer, expected, known].map(|one| one.to_string());
        insta::assert_snapshot!(told.join("\n"), @r"
        14 device errors about nbd0 on vix1, 12.1-14.0 s: follows from step crash on vix3
        14 device errors about nbd0 on vix1, 12.1-14.0 s; the first: I/O error, dev nbd0, sector 8
        1 wrong layer state on vix1, at 12.1 s: layer drbd: r is StandAlone
        2 oopses on vix1, at 12.1 s: expected by step pull
        2 warnings on vix1, at 12.1 s: known of Linux 6.1: a checker is wrong (https://example.org/2)
        ");
    }
}
