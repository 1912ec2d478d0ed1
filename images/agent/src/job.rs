//! A command that runs, and what is on its way to it and from it.

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ExitStatus};

use rustix::event::{PollFd, PollFlags};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, kill_process_group, pidfd_open};

use crate::frame::{Ending, Frame, Job, Launch, PIECE, Stream, TerminalSize, WINDOW};
use crate::spawn::{Spawned, resize, spawn};

/// The character that ends a terminal's input, as long as nobody has set another (`VEOF`).
const END_OF_FILE: u8 = 4;

/// A command that runs.
pub(crate) struct Running {
    job: Job,
    child: Child,
    pid: Pid,
    /// Readable once it has ended.
    handle: OwnedFd,
    ending: Option<Ending>,
    /// `None`: it is closed, and what still comes for it is dropped.
    stdin: Option<OwnedFd>,
    input: VecDeque<u8>,
    input_ends: bool,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    is_terminal: bool,
    /// How much output may be sent.
    credit: u32,
}

impl Running {
    pub(crate) fn start(job: Job, launch: &Launch) -> io::Result<Self> {
        let Spawned {
            child,
            stdin,
            stdout,
            stderr,
        } = spawn(launch)?;
        let pid = Pid::from_child(&child);
        let handle = pidfd_open(pid, PidfdFlags::empty())?;
        for end in [Some(&stdin), Some(&stdout), stderr.as_ref()]
            .into_iter()
            .flatten()
        {
            ioctl_fionbio(end, true)?;
        }
        Ok(Self {
            job,
            child,
            pid,
            handle,
            ending: None,
            stdin: Some(stdin),
            input: VecDeque::new(),
            input_ends: false,
            stdout: Some(stdout),
            stderr,
            is_terminal: launch.terminal.is_some(),
            credit: WINDOW,
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it waits for, in the order in which [`go_on`](Self::go_on) looks at it. Nothing else is asked for: the end of a
    /// pipe that nobody may read now would be told again and again.
    pub(crate) fn waits_for(&self) -> Vec<PollFd<'_>> {
        let mut all = Vec::new();
        if self.ending.is_none() {
            all.push(PollFd::new(&self.handle, PollFlags::IN));
        }
        if let Some(stdin) = self.stdin.as_ref().filter(|_| !self.input.is_empty()) {
            all.push(PollFd::new(stdin, PollFlags::OUT));
        }
        let outputs = [&self.stdout, &self.stderr].into_iter().flatten();
        if self.credit > 0 {
            all.extend(outputs.map(|output| PollFd::new(output, PollFlags::IN)));
        }
        all
    }

    /// Whether it has something to do without waiting: it has ended, and what it had written is to be read.
    pub(crate) fn is_ready(&self) -> bool {
        self.ending.is_some() && (self.credit > 0 || self.is_drained())
    }

    fn is_drained(&self) -> bool {
        self.stdout.is_none() && self.stderr.is_none()
    }

    /// Moves what can be moved. `true`: that was all, and nothing more comes.
    pub(crate) fn go_on(&mut self, mut tell: impl FnMut(&Frame)) -> io::Result<bool> {
        let job = self.job;
        if self.ending.is_none() {
            self.ending = self.child.try_wait()?.map(ending);
        }
        let taken = self.feed();
        if taken > 0 {
            tell(&Frame::Credit { job, bytes: taken });
        }
        for stream in [Stream::Stdout, Stream::Stderr] {
            if let Some(bytes) = self.read(stream) {
                // No more than a piece.
                self.credit -= u32::try_from(bytes.len()).unwrap_or(self.credit);
                tell(&Frame::Output { job, stream, bytes });
            }
        }
        match self.ending {
            Some(ending) if self.is_drained() => {
                tell(&Frame::Ended { job, ending });
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Writes what waits for the command; says how much the host may send for it.
    fn feed(&mut self) -> u32 {
        let mut taken = 0;
        while let Some(stdin) = self.stdin.as_ref().filter(|_| !self.input.is_empty()) {
            let (first, _) = self.input.as_slices();
            match rustix::io::write(stdin, first) {
                Ok(written) => {
                    self.input.drain(..written);
                    taken += written;
                }
                Err(Errno::AGAIN | Errno::INTR) => break,
                // It does not read any more.
                Err(_) => self.stdin = None,
            }
        }
        if self.stdin.is_none() {
            taken += self.input.len();
            self.input.clear();
        }
        if self.input_ends && self.input.is_empty() && !self.is_terminal {
            self.stdin = None;
        }
        u32::try_from(taken).unwrap_or(u32::MAX)
    }

    /// A piece of what the command has written, within the credit.
    fn read(&mut self, stream: Stream) -> Option<Vec<u8>> {
        let output = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let from = output.as_ref()?;
        let most = usize::try_from(self.credit).unwrap_or(PIECE).min(PIECE);
        if most == 0 {
            return None;
        }
        let mut bytes = vec![0; most];
        match rustix::io::read(from, &mut bytes) {
            Ok(length) if length > 0 => {
                bytes.truncate(length);
                return Some(bytes);
            }
            Err(Errno::INTR) => {}
            // As long as the command runs there may come more; then others may hold it open, but they are not the command.
            Err(Errno::AGAIN) if self.ending.is_none() => {}
            // The end: of a terminal it is an error.
            Ok(_) | Err(_) => *output = None,
        }
        None
    }

    pub(crate) fn input(&mut self, bytes: &[u8]) {
        self.input.extend(bytes);
    }

    pub(crate) fn input_ends(&mut self) {
        self.input_ends = true;
        if self.is_terminal {
            // Not counted by the window: there is one.
            self.input.push_back(END_OF_FILE);
        }
    }

    pub(crate) fn credit(&mut self, bytes: u32) {
        self.credit = self.credit.saturating_add(bytes).min(WINDOW);
    }

    pub(crate) fn resize(&self, size: TerminalSize) -> io::Result<()> {
        match &self.stdout {
            Some(terminal) if self.is_terminal => resize(terminal, size),
            _ => Ok(()),
        }
    }

    /// Sends a signal to the command's process group, SIGKILL to its whole session. One that has ended is fine.
    pub(crate) fn signal(&self, number: u8) -> io::Result<()> {
        let Some(signal) = Signal::from_named_raw(i32::from(number)) else {
            return Ok(());
        };
        if signal == Signal::KILL {
            for pid in session(self.pid)? {
                let _ = kill_process(pid, signal);
            }
        } else if self.ending.is_none() {
            let _ = kill_process_group(self.pid, signal);
        }
        Ok(())
    }

    /// Whoever writes for it is gone.
    pub(crate) fn hang_up(&mut self) -> io::Result<()> {
        self.stdin = None;
        self.stdout = None;
        self.stderr = None;
        self.signal(9)
    }

    pub(crate) fn handle(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }

    /// Whether it has ended and was reaped.
    pub(crate) fn is_gone(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

fn ending(status: ExitStatus) -> Ending {
    let number = |number: i32| u8::try_from(number).unwrap_or(u8::MAX);
    match (status.code(), status.signal()) {
        (Some(code), _) => Ending::Exited(number(code)),
        (None, signal) => Ending::Signalled(number(signal.unwrap_or_default())),
    }
}

/// The processes of a session: field 6 of `stat`, counted after the name in parentheses, which may have anything in it.
fn session(leader: Pid) -> io::Result<Vec<Pid>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        // A process may end while it is looked at.
        let Ok(entry) = entry else { continue };
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.parse().ok());
        let Some(pid) = pid.and_then(Pid::from_raw) else {
            continue;
        };
        let mut stat = String::new();
        let read = OpenOptions::new()
            .read(true)
            .open(entry.path().join("stat"))
            .and_then(|mut file| file.read_to_string(&mut stat));
        if read.is_err() {
            continue;
        }
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let session = fields.split_whitespace().nth(3);
        if session.and_then(|field| field.parse().ok()) == Some(leader.as_raw_nonzero().get()) {
            found.push(pid);
        }
    }
    Ok(found)
}
