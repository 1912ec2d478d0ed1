//! A command that the lab's agent runs in the guest: its output comes while it runs, and it may have a terminal.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;

use crate::channels::frame::{Launch, TerminalSize};
use crate::channels::lab_agent::{AgentInput, AgentJob, GuestSaid};
use crate::channels::wire::WireError;
use crate::error::ExecError;
use crate::machine::Machine;
use crate::machine::running::Running;

/// How long a command may run that nobody has set a limit for.
const NO_LIMIT: Duration = Duration::MAX;

/// A command that runs in a guest. Dropping it kills the command and all of its session.
pub struct GuestProcess {
    running: Arc<Running>,
    job: AgentJob,
    what: String,
}

/// The way to a command that runs in a guest.
#[derive(Clone)]
pub struct GuestInput(AgentInput);

impl Machine {
    /// Starts a command by the lab's agent; it runs when this returns. An image without that agent lets the deadline pass.
    pub async fn launch(
        &self,
        launch: Launch,
        deadline: Duration,
    ) -> Result<GuestProcess, ExecError> {
        let words = launch.argv.iter().map(|word| String::from_utf8_lossy(word));
        let what = words.collect::<Vec<_>>().join(" ");
        let running = &self.running;
        let started = running.lab_agent.launch(launch);
        match running.unless_ended(&what, deadline, started).await? {
            Some(Ok(job)) => Ok(GuestProcess {
                running: Arc::clone(running),
                job,
                what,
            }),
            Some(Err(error)) => Err(running.post_mortem(&what, error).await),
            None => Err(self.silent(what, deadline)),
        }
    }

    /// Waits until the lab's agent answers: a round trip to a process of the guest.
    pub async fn ping(&self, deadline: Duration) -> Result<(), ExecError> {
        let what = "ping".to_owned();
        let running = &self.running;
        let asked = running.lab_agent.ping();
        match running.unless_ended(&what, deadline, asked).await? {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(running.post_mortem(&what, error).await),
            None => Err(self.silent(what, deadline)),
        }
    }

    fn silent(&self, command: String, deadline: Duration) -> ExecError {
        ExecError::TimedOut {
            node: self.running.name.clone(),
            command,
            deadline,
            last_seen: format!(
                "sanlab-agent in the guest has not answered; {}",
                self.running.last_console_line()
            ),
            printed: Box::default(),
        }
    }
}

impl GuestProcess {
    /// What the command does next: the last is its end. While nobody asks, a command that writes more than 64 KiB waits.
    pub async fn next(&mut self) -> Result<GuestSaid, ExecError> {
        let running = Arc::clone(&self.running);
        let next = running.unless_ended(&self.what, NO_LIMIT, self.job.next());
        match next.await?.flatten() {
            Some(said) => Ok(said),
            None => Err(running.post_mortem(&self.what, WireError::Closed).await),
        }
    }

    /// The way to it.
    pub fn input(&self) -> GuestInput {
        GuestInput(self.job.input())
    }
}

impl GuestInput {
    /// Gives the command something to read, as fast as it reads. What it does not read any more is dropped.
    pub async fn write(&self, bytes: &[u8]) {
        self.0.write(bytes).await;
    }

    /// There is nothing more to read. On a terminal that is its end-of-file character.
    pub fn end(&self) {
        self.0.end();
    }

    /// The terminal has this size now.
    pub fn resize(&self, size: TerminalSize) {
        self.0.resize(size);
    }

    /// Sends a signal to the command's process group; SIGKILL to all processes of its session.
    pub fn signal(&self, signal: Signal) {
        self.0.signal(signal);
    }
}
