//! What can go wrong with a fleet.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use sanlab_image::ImageError;
use sanlab_plan::Arch;
use sanlab_vm::{ExecError, VmError};

use crate::host::need::{Need, WaitingFor};

/// Messages finish the words "failed to ...".
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// The folder of runs cannot be used.
    #[error("use the runtime folder: {source}")]
    Runtime {
        /// fs-err's errors name the path.
        #[from]
        source: io::Error,
    },
    /// The folder of runs is open to others, who could put files in our way.
    #[error(
        "use the runtime folder {path}: {reason}; remove it, or set SANLAB_RUNTIME to a folder of your own"
    )]
    NotPrivate {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Another process held the runtime folder's lock all the time.
    #[error("lock {path} within {} s: {} holds it", .waited.as_secs(), .holder.map_or("another process".to_owned(), |pid| format!("process {pid}")))]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// Its process id, if that could be read.
        holder: Option<u32>,
        /// How long it was tried.
        waited: Duration,
    },
    /// The kernel's limit for a unix socket's path.
    #[error(
        "use the socket path {path}: it has {bytes} bytes, unix sockets allow {limit}; set SANLAB_RUNTIME to a folder \
         with a shorter path"
    )]
    LongSocketPath {
        /// The path.
        path: PathBuf,
        /// Its length.
        bytes: usize,
        /// The largest length.
        limit: usize,
    },
    /// Waiting would be in vain.
    #[error("start a fleet that needs {need}: this machine has {capacity} to give")]
    TooLarge {
        /// What the fleet needs.
        need: Need,
        /// What there is when nothing else runs.
        capacity: Need,
    },
    /// Other runs did not end in time, or other programs kept the memory.
    #[error("get a place for the fleet within {} s: waiting for {waiting}", .waited.as_secs())]
    NoRoom {
        /// What was awaited last, and who held it.
        waiting: WaitingFor,
        /// How long it was awaited.
        waited: Duration,
    },
    /// The switch's thread or its wake-up could not be made.
    #[error("start the switch: {source}")]
    Switch {
        /// The system's word.
        source: io::Error,
    },
    /// The switch's thread has ended, or does not carry out what it is asked for.
    #[error("change what is done to frames: the switch did not answer within {after:?}")]
    SwitchSilent {
        /// How long it had.
        after: std::time::Duration,
    },
    /// A port's socket or capture file could not be made.
    #[error("add the switch port {port} at {path}: {source}")]
    Port {
        /// The port.
        port: String,
        /// The socket or file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// Nobody of that name is a member.
    #[error("find node {node}: the fleet has no such member")]
    UnknownMember {
        /// The name.
        node: String,
    },
    /// The fleet has no network of that name.
    #[error("find network {network}: the fleet has no such network")]
    UnknownNetwork {
        /// The name.
        network: String,
    },
    /// The member has no card on that network.
    #[error("find the card of node {node} on network {network}: the network does not join it")]
    NotOnNetwork {
        /// Who.
        node: String,
        /// The network.
        network: String,
    },
    /// It runs already.
    #[error("start node {node}: it runs already")]
    AlreadyStarted {
        /// The name.
        node: String,
    },
    /// It is not there: not started yet, or gone.
    #[error("crash node {node}: it does not run")]
    NotRunning {
        /// The name.
        node: String,
    },
    /// What does not run has no network card and cannot stand still.
    #[error("find node {node}: it does not run")]
    NotThere {
        /// The name.
        node: String,
    },
    /// Only members that crashed are brought back.
    #[error("restart node {node}: it has not crashed")]
    NotCrashed {
        /// The name.
        node: String,
    },
    /// There is no disk any more that a member could be brought back with.
    #[error("restart node {node} with its disk: {reason}")]
    DiskLost {
        /// The node.
        node: String,
        /// Why.
        reason: String,
    },
    /// The log of what was written to a disk is not what QEMU writes.
    #[error("tell what the disk of node {node} has after a loss of power: {}: {reason}", path.display())]
    WriteLog {
        /// The node.
        node: String,
        /// The log.
        path: PathBuf,
        /// How it differs.
        reason: String,
    },
    /// Another process made it all the time.
    #[error("get the template of {about} within {} s: another process still makes it", .waited.as_secs_f64())]
    TemplateAwaited {
        /// What it is a template of.
        about: String,
        /// How long it was awaited.
        waited: Duration,
    },
    /// There is nothing to boot.
    #[error("start node {node}: the fleet was given no {arch} image")]
    NoImage {
        /// The node.
        node: String,
        /// Its architecture.
        arch: Arch,
    },
    /// The node's machine did not start or did not end as it should.
    #[error("{doing} node {node}: {source}")]
    Machine {
        /// The node.
        node: String,
        /// `boot`, `end`, ...
        doing: &'static str,
        /// What the machine said.
        source: Box<VmError>,
    },
    /// The node's guest did not take its identity, or could not be asked.
    #[error("make node {node} ready: {source}")]
    Guest {
        /// The node.
        node: String,
        /// What the guest said.
        source: Box<ExecError>,
    },
    /// A guest does not take the user's own files, packages or modules.
    #[error("set up code under test on node {node}: {source}")]
    Artefacts {
        /// The node.
        node: String,
        /// What the guest said.
        source: Box<ExecError>,
    },
    /// A guest with a kernel or modules of the user's own does not come up.
    #[error("boot node {node} with code under test: {source}")]
    BootUnderTest {
        /// The node.
        node: String,
        /// What the machine said.
        source: Box<VmError>,
    },
    /// The store of templates.
    #[error(transparent)]
    Store(#[from] ImageError),
    /// A saved machine's or fleet's file is not what was saved.
    #[error("go on from {}: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How it differs.
        reason: String,
    },
    /// It was not started with a folder in which its members' RAM and disks stay, or one of them has crashed since, or was
    /// booted for want of a template.
    #[error(
        "save the fleet: not all of its members keep RAM and disks, or one was booted for want of a template"
    )]
    NotKept,
    /// Its folder's disk is too small.
    #[error("save the fleet in {}: {free_mib} MiB are free there, and it may need {needed_mib}", folder.display())]
    NoSpace {
        /// The folder.
        folder: PathBuf,
        /// Free there.
        free_mib: u64,
        /// RAM, what disks hold, and some to spare.
        needed_mib: u64,
    },
    /// It took too long.
    #[error("save the fleet within {} s: the copies of its disks were not done", .0.as_secs())]
    SaveOverdue(Duration),
    /// It could not be saved, and some of it stands still since.
    #[error("{source}; then nodes stand still: {nodes}")]
    StandsStill {
        /// Why it was not saved.
        source: Box<FleetError>,
        /// Who failed to go on, and why.
        nodes: String,
    },
    /// There is nobody to be saved.
    #[error("save the fleet: {0}")]
    NobodySaved(String),
    /// It was shut down.
    #[error("use the fleet: it has ended")]
    Ended,
    /// A declared readiness condition did not come true.
    #[error("see that {what} on node {node} within {} s: last seen {last_seen}", .deadline.as_secs())]
    NotReady {
        /// The node.
        node: String,
        /// The condition.
        what: String,
        /// How long it was awaited.
        deadline: Duration,
        /// The condition's last answer.
        last_seen: String,
    },
    /// The process group of the run's machines.
    #[error("{doing} the run's process group: {source}")]
    Processes {
        /// `make` or `end`.
        doing: &'static str,
        /// What failed.
        source: Box<VmError>,
    },
    /// No accelerator is there for the guests, as is wanted.
    #[error(transparent)]
    NoAccelerator(Box<VmError>),
    /// QEMU itself.
    #[error("find out how to run {arch} guests: {source}")]
    Accelerator {
        /// The guests' architecture.
        arch: Arch,
        /// What failed.
        source: Box<VmError>,
    },
}

/// The error of a machine that did not do something.
pub(crate) fn machine_error(
    node: &str,
    doing: &'static str,
) -> impl FnOnce(VmError) -> FleetError + use<> {
    let node = node.to_owned();
    move |source| FleetError::Machine {
        node,
        doing,
        source: Box::new(source),
    }
}
