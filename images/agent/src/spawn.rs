//! How a command is started. The only file of this crate with unsafe code.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Mode, OFlags, open};
use rustix::process::{ioctl_tiocsctty, setsid};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::frame::{Launch, TerminalSize};

/// How likely the kernel is to end a process for want of memory, relative to others.
const OOM_SCORE_ADJ: &str = "/proc/self/oom_score_adj";
/// Whether it never ends this one: its commands must not inherit that.
static SPARED: AtomicBool = AtomicBool::new(false);

/// A command that was started, and the agent's ends of its pipes or terminal.
pub(crate) struct Spawned {
    pub(crate) child: Child,
    pub(crate) stdin: OwnedFd,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: Option<OwnedFd>,
}

/// Has the kernel never end this process for want of memory.
pub(crate) fn spare() -> io::Result<()> {
    let score = open(OOM_SCORE_ADJ, OFlags::WRONLY, Mode::empty())?;
    rustix::io::write(&score, b"-1000")?;
    SPARED.store(true, Ordering::Relaxed);
    Ok(())
}

/// Starts a command in a session of its own.
pub(crate) fn spawn(launch: &Launch) -> io::Result<Spawned> {
    let mut words = launch.argv.iter().map(|word| OsStr::from_bytes(word));
    let program = words
        .next()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "there is no command"))?;
    let mut command = Command::new(program);
    command.args(words);
    for variable in &launch.environment {
        let mut parts = variable.splitn(2, |byte| *byte == b'=');
        let (name, value) = (parts.next(), parts.next());
        command.env(
            OsStr::from_bytes(name.unwrap_or_default()),
            OsStr::from_bytes(value.unwrap_or_default()),
        );
    }
    prepare(&mut command, launch.terminal.is_some());
    match launch.terminal {
        Some(size) => on_terminal(command, size),
        None => on_pipes(command),
    }
}

fn on_pipes(mut command: Command) -> io::Result<Spawned> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let missing = || io::Error::other("a pipe is missing");
    Ok(Spawned {
        stdin: child.stdin.take().ok_or_else(missing)?.into(),
        stdout: child.stdout.take().ok_or_else(missing)?.into(),
        stderr: Some(child.stderr.take().ok_or_else(missing)?.into()),
        child,
    })
}

fn on_terminal(mut command: Command, size: TerminalSize) -> io::Result<Spawned> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let ours = openpt(flags)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    resize(&ours, size)?;
    let theirs = ioctl_tiocgptpeer(&ours, flags)?;
    command
        .stdin(theirs.try_clone()?)
        .stdout(theirs.try_clone()?)
        .stderr(theirs);
    Ok(Spawned {
        child: command.spawn()?,
        stdin: ours.try_clone()?,
        stdout: ours,
        stderr: None,
    })
}

/// Gives a terminal a size; its foreground process group hears of it.
pub(crate) fn resize(terminal: &OwnedFd, size: TerminalSize) -> io::Result<()> {
    let size = Winsize {
        ws_row: size.rows,
        ws_col: size.columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    Ok(tcsetwinsize(terminal, size)?)
}

fn default_signals() {
    for signal in [libc::SIGINT, libc::SIGQUIT] {
        #[expect(unsafe_code, reason = "signal(2) has no safe form")]
        // SAFETY: no handler is installed; the default has no requirements, and the call is async-signal-safe.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
        }
    }
}

/// What a child does before its program: it leads a session, with its standard input as terminal if that is one, Ctrl-C and
/// Ctrl-\ end it, though the shell that started the agent in the background had it ignore both, and the kernel may end it for
/// want of memory.
fn prepare(command: &mut Command, terminal: bool) {
    let spared = SPARED.load(Ordering::Relaxed);
    let before_exec = move || {
        setsid()?;
        if terminal {
            ioctl_tiocsctty(rustix::stdio::stdin())?;
        }
        default_signals();
        if spared {
            let score = open(OOM_SCORE_ADJ, OFlags::WRONLY, Mode::empty())?;
            rustix::io::write(&score, b"0")?;
        }
        Ok(())
    };
    #[expect(
        unsafe_code,
        reason = "pre_exec: the closure makes a few system calls and does not allocate"
    )]
    // SAFETY: only async-signal-safe calls happen between fork and exec.
    unsafe {
        command.pre_exec(before_exec);
    }
}
