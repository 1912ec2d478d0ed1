//! What is found out about a guest whose agent does not answer: without the agent, from QEMU and from the guest's kernel.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sanlab_plan::guest;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout, timeout_at};

use crate::channels::console::Dump;
use crate::channels::kernel_log::{Trouble, trouble};
use crate::channels::sysrq::{self, DUMP_KEYS, Key, LAST_KEY, Task};
use crate::channels::wire::WireError;
use crate::command_line::argv::CONSOLE_ID;
use crate::machine::running::Running;

/// What all of it may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
/// QEMU answers at once, or not at all.
const QEMU_DEADLINE: Duration = Duration::from_secs(3);
/// How long a kernel may take to obey the first key: it does so in an interrupt.
const KEY_DEADLINE: Duration = Duration::from_secs(4);
/// How long everything may take that it prints: one to two hundred kilobytes, which are a second or two under TCG.
const DUMP_DEADLINE: Duration = Duration::from_secs(12);
/// How long a kernel may take to panic of an NMI, and to say so.
const NMI_DEADLINE: Duration = Duration::from_secs(4);
/// How many blocked tasks a message names.
const NAMED: usize = 6;
/// What is said of a kernel that takes no interrupt.
const SILENT: &str = "its kernel obeys no SysRq key";

/// What was found.
#[derive(Debug, Clone)]
pub struct Examination {
    diagnosis: Diagnosis,
    report: String,
}

/// The last examination of a machine.
#[derive(Debug)]
pub(crate) struct Examined {
    pub(crate) examination: Examination,
    ended: Instant,
    /// How often the agent had answered when it began.
    answers: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Diagnosis {
    /// QEMU itself does not answer or does not do as it is told, or has stopped the guest for this reason.
    NotRunning(String),
    /// The kernel obeys no key.
    KernelSilent,
    /// The kernel obeys, but has not listed all tasks, of which these are blocked.
    Unlisted(Vec<Task>),
    /// All tasks.
    Listed(Vec<Task>),
}

/// What an agent that does not answer is doing, as its kernel says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AgentState {
    Unknown,
    Gone,
    /// It waits for a request.
    Asleep,
    /// By a signal or a debugger.
    Stopped,
    /// It wants to run.
    Runnable,
    /// Something in the kernel keeps it.
    Blocked,
}

impl Diagnosis {
    fn agent(&self) -> AgentState {
        let (tasks, complete) = match self {
            Self::NotRunning(_) | Self::KernelSilent => return AgentState::Unknown,
            Self::Unlisted(blocked) => (blocked, false),
            Self::Listed(tasks) => (tasks, true),
        };
        let states = tasks.iter().filter(|task| task.name == guest::AGENT);
        let states: Vec<char> = states.map(|task| task.state).collect();
        match &states[..] {
            [] if complete && !tasks.is_empty() => AgentState::Gone,
            [] => AgentState::Unknown,
            all if all.contains(&'D') => AgentState::Blocked,
            all if all.contains(&'R') => AgentState::Runnable,
            all if all.contains(&'S') => AgentState::Asleep,
            all if all.iter().any(|state| "Tt".contains(*state)) => AgentState::Stopped,
            // A zombie.
            _ => AgentState::Gone,
        }
    }
}

impl Examination {
    /// Whether the guest hangs: its kernel obeys nothing, or its agent is there and cannot go on. Otherwise, the agent is
    /// gone or does not do its part, or QEMU does not.
    pub(crate) fn is_hang(&self) -> bool {
        match &self.diagnosis {
            Diagnosis::NotRunning(_) => false,
            Diagnosis::KernelSilent => true,
            listed => matches!(listed.agent(), AgentState::Blocked | AgentState::Runnable),
        }
    }

    /// Whether the agent may yet answer: it only waits for its turn.
    pub(crate) fn may_answer(&self) -> bool {
        self.diagnosis.agent() == AgentState::Runnable
    }

