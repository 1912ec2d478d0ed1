//! A member that runs.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sanlab_plan::{Arch, CrashKind};
use sanlab_record::EventKind;
use sanlab_vm::{Command, ExecError, ExitReport, Machine, MachineEvent, Output, SavedState, Usage};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{Instant, sleep};

use crate::deadlines;
use crate::error::{FleetError, machine_error};
use crate::event::{FleetEvent, Listener};
use crate::nodes::boot::DataDisk;
use crate::nodes::readiness::Condition;
use crate::spec::NodeSpec;

/// How long a guest may take from being told to panic to its panic. A busy host keeps its agent waiting for seconds.
const PANIC_DEADLINE: Duration = Duration::from_secs(30);

/// For the memory of a large guest on a busy host: QEMU compresses 256 MiB in a second.
const VMCORE: Duration = Duration::from_secs(40);

/// A crash that has been made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crashed {
    /// Up to here the member ran untouched.
    pub began: std::time::Instant,
    /// By then it was gone.
    pub gone: std::time::Instant,
}

/// A running member.
pub struct Node {
    spec: NodeSpec,
    machine: Machine,
    /// Its data disk, if it has one.
    disk: Option<DataDisk>,
    /// Its end is wanted: nobody need be told.
    ending: Arc<AtomicBool>,
    /// It stands still because somebody wants that, and not for a moment.
    paused: AtomicBool,
}

impl Node {
    /// Takes over a started machine and passes on what befalls it and what its console says, from the start.
    pub(crate) fn new(
        spec: NodeSpec,
        machine: Machine,
        disk: Option<DataDisk>,
        listener: &Listener,
    ) -> Self {
        let ending = Arc::new(AtomicBool::new(false));
        tokio::spawn(pass_on(
            spec.name.clone(),
            machine.events(),
            Arc::clone(&ending),
            listener.events.clone(),
        ));
        let (name, consoles) = (spec.name.clone(), Arc::clone(&listener.consoles));
        machine.console().deliver(move |line| consoles(&name, line));
        Self {
            spec,
            machine,
            disk,
            ending,
            paused: AtomicBool::new(false),
        }
    }

    /// Host name.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Its place among the members.
    pub fn number(&self) -> u8 {
        self.spec.number
    }

    /// Instruction set.
    pub fn arch(&self) -> Arch {
        self.spec.hardware.arch
    }

    /// What it was made from.
    pub fn spec(&self) -> &NodeSpec {
        &self.spec
    }

    /// The machine: its console, files and control.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Runs a command in the guest; see [`Machine::exec`].
    pub async fn exec(&self, command: Command, deadline: Duration) -> Result<Output, ExecError> {
        self.machine.exec(command, deadline).await
    }

    /// Waits until a condition is true in the guest.
    pub async fn wait_for(&self, condition: &Condition) -> Result<(), FleetError> {
        let end = Instant::now() + condition.deadline;
        loop {
            let left = end
                .saturating_duration_since(Instant::now())
                .max(condition.interval);
            let last_seen = match self.exec(Command::script(&*condition.script), left).await {
                Ok(output) if output.status.is_success() => return Ok(()),
                Ok(output) => {
                    let said = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
                    format!(
                        "`{}`, and it {}",
                        String::from_utf8_lossy(&said).trim(),
                        output.status
                    )
                }
                Err(ExecError::TimedOut { last_seen, .. }) => last_seen,
                Err(source) => {
                    return Err(FleetError::Guest {
                        node: self.spec.name.clone(),
                        source: Box::new(source),
                    });
                }
            };
            if Instant::now() >= end {
                let Condition { what, deadline, .. } = condition.clone();
                return Err(FleetError::NotReady {
                    node: self.spec.name.clone(),
                    what,
                    deadline,
                    last_seen,
                });
            }
            sleep(condition.interval).await;
        }
    }

    /// Notes whether it is to stand still until somebody else wants it to go on.
    pub(crate) fn set_paused(&self, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
    }

