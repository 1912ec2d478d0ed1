//! A running machine.

pub(crate) mod examination;
pub(crate) mod guest_process;
pub(crate) mod running;
pub(crate) mod snapshot;
mod vmcore;

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use sanlab_plan::guest;
use serde_json::{Value, json};
use tokio::sync::broadcast;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};

use crate::channels::command::{Command, Output};
use crate::channels::console::Console;
use crate::channels::event_port::GuestEvent;
use crate::channels::exec::{Ended, Job, Killed};
use crate::channels::kernel_log::Trouble;
use crate::channels::wire::WireError;
use crate::command_line::argv::{Way, netdev_id};
use crate::command_line::clock::GuestClock;
use crate::command_line::spec::MachineSpec;
use crate::error::{ExecError, VmError};
use crate::machine::examination::Examination;
use crate::machine::running::{ExitReport, MachineEvent, Running};
use crate::process::ProcessGroup;
use crate::process::cost::Cost;
use crate::process::priority;
use crate::process::usage::Usage;

/// How long an agent that has let a deadline pass may take to answer anything before its guest is examined. A loaded host
/// under TCG keeps a live one waiting for a second or two.
const AGENT_GRACE: Duration = Duration::from_secs(5);
/// From a command's deadline until it is known why there is no answer.
const FIND_OUT: Duration = AGENT_GRACE
    .saturating_add(examination::DEADLINE)
    .saturating_add(AGENT_GRACE);
/// How soon an agent that has closed its port is asked again.
const AGENT_RETRY: Duration = Duration::from_millis(10);
/// How long QEMU may take over a command that it carries out at once.
pub(crate) const QMP_DEADLINE: Duration = Duration::from_secs(30);
/// What the kernel says in its panic when it was told to crash (`sysrq_handle_crash` in drivers/tty/sysrq.c).
const TRIGGERED_PANIC: &str = "sysrq triggered crash";
/// How long a killed QEMU may take to go.
const DEATH: Duration = Duration::from_secs(10);

/// A running machine; dropping it kills it.
pub struct Machine {
    pub(crate) running: Arc<Running>,
}

impl Machine {
    /// Starts QEMU as a member of `group` and waits until its control channel is ready; the guest boots by then.
    pub async fn start(spec: MachineSpec, group: &ProcessGroup) -> Result<Self, VmError> {
        let clock = GuestClock::for_host(spec.accelerator).await;
        Ok(Self {
            running: Running::start(spec, Way::Boot(clock), group).await?,
        })
    }

    /// The node's name.
    pub fn name(&self) -> &str {
        &self.running.name
    }

    /// QEMU's process number.
    pub fn pid(&self) -> u32 {
        self.running.process.pid()
    }

    /// The serial console.
    pub fn console(&self) -> Console {
        self.running.console.clone()
    }

    /// What programs in the guest write to `/dev/virtio-ports/org.sanlab.events`, one of them at a time: the lines that
    /// no one has read so far, and those that come. It ends with the machine, after its last whole line; one that the
    /// end has torn is not reported. Several followers hear the same; what one of them has not taken out is lost with it.
    pub fn guest_events(&self) -> UnboundedReceiver<GuestEvent> {
        self.running.guest_events.follow()
    }

    /// What happens to the machine. The first listener hears everything from the start, a later one from now on.
    pub fn events(&self) -> broadcast::Receiver<MachineEvent> {
        let first = self
            .running
            .first_listener
            .lock()
            .expect("nothing panics while it is held")
            .take();
        first.unwrap_or_else(|| self.running.events.subscribe())
    }

    /// Waits until the guest's agent answers: the guest has booted.
    pub async fn wait_agent(&self, deadline: Duration) -> Result<(), VmError> {
        let what = "guest-sync-delimited";
        let answered = async {
            // The request waits in the port until the guest opens it. Asked again only if the agent closes the port, or
            // the machine is about to be found dead.
            while self.running.agent.sync().await.is_err() {
                sleep(AGENT_RETRY).await;
            }
        };
        match self.running.unless_ended(what, deadline, answered).await? {
            Some(()) => Ok(()),
            None => Err(VmError::Guest(ExecError::TimedOut {
                node: self.running.name.clone(),
                command: what.into(),
                deadline,
                last_seen: format!(
                    "the guest agent has not answered; {}",
                    self.running.last_console_line()
                ),
                printed: Box::default(),
            })),
        }
    }

