//! A running QEMU and everything that is heard from it.

use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command as HostCommand, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::Signal;
use sanlab_counter::CounterFile;
use serde_json::Value;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Mutex as AsyncMutex, broadcast, watch};
use tokio::time::{sleep, timeout};

use crate::channels::agent::{Agent, PORT_ID};
use crate::channels::console::Console;
use crate::channels::event_port::GuestEventPort;
use crate::channels::kernel_log::Trouble;
use crate::channels::lab_agent::{self, LabAgent};
use crate::channels::qmp::{Qmp, QmpEvent, QmpEvents};
use crate::channels::wire::WireError;
use crate::command_line::argv::{
    AGENT_SOCKET, CONSOLE_SOCKET, EVENT_PORT_SOCKET, LAB_AGENT_SOCKET, QMP_SOCKET, Way,
    command_line,
};
use crate::command_line::spec::{MachineSpec, Ram};
use crate::error::{ExecError, VmError};
use crate::machine::examination::Examined;
use crate::process::cost::{Cost, CpuMeter};
use crate::process::space::{self, FileSystem};
use crate::process::status::{Status, tail};
use crate::process::usage::Usage;
use crate::process::{Process, ProcessGroup};

/// From the spawn to QEMU's readiness; a tenth of a second where nothing is wrong.
const START_DEADLINE: Duration = Duration::from_secs(30);
/// How long the channels of a QEMU that has ended are listened to, and its end awaited once they have closed.
const GRACE: Duration = Duration::from_secs(2);
/// What QEMU writes to its standard error, in the machine's folder.
const STDERR_FILE: &str = "qemu.stderr";
/// Events kept for a listener that is late.
const EVENTS_KEPT: usize = 256;

/// What happens to a machine by itself.
#[derive(Debug, Clone, PartialEq)]
pub enum MachineEvent {
    /// The guest's kernel has panicked; the machine stands still with it.
    Panicked {
        /// What the console says of it.
        console_tail: String,
    },
    /// QEMU has ended.
    Exited(ExitReport),
    /// The guest's agent has opened its port.
    AgentFound,
    /// The guest's agent has closed its port.
    AgentLost,
    /// Any event of QEMU's, by its own name.
    Qmp {
        /// Such as `RESUME`.
        name: String,
        /// Its data, or null.
        data: Value,
    },
}

/// How a QEMU process ended.
#[derive(Debug, Clone, PartialEq)]
pub struct ExitReport {
    /// How the process ended.
    pub status: Status,
    /// Why QEMU ended in its own word, such as `host-qmp-quit`, `guest-shutdown` or `guest-reset`.
    pub cause: Option<String>,
    /// It was killed by SIGBUS because this file system has no space left.
    pub full: Option<FileSystem>,
    /// What it has cost.
    pub usage: Usage,
    /// The end of its standard error.
    pub stderr_tail: String,
}

/// What machines and the tasks that listen to QEMU share.
pub(crate) struct Running {
    pub(crate) name: String,
    pub(crate) dir: PathBuf,
    pub(crate) ram: Ram,
    pub(crate) process: Process,
    pub(crate) qmp: Qmp,
    pub(crate) agent: Agent,
    pub(crate) console: Console,
    pub(crate) guest_events: GuestEventPort,
    pub(crate) lab_agent: LabAgent,
    cpu: CpuMeter,
    instructions: Option<CounterFile>,
    /// What was found when the agent did not answer.
    pub(crate) examined: AsyncMutex<Option<Examined>>,
    /// An NMI was sent: that the kernel panics of it is no news. The machine is sealed then.
    pub(crate) nmi: AtomicBool,
    pub(crate) terminal: watch::Sender<TerminalState>,
    pub(crate) events: broadcast::Sender<MachineEvent>,
    // Events from the very start wait here for the first listener.
    pub(crate) first_listener: Mutex<Option<broadcast::Receiver<MachineEvent>>>,
}

/// What cannot be undone.
#[derive(Debug, Clone, Default)]
pub(crate) struct TerminalState {
    pub(crate) panicked: Option<String>,
    cause: Option<String>,
    pub(crate) exited: Option<ExitReport>,
    /// The guest hangs, and why.
    pub(crate) hangs: Option<String>,
}

impl TerminalState {
    fn is_sealed(&self) -> bool {
        self.panicked.is_some() || self.exited.is_some() || self.hangs.is_some()
    }
}