    /// Whether it is.
    pub(crate) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }

    /// Halts the machine's processors.
    pub(crate) async fn stand_still(&self) -> Result<(), FleetError> {
        let stopped = self.machine.stop().await;
        stopped.map_err(machine_error(&self.spec.name, "stop"))
    }

    /// Lets the machine's processors go on.
    pub(crate) async fn go_on(&self) -> Result<(), FleetError> {
        let resumed = self.machine.cont().await;
        resumed.map_err(machine_error(&self.spec.name, "resume"))
    }

    /// Pulls the cable of its network card of that number, or plugs it in again.
    pub(crate) async fn set_link(&self, card: usize, up: bool) -> Result<(), FleetError> {
        let set = self.machine.set_link(card, up).await;
        set.map_err(machine_error(&self.spec.name, "set the link of"))
    }

    /// Writes the machine's memory to a file, whose folder is made, if its kernel has panicked or hangs: how many bytes, compressed.
    pub async fn vmcore(&self, to: &Path) -> Option<Result<u64, FleetError>> {
        if !self.machine.has_lost_its_kernel() {
            return None;
        }
        if let Some(folder) = to.parent()
            && let Err(error) = fs_err::tokio::create_dir_all(folder).await
        {
            return Some(Err(error.into()));
        }
        let written = self.machine.write_vmcore(to, VMCORE).await;
        Some(written.map_err(machine_error(&self.spec.name, "keep the memory of")))
    }

    /// Lets a debugger of its kernel connect to that socket, or none any more.
    pub async fn serve_gdb(&self, socket: Option<&Path>) -> Result<(), FleetError> {
        let served = self.machine.serve_gdb(socket).await;
        served.map_err(machine_error(&self.spec.name, "debug"))
    }

    /// Writes the state of the machine, which stands still.
    pub(crate) async fn save(
        &self,
        state: &Path,
        deadline: Duration,
    ) -> Result<SavedState, FleetError> {
        let saved = self.machine.save(state, deadline).await;
        saved.map_err(machine_error(&self.spec.name, "save"))
    }

    /// Writes the state of the machine, which stands still, with its RAM.
    pub(crate) async fn save_whole(
        &self,
        state: &Path,
        deadline: Duration,
    ) -> Result<SavedState, FleetError> {
        let saved = self.machine.save_whole(state, deadline).await;
        saved.map_err(machine_error(&self.spec.name, "save"))
    }

    /// Ends the machine.
    pub(crate) async fn end(&self) -> Result<ExitReport, FleetError> {
        self.ending.store(true, Ordering::Relaxed);
        let ended = self.machine.shutdown(deadlines::END).await;
        ended.map_err(machine_error(&self.spec.name, "end"))
    }

    /// Ends the machine as a crash does, which is wanted.
    pub(crate) async fn crash(&self, how: CrashKind) -> Result<(Crashed, ExitReport), FleetError> {
        let name = &self.spec.name;
        let ended_already = self.ending.swap(true, Ordering::Relaxed);
        let began = std::time::Instant::now();
        if how == CrashKind::Panic
            && let Err(error) = self.machine.panic(PANIC_DEADLINE).await
        {
            self.ending.store(ended_already, Ordering::Relaxed);
            return Err(machine_error(name, "crash")(error));
        }
        let killed = self.machine.kill().await;
        let report = killed.map_err(machine_error(name, "crash"))?;
        let gone = std::time::Instant::now();
        Ok((Crashed { began, gone }, report))
    }

    pub(crate) fn disk(&self) -> Option<&DataDisk> {
        self.disk.as_ref()
    }

    /// What it has cost so far.
    pub fn usage(&self) -> Usage {
        self.machine.usage()
    }
}

/// Tells of what befalls a machine until it is gone.
async fn pass_on(
    node: String,
    mut machine: Receiver<MachineEvent>,
    ending: Arc<AtomicBool>,
    events: UnboundedSender<FleetEvent>,
) {
    loop {
        let event = machine.recv().await;
        let wanted = ending.load(Ordering::Relaxed);
        let kind = match event {
            Ok(MachineEvent::Exited(_)) if wanted => return,
            Ok(MachineEvent::Exited(report)) => exited(report),
            Ok(MachineEvent::Panicked { console_tail }) if !wanted => {
                EventKind::Panicked { console_tail }
            }
            Ok(MachineEvent::AgentLost) if !wanted => EventKind::AgentLost,
            Ok(MachineEvent::Qmp { name, data }) if name == "BLOCK_IO_ERROR" => {
                let reason = data["reason"].as_str().unwrap_or("no reason given");
                EventKind::DiskFailed {
                    reason: reason.to_owned(),
                    no_space: data["nospace"] == true,
                }
            }
            Ok(_) | Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        let last = matches!(kind, EventKind::QemuExited { .. });
        // Nobody need listen.
        let _ = events.send(FleetEvent::of(&node, kind));
        if last {
            return;
        }
    }
}

fn exited(report: ExitReport) -> EventKind {
    let stderr = report.stderr_tail.lines().last().unwrap_or_default();
    EventKind::QemuExited {
        status: report.status.to_string(),
        cause: report.cause,
        full: report.full.map(|full| full.to_string()),
        stderr: stderr.to_owned(),
    }
}