    /// What was found, in a few words.
    pub(crate) fn reason(&self) -> String {
        let agent = guest::AGENT;
        match &self.diagnosis {
            Diagnosis::NotRunning(reason) => reason.clone(),
            Diagnosis::KernelSilent => SILENT.to_owned(),
            Diagnosis::Unlisted(tasks) | Diagnosis::Listed(tasks) => {
                let state = match self.diagnosis.agent() {
                    AgentState::Unknown => "is not in its list of tasks, which is cut off",
                    AgentState::Gone => "has ended",
                    AgentState::Stopped => "is stopped",
                    AgentState::Asleep => "sleeps and waits for requests",
                    AgentState::Runnable => "is to run, but does not get on",
                    AgentState::Blocked => "is blocked in the kernel",
                };
                format!(
                    "its kernel obeys SysRq keys, and {agent} {state}{}",
                    blocked(tasks)
                )
            }
        }
    }

    /// Everything that was found, for a file: CPU registers, and what the kernel printed.
    pub fn report(&self) -> &str {
        &self.report
    }
}

/// Who is blocked, for the end of a sentence.
fn blocked(tasks: &[Task]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for task in tasks.iter().filter(|task| task.is_blocked()) {
        if !names.contains(&task.name.as_str()) {
            names.push(&task.name);
        }
    }
    let more = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    match (names.is_empty(), more) {
        (true, _) => String::new(),
        (false, 0) => format!("; blocked tasks: {}", names.join(", ")),
        (false, more) => format!("; blocked tasks: {} and {more} more", names.join(", ")),
    }
}

/// What became of the keys.
enum Keys {
    /// The kernel obeys them.
    Obeyed,
    /// It obeyed not even the first.
    Ignored,
    /// So it was sent an NMI, and is at its end.
    Interrupted,
}

/// Why there is no good answer of QEMU's.
#[derive(Debug, thiserror::Error)]
enum NoAnswer {
    #[error("QEMU does not answer")]
    Silent,
    #[error("QEMU has closed its channel")]
    Closed,
    #[error("QEMU refuses {command}: {words}")]
    Refused {
        command: &'static str,
        words: String,
    },
    #[error("QEMU has stopped the guest: {0}")]
    Stopped(String),
    #[error("QEMU does not take keys: {0}")]
    NoKeys(std::io::Error),
}

impl Running {
    /// Looks at a guest whose agent does not answer; once, whoever asks, unless it has answered since. It goes on if nobody
    /// waits for it any more: what it finds is collected.
    pub(crate) async fn examine(self: &Arc<Self>) -> Examination {
        let (running, asked) = (Arc::clone(self), Instant::now());
        let examined = tokio::spawn(async move {
            let mut examined = running.examined.lock().await;
            let answers = running.agent.answers();
            if let Some(last) = &*examined
                && (last.ended >= asked || last.answers == answers)
            {
                return last.examination.clone();
            }
            let examination = running.look_inside(answers).await;
            *examined = Some(Examined {
                examination: examination.clone(),
                ended: Instant::now(),
                answers,
            });
            examination
        });
        examined.await.unwrap_or_else(|error| Examination {
            diagnosis: Diagnosis::NotRunning(format!("it was not examined to the end: {error}")),
            report: String::new(),
        })
    }

    /// The agent had answered so often when this began.
    async fn look_inside(&self, answers: u64) -> Examination {
        let mut found = String::new();
        let diagnosis = self.look(answers, &mut found).await;
        let mut examination = Examination {
            diagnosis: diagnosis.unwrap_or_else(|error| Diagnosis::NotRunning(error.to_string())),
            report: String::new(),
        };
        examination.report = format!("{}: {}\n\n{found}", self.name, examination.reason());
        examination
    }