    /// Runs a command in the guest and waits for its end, whatever its status: see [`Output::success`]. At the
    /// deadline the command's session is killed; if the agent does not answer, it is found out why, which takes half a
    /// minute at most ([`examined`](Self::examined)). A future that is dropped leaves its command running.
    pub async fn exec(&self, command: Command, deadline: Duration) -> Result<Output, ExecError> {
        let running = &self.running;
        let (node, what) = (running.name.clone(), command.to_string());
        let began = Instant::now();
        let mut job = Job::new(&running.agent, &command);
        let Some(ended) = running.unless_ended(&what, deadline, job.run()).await? else {
            return Err(overdue(running, job, &what, deadline).await);
        };
        let ended = match ended {
            Ok(ended) => ended,
            Err(error) => return Err(running.post_mortem(&what, error).await),
        };
        let elapsed = began.elapsed();
        let Ended { status, printed } = ended;
        Ok(Output {
            status,
            stdout: printed.stdout,
            stderr: printed.stderr,
            cut: printed.cut,
            elapsed,
            node,
            command: what,
        })
    }

    /// What was found when the guest's agent did not answer, the last time.
    pub async fn examined(&self) -> Option<Examination> {
        let examined = self.running.examined.lock().await;
        examined.as_ref().map(|last| last.examination.clone())
    }

    /// Writes a file of the guest: all of it or nothing, with its folder if that is missing.
    pub async fn write_file(
        &self,
        path: &str,
        bytes: &[u8],
        mode: u32,
        deadline: Duration,
    ) -> Result<(), ExecError> {
        let command = Command::new(guest::write_file(path, mode)).stdin(bytes);
        self.exec(command, deadline).await?.success().map(drop)
    }

    /// Reads a file of the guest, at most 16 MiB.
    pub async fn read_file(&self, path: &str, deadline: Duration) -> Result<Vec<u8>, ExecError> {
        let command = Command::new(guest::print_file(path));
        Ok(self.exec(command, deadline).await?.success()?.stdout)
    }

    /// Halts the virtual processors.
    pub async fn stop(&self) -> Result<(), VmError> {
        self.qmp("stop", json!({}), QMP_DEADLINE).await.map(drop)
    }

    /// Lets the virtual processors go on.
    pub async fn cont(&self) -> Result<(), VmError> {
        self.qmp("cont", json!({}), QMP_DEADLINE).await.map(drop)
    }

    /// Gives QEMU's threads that nice value, from 0 to 19, unless they have a higher one. They cannot be given a lower one again.
    pub fn set_nice(&self, nice: u8) -> std::io::Result<()> {
        priority::set_nice(self.running.process.pid(), nice)
    }

    /// Pulls the cable of a network card, counted as in [`MachineSpec::nics`], or plugs it in again: the guest's driver sees
    /// the carrier go and come.
    pub async fn set_link(&self, card: usize, up: bool) -> Result<(), VmError> {
        // QEMU sets the card's link with that of what it is connected to.
        let link = json!({ "name": netdev_id(card), "up": up });
        self.qmp("set_link", link, QMP_DEADLINE).await.map(drop)
    }

    /// Whether its kernel has panicked, or hangs, and QEMU still has its memory.
    pub fn has_lost_its_kernel(&self) -> bool {
        let terminal = self.running.terminal.borrow();
        let lost = terminal.panicked.is_some() || terminal.hangs.is_some();
        lost && terminal.exited.is_none()
    }

    /// Whether its QEMU has ended.
    pub fn has_exited(&self) -> bool {
        self.running.terminal.borrow().exited.is_some()
    }

    /// Writes its memory to a file that must not be there, compressed as kdump does it, for `crash` and `drgn`: 1 s for 256 MiB. It
    /// stands still meanwhile. How many bytes that are.
    pub async fn write_vmcore(&self, to: &Path, deadline: Duration) -> Result<u64, VmError> {
        let stream = to.with_extension("stream");
        let arguments = json!({
            "paging": false,
            "protocol": format!("file:{}", stream.display()),
            "format": "kdump-zlib",
        });
        let dumped = self.qmp("dump-guest-memory", arguments, deadline).await;
        let (from, to, node) = (stream.clone(), to.to_owned(), self.running.name.clone());
        let written = match dumped {
            Ok(_) => {
                let doing = format!("write {}", to.display());
                let assembled = spawn_blocking(move || vmcore::assemble(&from, &to, &node)).await;
                let assembled = assembled.map_err(std::io::Error::from).flatten();
                assembled.map_err(|source| VmError::host(doing, source))
            }
            Err(error) => Err(error),
        };
        // Of a dump that failed it may not be there.
        let _ = fs_err::tokio::remove_file(&stream).await;
        written
    }