impl Running {
    /// Starts QEMU as a member of `group` and waits until its control channel is ready; a guest that boots does so by then.
    pub(crate) async fn start(
        spec: MachineSpec,
        way: Way,
        group: &ProcessGroup,
    ) -> Result<Arc<Self>, VmError> {
        let stderr_path = spec.dir.join(STDERR_FILE);
        let host = |error| VmError::host(format!("prepare {}", spec.name), error);
        let stderr = fs_err::File::create(&stderr_path).map_err(host)?;
        let qmp = Listener::new(spec.dir.join(QMP_SOCKET))?;
        let agent = Listener::new(spec.dir.join(AGENT_SOCKET))?;
        let console = Listener::new(spec.dir.join(CONSOLE_SOCKET))?;
        let guest_events = Listener::new(spec.dir.join(EVENT_PORT_SOCKET))?;
        let lab_agent = Listener::new(spec.dir.join(LAB_AGENT_SOCKET))?;

        let instructions = spec
            .counted()
            .map(|counter| CounterFile::create(&counter.file, spec.hardware.cpus));
        let instructions = instructions.transpose().map_err(host)?;

        let mut command = HostCommand::new(&spec.qemu);
        command
            .args(command_line(&spec, way))
            .current_dir("/")
            // The overlays of forked disks.
            .env("TMPDIR", &spec.dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr.into_parts().0);
        let process = group.spawn(command).map_err(|source| VmError::NoQemu {
            program: spec.qemu.clone(),
            source,
        })?;

        let connected = async {
            tokio::try_join!(
                qmp.connection(),
                agent.connection(),
                console.connection(),
                guest_events.connection(),
                lab_agent.connection()
            )
        };
        let (qmp, agent, console, guest_events, lab_agent) = tokio::select! {
            connected = connected => connected.map_err(host)?,
            status = process.exited() => return Err(died_at_start(&spec, status.map_err(host)?, &stderr_path)),
            () = sleep(START_DEADLINE) => return Err(start_timed_out(&spec, "QEMU to connect to its sockets")),
        };

        let (qmp, mut qmp_events) = Qmp::open(qmp);
        let (events, first_listener) = broadcast::channel(EVENTS_KEPT);
        let running = Arc::new(Self {
            name: spec.name.clone(),
            dir: spec.dir.clone(),
            ram: spec.ram.clone(),
            process,
            qmp,
            agent: Agent::open(agent),
            console: Console::open(console, spec.console_log.clone()),
            guest_events: GuestEventPort::open(guest_events),
            lab_agent: LabAgent::open(lab_agent),
            cpu: CpuMeter::default(),
            instructions,
            examined: AsyncMutex::default(),
            nmi: AtomicBool::new(false),
            terminal: watch::Sender::new(TerminalState::default()),
            events,
            first_listener: Mutex::new(Some(first_listener)),
        });
        match timeout(START_DEADLINE, running.qmp.negotiate(&mut qmp_events)).await {
            Ok(Ok(())) => {}
            Ok(Err(WireError::Closed)) => {
                let status = timeout(GRACE, running.process.exited()).await;
                let status = status.map_err(|_| {
                    start_timed_out(&spec, "QEMU to end after it closed its channel")
                })?;
                return Err(died_at_start(&spec, status.map_err(host)?, &stderr_path));
            }
            Ok(Err(error)) => {
                return Err(start_timed_out(
                    &spec,
                    &format!("a good answer to qmp_capabilities: {error:?}"),
                ));
            }
            Err(_) => return Err(start_timed_out(&spec, "QEMU's greeting")),
        }
        let pump = tokio::spawn(Arc::clone(&running).hear_events(qmp_events));
        tokio::spawn(Arc::clone(&running).watch_console());
        tokio::spawn(Arc::clone(&running).watch_process(pump, stderr_path));
        Ok(running)
    }

    /// Waits for `work`, but not beyond the deadline (`None`), and not once the machine is beyond help.
    pub(crate) async fn unless_ended<T>(
        &self,
        what: &str,
        deadline: Duration,
        work: impl Future<Output = T>,
    ) -> Result<Option<T>, ExecError> {
        let mut terminal = self.terminal.subscribe();
        let ended = async {
            // The reference that comes back holds a lock.
            let _ = terminal.wait_for(TerminalState::is_sealed).await.map(drop);
        };
        tokio::select! {
            biased;
            () = ended => Err(self.terminal_error(what)),
            done = timeout(deadline, work) => Ok(done.ok()),
        }
    }

