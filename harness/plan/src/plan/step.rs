//! What a plan does to the running stack.

use std::time::Duration;

use crate::layers::LayerKind;
use crate::names::{CheckpointName, ClusterName, GuestPath, NodeName, ResourceName, StepLabel};
use crate::units::ByteSize;
use crate::word::words;

/// One thing done to the running stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// How the record calls it; unique in a scenario.
    pub label: StepLabel,
    /// The host ends the wait for it after this long.
    pub deadline: Duration,
    /// After it the whole fleet is kept under this name; nothing runs in the background then.
    pub checkpoint: Option<CheckpointName>,
    /// What is done.
    pub action: Action,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Mounts the volume.
    Mount(Mount),
    /// Unmounts the volume.
    Unmount(Unmount),
    /// Writes with dd.
    Dd(Dd),
    /// Waits for a step that runs in the background.
    Wait(Wait),
    /// Boots a further node and brings it into the cluster.
    AddNode(AddNode),
    /// Compares what the nodes see.
    Check(Check),
    /// Runs a command.
    Run(Run),
    /// Writes numbered blocks and keeps a journal of what was acknowledged.
    Write(Write),
    /// Ends a node without warning.
    Crash(Crash),
    /// Brings a crashed node back, with its disk.
    Restart(Restart),
    /// Ends a process.
    StopProcess(StopProcess),
    /// Starts a layer's daemons again.
    Start(Start),
    /// Waits for a state of a layer.
    WaitFor(WaitFor),
    /// Reads every acknowledged block back.
    Verify(Verify),
    /// Measures throughput: warm-ups, then repetitions.
    Throughput(Throughput),
    /// Looks at what a hot addition did to those who wrote meanwhile.
    Dip(Dip),
}

/// Mounts the volume on nodes, side by side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where; never empty.
    pub on: Vec<NodeName>,
    /// The mount must fail and say this (a regular expression on what mount and the kernel said).
    pub fails: Option<String>,
}

/// Unmounts the volume on nodes, side by side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmount {
    /// Where; never empty.
    pub on: Vec<NodeName>,
}

/// dd on one node, or on several from a common start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dd {
    /// The writers; never empty.
    pub on: Vec<NodeName>,
    /// What is written.
    pub source: Source,
    /// File under the mount point; `{node}` stands for the writer's name.
    pub of: String,
    /// Block size.
    pub bs: ByteSize,
    /// Blocks.
    pub count: u64,
    /// dd's `oflag=`.
    pub oflag: Vec<String>,
    /// dd's `conv=`.
    pub conv: Vec<String>,
    /// Goes on while the next steps run, until a `wait` step of this step's label or the scenario's end.
    pub background: bool,
}

impl Dd {
    /// Bytes that one writer writes.
    pub fn bytes(&self) -> u64 {
        self.bs.bytes().saturating_mul(self.count)
    }
}

words! {
    /// What dd reads.
    pub Source, "source", "sources", "a source", r#""random""# {
        /// `/dev/zero`, as in the article.
        Zero = "zero",
        /// Random bytes made in the guest's memory before the start; different on every node and each time they are made.
        Random = "random",
    }
}

/// Waits for a background step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// The step's label.
    pub step: StepLabel,
}

/// Hot addition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddNode {
    /// A node that joins later.
    pub node: NodeName,
    /// Whether it mounts the volume as well.
    pub mount: bool,
}

/// An oracle over the fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The nodes asked; never empty.
    pub on: Vec<NodeName>,
    /// The same files with the same sha256 everywhere, and the acknowledged bytes of every dd before.
    pub same_tree: Option<GuestPath>,
    /// No oops, BUG, hung task or lockup in any kernel log.
    pub kernel_log: bool,
}

/// A command on nodes, side by side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Where; never empty.
    pub on: Vec<NodeName>,
    /// Given to the guest's shell; `{node}` stands for the node's name.
    pub command: String,
    /// The exit code that it must end with.
    pub exit: i32,
    /// A regular expression that standard output and error together must match.
    pub output: Option<String>,
}

/// Numbered, checksummed blocks, each written with `O_DIRECT` and `O_DSYNC`; the time of each acknowledgement is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The writers; never empty. On a node one writes at a time.
    pub on: Vec<NodeName>,
    /// File under the mount point; `{node}` stands for the writer's name.
    pub of: String,
    /// Size of a block, a multiple of 4 KiB.
    pub bs: ByteSize,
    /// Blocks.
    pub count: u64,
    /// Goes on while the next steps run, until a `wait` step of this step's label or the scenario's end.
    pub background: bool,
}

/// The sudden end of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crash {
    /// A node that is there.
    pub node: NodeName,
    /// In what way.
    pub how: CrashKind,
    /// It happens at a random moment within this time, drawn from the run's seed. Zero: at once.
    pub within: Duration,
}

words! {
    /// How a node ends.
    pub CrashKind, "kind of crash", "kinds of crash", "a kind of crash", r#""power""# {
        /// Its power is cut: QEMU is killed.
        Power = "power",
        /// Its kernel panics, and stays so until its power is cut.
        Panic = "panic",
    }
}

/// A crashed node's return: the same machine and disk; every layer comes up on it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restart {
    /// A node that was crashed.
    pub node: NodeName,
}