    /// Has QEMU listen for a debugger of the guest's kernel (gdb's remote protocol) at that socket, which must not be there; or no
    /// longer. The guest stands still when one connects, and goes on when it is told to or has detached.
    pub async fn serve_gdb(&self, socket: Option<&Path>) -> Result<(), VmError> {
        let device = socket.map_or_else(
            || "none".to_owned(),
            |socket| format!("unix:{},server=on,wait=off", socket.display()),
        );
        let line = format!("gdbserver {device}");
        let command = "human-monitor-command";
        let said = self.qmp(command, json!({ "command-line": line }), QMP_DEADLINE);
        let said = said.await?;
        // It has no code for how it went, and speaks otherwise when it could not.
        let said = said.as_str().unwrap_or_default().trim();
        if said.starts_with("Waiting for gdb connection") || said == "Disabled gdbserver" {
            return Ok(());
        }
        Err(VmError::Qmp {
            node: self.running.name.clone(),
            command: line,
            description: said.to_owned(),
        })
    }

    /// Runs any QMP command. A guest's panic is no hindrance: QEMU still answers.
    pub async fn qmp(
        &self,
        name: &str,
        arguments: Value,
        deadline: Duration,
    ) -> Result<Value, VmError> {
        let (node, command) = (self.running.name.clone(), name.to_owned());
        match timeout(deadline, self.running.qmp.call(name, &arguments)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(WireError::Closed)) => Err(self
                .running
                .post_mortem(name, WireError::Closed)
                .await
                .into()),
            Ok(Err(WireError::Refused(description) | WireError::Garbled(description))) => {
                Err(VmError::Qmp {
                    node,
                    command,
                    description,
                })
            }
            Err(_) => {
                let last_seen = "QEMU has not answered".into();
                Err(VmError::Guest(ExecError::TimedOut {
                    node,
                    command,
                    deadline,
                    last_seen,
                    printed: Box::default(),
                }))
            }
        }
    }

    /// What the machine has cost so far.
    pub fn usage(&self) -> Usage {
        let exited = self
            .running
            .terminal
            .borrow()
            .exited
            .as_ref()
            .map(|report| report.usage);
        exited.unwrap_or_else(|| self.running.usage())
    }

    /// What the machine has cost so far, without its memory: tens of microseconds to read.
    pub fn cost(&self) -> Cost {
        match &self.running.terminal.borrow().exited {
            Some(report) => Cost {
                host_cpu_seconds: report.usage.host_cpu_seconds,
                instructions: report.usage.instructions,
            },
            None => self.running.cost(),
        }
    }

    /// How many instructions the guest has executed since its QEMU was started; `None` without a
    /// [`Counter`](crate::Counter) that counts.
    pub fn instructions(&self) -> Option<u64> {
        self.running.instructions()
    }

    /// Has the guest's kernel panic, by its own crash trigger (`c` in Documentation/admin-guide/sysrq.rst); the machine
    /// stands still with it when this returns. It is [`MachineEvent::Panicked`] like any other panic.
    pub async fn panic(&self, deadline: Duration) -> Result<(), VmError> {
        let trigger = Command::script("echo c > /proc/sysrq-trigger");
        let what = trigger.to_string();
        match self.exec(trigger, deadline).await {
            // Another panic may have come first.
            Err(ExecError::GuestPanicked { .. }) if self.was_triggered() => Ok(()),
            Err(error) => Err(error.into()),
            Ok(output) => {
                let status = output.success()?.status;
                Err(VmError::Guest(ExecError::CommandFailed {
                    node: self.running.name.clone(),
                    command: what,
                    status,
                    stderr_tail: "the kernel did not panic".into(),
                }))
            }
        }
    }

    /// Whether the kernel has panicked as it was told to.
    fn was_triggered(&self) -> bool {
        self.console()
            .troubles()
            .iter()
            .any(|line| line.trouble == Some(Trouble::Panic) && line.text.contains(TRIGGERED_PANIC))
    }

    /// Ends the machine as a power failure does: QEMU is killed, and gone when this returns. What the guest had written to
    /// its disks by then is in their files, since the host's page cache has it. Ended machines are fine.
    pub async fn kill(&self) -> Result<ExitReport, VmError> {
        let before = self.usage();
        self.running.process.signal(Signal::KILL);
        let mut terminal = self.running.terminal.subscribe();
        // Whether it is gone is looked at below.
        let _ = timeout(
            DEATH,
            terminal.wait_for(|terminal| terminal.exited.is_some()),
        )
        .await
        .map(drop);
        self.exit_report(before)
    }

    /// Ends the machine without asking the guest: QMP `quit`, SIGTERM after `grace`, SIGKILL after another. Ended
    /// machines, and calling it twice, are fine.
    pub async fn shutdown(&self, grace: Duration) -> Result<ExitReport, VmError> {
        let before = self.usage();
        let mut terminal = self.running.terminal.subscribe();
        let mut exited = async |patience| {
            timeout(
                patience,
                terminal.wait_for(|terminal| terminal.exited.is_some()),
            )
            .await
            .is_ok()
        };
        if !exited(Duration::ZERO).await {
            // Whether it answers is of no matter; that it ends is.
            let _ = timeout(grace, self.running.qmp.call("quit", &json!({}))).await;
            for (signal, patience) in [
                (None, grace),
                (Some(Signal::TERM), grace),
                (Some(Signal::KILL), DEATH),
            ] {
                if let Some(signal) = signal {
                    self.running.process.signal(signal);
                }
                if exited(patience).await {
                    break;
                }
            }
        }
        self.exit_report(before)
    }

    /// How it ended, if it has.
    fn exit_report(&self, before: Usage) -> Result<ExitReport, VmError> {
        match &self.running.terminal.borrow().exited {
            Some(report) => Ok(ExitReport {
                usage: report.usage.or_before(before),
                ..report.clone()
            }),
            None => Err(VmError::Unkillable {
                node: self.running.name.clone(),
                pid: self.pid(),
            }),
        }
    }
}

