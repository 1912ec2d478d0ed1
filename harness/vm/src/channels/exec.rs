//! One command in a guest, from its start to its reaping.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use qapi::qga;
use sanlab_plan::guest;

use crate::channels::agent::Agent;
use crate::channels::command::{Command, OutputLine, OutputStream, Printed};
use crate::channels::wire::WireError;
use crate::process::status::Status;

/// The agent is asked whether the command has ended at intervals that grow with its age: most commands last
/// milliseconds, and a long one should not be slowed by questions, each of which costs the guest a millisecond.
const FIRST_LOOK: Duration = Duration::from_millis(2);
const RAREST_LOOK: Duration = Duration::from_millis(250);
const LOOKS_AN_AGE: u32 = 4;

/// How long a killed command is awaited; one in uninterruptible sleep does not go.
const DEATH: Duration = Duration::from_secs(1);

/// What one guest-file-read brings at most, in bytes.
const CHUNK: i64 = 1 << 20;

/// A command on its way. It is asked to [`run`](Self::run) and, if that future is given up, to
/// [`kill`](Self::kill).
pub(crate) struct Job<'a> {
    agent: &'a Agent,
    command: &'a Command,
    pid: Option<i64>,
    follow: Option<[Follow; 2]>,
}

/// A command that has ended.
pub(crate) struct Ended {
    pub(crate) status: Status,
    /// The agent keeps 16 MiB of each output and says when there was more.
    pub(crate) printed: Printed,
}

/// A command that was killed.
pub(crate) struct Killed {
    /// What became of it.
    pub(crate) became: String,
    /// What it had printed by then, as far as that is known.
    pub(crate) printed: Printed,
}

impl Killed {
    fn silent(became: impl Into<String>) -> Self {
        Self {
            became: became.into(),
            printed: Printed::default(),
        }
    }
}

impl<'a> Job<'a> {
    pub(crate) fn new(agent: &'a Agent, command: &'a Command) -> Self {
        Self {
            agent,
            command,
            pid: None,
            follow: None,
        }
    }

    /// Starts the command and waits for its end. No deadline here: the caller drops the future.
    pub(crate) async fn run(&mut self) -> Result<Ended, WireError> {
        let command = self.command;
        let capture = command.stream.is_none();
        if !capture {
            let outputs = [OutputStream::Stdout, OutputStream::Stderr].map(Follow::new);
            for follow in self.follow.insert(outputs) {
                follow.open(self.agent).await?;
            }
        }
        let outputs = self.follow.as_ref();
        let outputs = outputs.map(|follows| follows.each_ref().map(|follow| follow.path.as_str()));
        // A session of its own, so that all of it can be killed.
        let argv = guest::in_session(&command.argv, &command.environment, outputs);
        self.pid = Some(start(self.agent, argv, command.stdin.clone(), capture).await?);
        let ended = self.finish().await;
        self.clean().await?;
        ended
    }

    /// Kills the command's session, reaps the command, and says what became of it.
    pub(crate) async fn kill(&mut self) -> Result<Killed, WireError> {
        let Some(pid) = self.pid else {
            // Requests are answered in order: by now it has begun, but the answer that named its process is forgotten.
            self.agent.sync().await?;
            return Ok(Killed::silent(
                "the agent began it too late for it to be watched or killed",
            ));
        };
        let killer = start(self.agent, guest::kill_session(pid), None, false).await?;
        while !self
            .agent
            .call(qga::guest_exec_status { pid: killer })
            .await?
            .exited
        {
            tokio::time::sleep(FIRST_LOOK).await;
        }
        let dead = match tokio::time::timeout(DEATH, self.finish()).await {
            Err(_) => Killed::silent(format!("process {pid} did not go away after SIGKILL")),
            Ok(Err(error)) => return Err(error),
            Ok(Ok(Ended { status, printed })) => {
                let became = if status == Status::Signalled(9) {
                    let last = last_line(&printed);
                    format!("it still ran as process {pid} and was killed; {last}")
                } else {
                    format!("then it {status}")
                };
                Killed { became, printed }
            }
        };
        self.clean().await?;
        Ok(dead)
    }