/// A signal to all processes of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopProcess {
    /// Where; never empty.
    pub on: Vec<NodeName>,
    /// The name of the program.
    pub process: String,
    /// Which.
    pub signal: Signal,
}

words! {
    /// A signal, without `SIG`.
    pub Signal, "signal", "signals", "a signal", r#""KILL""# {
        /// The end.
        Kill = "KILL",
        /// The end, unless the process has other plans.
        Term = "TERM",
        /// It stands still.
        Stop = "STOP",
        /// It goes on.
        Cont = "CONT",
    }
}

/// A layer's daemons started again where they were stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// Where; never empty.
    pub on: Vec<NodeName>,
    /// Which layer's.
    pub layer: LayerKind,
}

/// A state that nodes must come to see within the step's deadline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitFor {
    /// Who must see it; never empty.
    pub on: Vec<NodeName>,
    /// What.
    pub state: Awaited,
}

/// What can be waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Awaited {
    /// So many paths of multipath maps, all maps together.
    Paths {
        /// That carry requests.
        active: u32,
        /// That do not.
        failed: u32,
    },
    /// A DRBD resource as the node sees it.
    Drbd {
        /// Which.
        resource: ResourceName,
        /// `drbdadm cstate`: `Connected`, `WFConnection`, `SyncTarget`, ...
        connection: Option<String>,
        /// `drbdadm dstate`: `UpToDate/UpToDate`, ...
        disk: Option<String>,
    },
    /// Exactly these nodes are members of the cluster.
    Members {
        /// Which cluster.
        cluster: ClusterName,
        /// Its members, in the order of their numbers.
        members: Vec<NodeName>,
    },
}

/// Every block that was acknowledged, read back with `O_DIRECT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verify {
    /// Nodes that read the files; never empty.
    pub on: Vec<NodeName>,
    /// Whether the blocks are looked for on every copy of the disks below as well.
    pub legs: bool,
}

/// The same work several times over, each repetition from a common start on all nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Throughput {
    /// What does the work.
    pub tool: Tool,
    /// Who does it; never empty.
    pub on: Vec<NodeName>,
    /// The order of requests, and which way they go.
    pub pattern: AccessPattern,
    /// On what.
    pub target: Target,
    /// Bytes of a request.
    pub bs: ByteSize,
    /// Bytes that each node moves in a repetition, a multiple of `bs`; with `runtime`, those that it moves among.
    pub size: ByteSize,
    /// fio only: each node goes on so long, however often it comes round.
    pub runtime: Option<Duration>,
    /// Requests under way at a time; dd has 1.
    pub queue_depth: u32,
    /// Past the page cache (`O_DIRECT`).
    pub direct: bool,
    /// When what was written is forced out.
    pub sync: Sync,
    /// Repetitions that are done first and are no figures.
    pub warm_up: u32,
    /// Repetitions that count; at least 1.
    pub repetitions: u32,
}

words! {
    /// What does a throughput step's work.
    pub Tool, "tool", "tools", "a tool", r#""dd""# {
        /// coreutils' dd, as in the articles: sequential, one request at a time.
        Dd = "dd",
        /// fio, with latencies.
        Fio = "fio",
    }
}

words! {
    /// Order and direction of requests, in fio's words.
    pub AccessPattern, "access pattern", "access patterns", "an access pattern", r#""write""# {
        /// Writes, one after the other.
        Write = "write",
        /// Reads, one after the other.
        Read = "read",
        /// Writes in random order.
        RandWrite = "randwrite",
        /// Reads in random order.
        RandRead = "randread",
        /// Reads and writes, half and half, one after the other.
        ReadWrite = "rw",
        /// Reads and writes, half and half, in random order.
        RandReadWrite = "randrw",
    }
}

impl AccessPattern {
    /// Whether anything is written.
    pub const fn writes(self) -> bool {
        !matches!(self, Self::Read | Self::RandRead)
    }

    /// Whether anything is read.
    pub const fn reads(self) -> bool {
        !matches!(self, Self::Write | Self::RandWrite)
    }
}

/// What a throughput step works on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A file under the mount point; `{node}` stands for the node's name.
    File(String),
    /// The topmost device that the layers make, without a file system: the node at place N of `on` works on the N-th stretch
    /// of `size` bytes.
    Device,
}

words! {
    /// When written data is forced out of caches.
    pub Sync, "time to force out", "times to force out", "a time to force out", r#""end""# {
        /// Left to the kernel.
        Never = "never",
        /// One fsync at the end of each repetition, inside of its time.
        End = "end",
        /// Each request is a synchronous one (`O_DSYNC`).
        Each = "each",
    }
}

/// What a hot addition did to the writers of a background step; limits that are broken fail the scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dip {
    /// A `write` step that ran in the background and has been waited for.
    pub of: StepLabel,
    /// The `add_node` step (or fault) that happened meanwhile.
    pub around: StepLabel,
    /// A `write` step of newcomers that ran, in the background too, beside `of` after `around`: what they add.
    pub newcomers: Option<StepLabel>,
    /// The most that may be missing in a half second, in hundredths of what was written before: 100 allows a stand-still.
    pub depth_percent: Option<u32>,
    /// The longest that the rate may stay below half of what it was before.
    pub length: Option<Duration>,
    /// The least by which all together must exceed what was written before, in hundredths; may be negative.
    pub adds_percent: Option<i32>,
}