/// Why a command was not done within its deadline.
async fn overdue(
    running: &Arc<Running>,
    mut job: Job<'_>,
    what: &str,
    deadline: Duration,
) -> ExecError {
    let (node, command) = (running.name.clone(), what.to_owned());
    let killed = killed_or_examined(running, &mut job);
    let reason = match running.unless_ended(what, FIND_OUT, killed).await {
        Err(error) => return error,
        Ok(Some(Ok(Ok(killed)))) => {
            return ExecError::TimedOut {
                node,
                command,
                deadline,
                last_seen: killed.became,
                printed: Box::new(killed.printed),
            };
        }
        Ok(Some(Ok(Err(error)))) => return running.post_mortem(what, error).await,
        Ok(Some(Err(examination))) if examination.is_hang() => {
            let reason = examination.reason();
            running.hangs(&reason);
            return ExecError::GuestHangs {
                node,
                command,
                reason,
            };
        }
        Ok(Some(Err(examination))) => {
            if running.qmp.has_ended()
                && let Some(error) = running.end(what).await
            {
                return error;
            }
            examination.reason()
        }
        Ok(None) => "the guest was not examined in time".to_owned(),
    };
    let reason = format!(
        "no answer for {} s beyond the deadline; {reason}; {}",
        AGENT_GRACE.as_secs(),
        running.last_console_line()
    );
    ExecError::AgentDead {
        node,
        command,
        reason,
    }
}

/// What became of a command that is to be killed; or what was found about a guest whose agent does not even kill it.
async fn killed_or_examined(
    running: &Arc<Running>,
    job: &mut Job<'_>,
) -> Result<Result<Killed, WireError>, Examination> {
    let mut kill = pin!(job.kill());
    if let Ok(killed) = timeout(AGENT_GRACE, &mut kill).await {
        return Ok(killed);
    }
    let before = running.agent.answers();
    let mut examine = pin!(running.examine());
    let examination = tokio::select! {
        examination = &mut examine => examination,
        killed = &mut kill => {
            // What the kernel prints belongs together.
            examine.await;
            return Ok(killed);
        }
    };
    if examination.may_answer() || running.agent.answers() > before {
        return timeout(AGENT_GRACE, kill).await.map_err(|_| examination);
    }
    Err(examination)
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.running.process.signal(Signal::KILL);
    }
}