    /// Asks until the command has ended, and hears what it writes meanwhile.
    async fn finish(&mut self) -> Result<Ended, WireError> {
        let pid = self.pid.ok_or(WireError::Closed)?;
        let began = Instant::now();
        loop {
            let state = self.agent.call(qga::guest_exec_status { pid }).await?;
            for follow in self.follow.iter_mut().flatten() {
                follow.read(self.agent, self.command).await?;
            }
            if !state.exited {
                tokio::time::sleep((began.elapsed() / LOOKS_AN_AGE).clamp(FIRST_LOOK, RAREST_LOOK))
                    .await;
                continue;
            }
            let number = |number: i64| i32::try_from(number).unwrap_or(i32::MAX);
            let status = match (state.signal, state.exitcode) {
                (Some(signal), _) => Status::Signalled(number(signal)),
                (None, Some(code)) => Status::Exited(number(code)),
                (None, None) => {
                    return Err(WireError::Garbled(
                        "a process that ended without a status".into(),
                    ));
                }
            };
            let cut = state.out_truncated == Some(true) || state.err_truncated == Some(true);
            let (stdout, stderr) = match &mut self.follow {
                Some([out, err]) => (out.finish(self.command), err.finish(self.command)),
                None => (
                    state.out_data.unwrap_or_default(),
                    state.err_data.unwrap_or_default(),
                ),
            };
            let printed = Printed {
                stdout,
                stderr,
                cut,
            };
            return Ok(Ended { status, printed });
        }
    }

    /// Removes what a streamed command leaves in the guest.
    async fn clean(&mut self) -> Result<(), WireError> {
        let Some(follow) = self.follow.take() else {
            return Ok(());
        };
        let mut paths = Vec::new();
        for follow in follow {
            if let Some(handle) = follow.handle {
                self.agent.call(qga::guest_file_close { handle }).await?;
            }
            paths.push(follow.path);
        }
        let pid = start(self.agent, guest::remove(paths), None, false).await?;
        while !self
            .agent
            .call(qga::guest_exec_status { pid })
            .await?
            .exited
        {
            tokio::time::sleep(FIRST_LOOK).await;
        }
        Ok(())
    }
}

fn last_line(printed: &Printed) -> String {
    let text = [printed.stdout.as_slice(), &printed.stderr].concat();
    match String::from_utf8_lossy(&text).trim_end().lines().last() {
        Some(line) => format!("the last it wrote: {line}"),
        None => "it wrote nothing".to_owned(),
    }
}

/// Starts a program and returns its process number. Without `env` the command inherits the agent's environment, which
/// is the image's decision.
async fn start(
    agent: &Agent,
    argv: Vec<String>,
    stdin: Option<Vec<u8>>,
    capture: bool,
) -> Result<i64, WireError> {
    let capture = qga::GuestExecCaptureOutput::flag(capture);
    let mut arg = argv.into_iter();
    let path = arg.next().unwrap_or_default();
    let request = qga::guest_exec {
        arg: Some(arg.collect()),
        capture_output: Some(capture),
        env: None,
        input_data: stdin,
        path,
    };
    Ok(agent.call(request).await?.pid)
}

/// An output that goes to a file in the guest's RAM and is read as it grows.
struct Follow {
    stream: OutputStream,
    path: String,
    handle: Option<i64>,
    heard: Vec<u8>,
    /// Where the line begins that has not been passed on yet.
    told: usize,
}

impl Follow {
    fn new(stream: OutputStream) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let path = format!(
            "/run/sanlab-output-{}",
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        Self {
            stream,
            path,
            handle: None,
            heard: Vec::new(),
            told: 0,
        }
    }

    async fn open(&mut self, agent: &Agent) -> Result<(), WireError> {
        let request = qga::guest_file_open {
            mode: Some("w+".into()),
            path: self.path.clone(),
        };
        self.handle = Some(agent.call(request).await?);
        Ok(())
    }

    /// Reads what is new and passes on whole lines.
    async fn read(&mut self, agent: &Agent, command: &Command) -> Result<(), WireError> {
        let Some(handle) = self.handle else {
            return Ok(());
        };
        loop {
            let read = agent
                .call(qga::guest_file_read {
                    count: Some(CHUNK),
                    handle,
                })
                .await?;
            self.heard.extend(&read.buf_b64);
            while let Some(length) = self.heard[self.told..]
                .iter()
                .position(|byte| *byte == b'\n')
            {
                self.tell(command, self.told + length);
                self.told += length + 1;
            }
            if read.eof || read.count == 0 {
                return Ok(());
            }
        }
    }

    /// Passes on a last line without an end, and returns everything that was read.
    fn finish(&mut self, command: &Command) -> Vec<u8> {
        if self.told < self.heard.len() {
            self.tell(command, self.heard.len());
        }
        self.told = 0;
        std::mem::take(&mut self.heard)
    }

    fn tell(&self, command: &Command, end: usize) {
        let text = String::from_utf8_lossy(&self.heard[self.told..end]).into_owned();
        if let Some(lines) = &command.stream {
            // A listener that is gone does not stop the command.
            let _ = lines.send(OutputLine {
                stream: self.stream,
                text,
            });
        }
    }
}