    /// The error of a machine that has panicked or ended.
    fn terminal_error(&self, what: &str) -> ExecError {
        let (node, command) = (self.name.clone(), what.to_owned());
        let terminal = self.terminal.borrow();
        match (&terminal.panicked, &terminal.exited) {
            (Some(console_tail), _) => ExecError::GuestPanicked {
                node,
                command,
                console_tail: console_tail.clone(),
            },
            (None, Some(report)) => {
                let ExitReport {
                    status,
                    cause,
                    full,
                    stderr_tail,
                    ..
                } = report.clone();
                ExecError::QemuDead {
                    node,
                    command,
                    status,
                    cause: cause.map(String::into_boxed_str),
                    full: full.map(Box::new),
                    stderr_tail,
                }
            }
            (None, None) => match terminal.hangs.clone() {
                Some(reason) => ExecError::GuestHangs {
                    node,
                    command,
                    reason,
                },
                None => ExecError::AgentDead {
                    node,
                    command,
                    reason: "its channel closed".into(),
                },
            },
        }
    }

    /// What a request that failed on its channel means: a closed channel may be the first sign of a dead QEMU.
    pub(crate) async fn post_mortem(&self, what: &str, error: WireError) -> ExecError {
        let (node, command) = (self.name.clone(), what.to_owned());
        match error {
            // As a shell says of what it cannot begin.
            WireError::Refused(words) => ExecError::CommandFailed {
                node,
                command,
                status: Status::Exited(126),
                stderr_tail: format!("the guest agent refused: {words}"),
            },
            WireError::Garbled(words) => ExecError::AgentDead {
                node,
                command,
                reason: format!("it answered something unknown: {words}"),
            },
            WireError::Closed => {
                let reason = format!("it has closed its port; {}", self.last_console_line());
                let alive = ExecError::AgentDead {
                    node,
                    command,
                    reason,
                };
                self.end(what).await.unwrap_or(alive)
            }
        }
    }

    /// The machine's end, if a closed channel was a sign of it.
    pub(crate) async fn end(&self, what: &str) -> Option<ExecError> {
        let never = std::future::pending::<()>();
        self.unless_ended(what, GRACE, never).await.err()
    }

    async fn hear_events(self: Arc<Self>, mut events: QmpEvents) {
        while let Some(QmpEvent { name, data }) = events.next().await {
            match name.as_str() {
                "GUEST_PANICKED" | "GUEST_CRASHLOADED" => self.panicked().await,
                "VSERPORT_CHANGE" if data["id"] == PORT_ID => {
                    let open = data["open"] == true;
                    self.agent.port_changed(open);
                    let _ = self.events.send(if open {
                        MachineEvent::AgentFound
                    } else {
                        MachineEvent::AgentLost
                    });
                }
                "VSERPORT_CHANGE" if data["id"] == lab_agent::PORT_ID => {
                    self.lab_agent.port_changed(data["open"] == true);
                }
                "SHUTDOWN" => {
                    let cause = data["reason"].as_str().map(str::to_owned);
                    self.terminal.send_modify(|terminal| terminal.cause = cause);
                }
                _ => {}
            }
            let _ = self.events.send(MachineEvent::Qmp { name, data });
        }
    }

    async fn watch_console(self: Arc<Self>) {
        tokio::select! {
            () = self.console.panicked() => self.panicked().await,
            () = self.console.ended() => {}
        }
    }

    /// Told by pvpanic, or by the console when the kernel had no pvpanic yet.
    async fn panicked(&self) {
        if self.nmi.load(Ordering::SeqCst) {
            return;
        }
        self.console.quiet().await;
        let console_tail = self.console.crash().join("\n");
        self.terminal.send_if_modified(|terminal| {
            if terminal.panicked.is_some() {
                return false;
            }
            terminal.panicked = Some(console_tail.clone());
            // Under the lock: whoever comes second, such as the end of the process, must not be told first.
            let _ = self.events.send(MachineEvent::Panicked { console_tail });
            true
        });
    }

    /// From now on nothing is asked of the guest any more.
    pub(crate) fn hangs(&self, reason: &str) {
        self.terminal
            .send_modify(|terminal| terminal.hangs = Some(reason.to_owned()));
    }