    async fn look(&self, answers: u64, found: &mut String) -> Result<Diagnosis, NoAnswer> {
        let status = self.is_running().await;
        if !matches!(status, Err(NoAnswer::Silent | NoAnswer::Closed)) {
            // Where each CPU stands, even if no interrupt reaches it.
            let command = "info registers -a";
            let arguments = json!({ "command-line": command });
            let registers = self.qemu("human-monitor-command", arguments).await;
            let registers = registers.as_ref().ok().and_then(Value::as_str);
            let registers = registers.unwrap_or("none");
            let _ = write!(found, "# QEMU: {command}\n{registers}\n");
        }
        status?;
        let dump = self.console.begin_dump();
        let pressed = self.press_keys(&dump, answers).await;
        self.console.quiet().await;
        let lines = dump.lines();
        let _ = write!(found, "# Console\n{}\n", lines.join("\n"));
        pressed?;
        Ok(diagnose(&lines))
    }

    /// Whether QEMU has the guest's processors run.
    async fn is_running(&self) -> Result<(), NoAnswer> {
        let status = self.qemu("query-status", json!({})).await?;
        match status["status"].as_str() {
            Some("running") => Ok(()),
            other => Err(NoAnswer::Stopped(
                other.unwrap_or("no reason given").to_owned(),
            )),
        }
    }

    /// Has the kernel print its state, and puts the level of its console back.
    async fn press_keys(&self, dump: &Dump<'_>, answers: u64) -> Result<(), NoAnswer> {
        let end = Instant::now() + DUMP_DEADLINE;
        let keys = self.press_dump_keys(dump, answers, end).await;
        if matches!(keys, Ok(Keys::Interrupted)) {
            return Ok(());
        }
        let from = dump.length();
        let put_back = self.press(LAST_KEY).await;
        match keys? {
            // What it says stands, whatever becomes of QEMU now.
            Keys::Obeyed if put_back.is_ok() => {
                let obeyed = dump.says(from, |line| LAST_KEY.is_obeyed(line));
                // The console waits for it, too.
                let _ = timeout_at(end, obeyed).await;
                Ok(())
            }
            Keys::Obeyed | Keys::Interrupted => Ok(()),
            Keys::Ignored => put_back,
        }
    }

    async fn press_dump_keys(
        &self,
        dump: &Dump<'_>,
        answers: u64,
        end: Instant,
    ) -> Result<Keys, NoAnswer> {
        for (number, key) in DUMP_KEYS.iter().enumerate() {
            let from = dump.length();
            self.press(*key).await?;
            let patience = match number {
                0 => Instant::now() + KEY_DEADLINE,
                _ => end,
            };
            let obeyed = dump.says(from, |line| key.is_obeyed(line));
            if timeout_at(patience, obeyed).await.is_ok() {
                continue;
            }
            if number > 0 {
                break;
            }
            // A guest that stands still obeys nothing, whatever its kernel does.
            self.is_running().await?;
            // One whose agent answers again goes on, and must not panic.
            let is_silent = self.agent.answers() == answers;
            return Ok(if is_silent && self.interrupt(dump).await? {
                Keys::Interrupted
            } else {
                Keys::Ignored
            });
        }
        Ok(Keys::Obeyed)
    }

    /// Presses a `SysRq` key: the guest's UART tells its kernel of a break, and the kernel takes the key after it.
    async fn press(&self, key: Key) -> Result<(), NoAnswer> {
        let arguments = json!({ "id": CONSOLE_ID });
        self.qemu("chardev-send-break", arguments).await?;
        self.console.press(key.key).await.map_err(NoAnswer::NoKeys)
    }

