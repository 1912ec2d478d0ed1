//! What is done in guests: files and scripts, and which of them side by side.

use std::fmt;
use std::time::Duration;

use sanlab_plan::{LayerKind, NodeName};

use crate::description::probe::Probe;

/// A file written into a guest before a task's script runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestFile {
    /// Absolute path; the folder may not exist yet.
    pub path: String,
    /// The whole content.
    pub text: String,
    /// Permission bits.
    pub mode: u32,
}

/// One script on one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Where.
    pub node: NodeName,
    /// What it does, for progress and messages: "import 4 disks".
    pub title: String,
    /// Written first.
    pub files: Vec<GuestFile>,
    /// For busybox `sh -e`; ends with a code other than 0, and says on standard error which command failed.
    pub script: String,
    /// How long it may take.
    pub deadline: Duration,
}

/// Tasks that run side by side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// What they do together.
    pub title: String,
    /// At most one a node.
    pub tasks: Vec<Task>,
}

impl Stage {
    /// The same task, called like the stage, on each of `nodes`.
    pub(crate) fn new(nodes: &[NodeName], title: &str, deadline: Duration, script: &str) -> Self {
        let task = |node: &NodeName| Task {
            node: node.clone(),
            title: title.to_owned(),
            files: Vec::new(),
            script: script.to_owned(),
            deadline,
        };
        Self {
            title: title.to_owned(),
            tasks: nodes.iter().map(task).collect(),
        }
    }

    /// With these files in each task.
    pub(crate) fn with_files(mut self, files: &[GuestFile]) -> Self {
        for task in &mut self.tasks {
            task.files = files.to_vec();
        }
        self
    }
}

/// Whose share of bringing up, joining or taking down a work is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkKind {
    /// A layer's.
    Layer(LayerKind),
    /// The volume's, which is mounted.
    Mount,
    /// The volume's, which is unmounted.
    Unmount,
    /// That of the devices through which disks are used that steps let fail.
    Disk,
}

impl WorkKind {
    /// The name of the phase in a record: `nbd`, `striped`, ..., `mount`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Layer(kind) => kind.as_str(),
            Self::Mount => "mount",
            Self::Unmount => "unmount",
            Self::Disk => "disk",
        }
    }
}

impl fmt::Display for WorkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A layer's or the volume's share of bringing up, joining or taking down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// Whose share it is.
    pub kind: WorkKind,
    /// For people: "striped nbdsan".
    pub title: String,
    /// One after another.
    pub stages: Vec<Stage>,
    /// Must come true after the last stage; they can be awaited side by side.
    pub probes: Vec<Probe>,
}