    /// Waits for QEMU's end, and reads what is left in all channels before it reports that.
    async fn watch_process(
        self: Arc<Self>,
        events: tokio::task::JoinHandle<()>,
        stderr_path: PathBuf,
    ) {
        self.process.ended().await;
        let usage = self.usage();
        // Reaped by the end of the group's clean-up at the latest; what it was then is lost.
        let status = self
            .process
            .exited()
            .await
            .unwrap_or(Status::Signalled(Signal::KILL.as_raw()));
        // At once: others give space back when they die, too.
        let full = full(status, &self.ram, &self.dir);
        let channels = async {
            self.qmp.ended().await;
            let _ = events.await;
            self.console.ended().await;
        };
        let _ = timeout(GRACE, channels).await;
        if self
            .console
            .troubles()
            .iter()
            .any(|line| line.trouble == Some(Trouble::Panic))
        {
            self.panicked().await;
        }
        let cause = self.terminal.borrow().cause.clone();
        let report = ExitReport {
            status,
            cause,
            full,
            usage,
            stderr_tail: stderr_tail(&stderr_path),
        };
        let _ = self.events.send(MachineEvent::Exited(report.clone()));
        self.terminal
            .send_modify(|terminal| terminal.exited = Some(report));
    }

    /// What it has cost up to now, or to its end.
    pub(crate) fn cost(&self) -> Cost {
        Cost {
            host_cpu_seconds: self.cpu.seconds(self.process.pid()),
            instructions: self.instructions(),
        }
    }

    /// The file stays open, so that only a broken host cannot read it: then nobody counts.
    pub(crate) fn instructions(&self) -> Option<u64> {
        self.instructions.as_ref()?.read().ok().flatten()
    }

    /// The same with its memory.
    pub(crate) fn usage(&self) -> Usage {
        let cost = self.cost();
        Usage {
            host_cpu_seconds: cost.host_cpu_seconds,
            instructions: cost.instructions,
            ..Usage::of(self.process.pid()).unwrap_or_default()
        }
    }

    pub(crate) fn last_console_line(&self) -> String {
        match self.console.tail(1).first() {
            Some(line) => format!("the console's last line: {line}"),
            None => "the console is empty".into(),
        }
    }
}

/// A socket that takes one connection; its file goes with it.
pub(crate) struct Listener {
    socket: UnixListener,
    path: PathBuf,
}

impl Listener {
    pub(crate) fn new(path: PathBuf) -> Result<Self, VmError> {
        let socket = UnixListener::bind(&path);
        let socket = socket
            .map_err(|error| VmError::host(format!("listen on {}", path.display()), error))?;
        Ok(Self { socket, path })
    }

    pub(crate) async fn connection(self) -> io::Result<UnixStream> {
        Ok(self.socket.accept().await?.0)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Whoever removed it already did our work.
        let _ = fs_err::remove_file(&self.path);
    }
}

fn stderr_tail(path: &Path) -> String {
    // No more of it is shown.
    const END: u64 = 64 << 10;
    let mut end = Vec::new();
    let read = fs_err::File::open(path).and_then(|mut file| {
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(END)))?;
        file.take(END).read_to_end(&mut end)
    });
    // What was read is as good.
    let _ = read;
    tail(&String::from_utf8_lossy(&end))
}

/// Where there is no space left, if it died of that.
fn full(status: Status, ram: &Ram, dir: &Path) -> Option<FileSystem> {
    let ram = match ram {
        Ram::Kept(file) => {
            let bytes = fs_err::metadata(file).map_or(0, |found| found.len());
            Some((file.as_path(), bytes))
        }
        // Memory of its own, or private to it.
        Ram::Own | Ram::Forked(_) => None,
    };
    let places: Vec<_> = ram.into_iter().chain([(dir, 0)]).collect();
    space::full(status, &places, FileSystem::of)
}

fn died_at_start(spec: &MachineSpec, status: Status, stderr_path: &Path) -> VmError {
    VmError::DiedAtStart {
        node: spec.name.clone(),
        status,
        full: full(status, &spec.ram, &spec.dir).map(Box::new),
        stderr_tail: stderr_tail(stderr_path),
    }
}

fn start_timed_out(spec: &MachineSpec, awaited: &str) -> VmError {
    VmError::StartTimedOut {
        node: spec.name.clone(),
        deadline: START_DEADLINE,
        awaited: awaited.into(),
    }
}