    /// Has a kernel panic that takes no interrupt, so that it says where it stands: it panics of an NMI, and the CPU that got
    /// it prints its backtrace. QEMU stays, whatever the guest does then. Nothing is asked of the guest any more: what would
    /// become of a command would be the lab's doing. `false`: QEMU did not send it, and all is as before.
    async fn interrupt(&self, dump: &Dump<'_>) -> Result<bool, NoAnswer> {
        let stay = json!({ "panic": "none", "shutdown": "pause" });
        self.qemu("set-action", stay).await?;
        self.nmi.store(true, Ordering::SeqCst);
        self.console.nmi_is_sent(true);
        match self.qemu("inject-nmi", json!({})).await {
            Ok(_) => {}
            Err(NoAnswer::Refused { .. }) => {
                self.console.nmi_is_sent(false);
                self.nmi.store(false, Ordering::SeqCst);
                // As on the command line.
                let usual = json!({ "panic": "pause", "shutdown": "poweroff" });
                self.qemu("set-action", usual).await?;
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
        self.hangs(SILENT);
        let panic = |line: &str| trouble(line) == Some(Trouble::Panic);
        // Whether it comes or not: what there is, is in the dump.
        let _ = timeout(NMI_DEADLINE, dump.says(0, panic)).await;
        Ok(true)
    }

    /// QEMU's answer, if it gives a good one in time.
    async fn qemu(&self, command: &'static str, arguments: Value) -> Result<Value, NoAnswer> {
        let answer = timeout(QEMU_DEADLINE, self.qmp.call(command, &arguments)).await;
        let refused = |words| NoAnswer::Refused { command, words };
        answer
            .map_err(|_| NoAnswer::Silent)?
            .map_err(|error| match error {
                WireError::Closed => NoAnswer::Closed,
                WireError::Refused(words) | WireError::Garbled(words) => refused(words),
            })
    }
}

/// What a kernel's dump says.
fn diagnose(lines: &[String]) -> Diagnosis {
    if let Some(tasks) = sysrq::all_tasks(lines) {
        return Diagnosis::Listed(tasks);
    }
    if !lines.iter().any(|line| sysrq::is_obeyed(line)) {
        return Diagnosis::KernelSilent;
    }
    let tasks = sysrq::tasks(lines).into_iter();
    Diagnosis::Unlisted(tasks.filter(Task::is_blocked).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(tasks: &[(&str, char)]) -> Vec<Task> {
        let task = |(name, state): &(&str, char)| Task {
            name: (*name).to_owned(),
            state: *state,
        };
        tasks.iter().map(task).collect()
    }

    #[test]
    fn a_hang_is_told_from_an_agent_that_is_gone() {
        let others = [("systemd", 'S'), ("dd", 'D'), ("kswapd0", 'D'), ("dd", 'D')];
        let with = |state| listed(&[&others[..], &[("qemu-ga", state)]].concat());
        for (diagnosis, hangs, words) in [
            (
                Diagnosis::Listed(with('D')),
                true,
                "its kernel obeys SysRq keys, and qemu-ga is blocked in the kernel; blocked tasks: dd, kswapd0, qemu-ga",
            ),
            (
                Diagnosis::Listed(with('R')),
                true,
                "its kernel obeys SysRq keys, and qemu-ga is to run, but does not get on; blocked tasks: dd, kswapd0",
            ),
            (
                Diagnosis::Listed(with('S')),
                false,
                "its kernel obeys SysRq keys, and qemu-ga sleeps and waits for requests; blocked tasks: dd, kswapd0",
            ),
            (
                Diagnosis::Listed(with('T')),
                false,
                "its kernel obeys SysRq keys, and qemu-ga is stopped; blocked tasks: dd, kswapd0",
            ),
            (
                Diagnosis::Listed(listed(&others[..1])),
                false,
                "its kernel obeys SysRq keys, and qemu-ga has ended",
            ),
            (
                Diagnosis::Unlisted(listed(&others[1..])),
                false,
                "its kernel obeys SysRq keys, and qemu-ga is not in its list of tasks, which is cut off; blocked tasks: dd, kswapd0",
            ),
            (
                Diagnosis::Unlisted(with('D')),
                true,
                "its kernel obeys SysRq keys, and qemu-ga is blocked in the kernel; blocked tasks: dd, kswapd0, qemu-ga",
            ),
            (
                Diagnosis::KernelSilent,
                true,
                "its kernel obeys no SysRq key",
            ),
            (
                Diagnosis::NotRunning("QEMU does not answer".to_owned()),
                false,
                "QEMU does not answer",
            ),
        ] {
            let examination = Examination {
                diagnosis,
                report: String::new(),
            };
            assert_eq!(examination.reason(), words);
            assert_eq!(examination.is_hang(), hangs, "{words}");
        }
    }
}
