//! Going into the background without forking: the program starts itself once more and waits for its word.
//!
//! A fork in a program with threads is unsafe in every sense. So the front process runs its own file again with the
//! same arguments and `GNBD_IN_BACKGROUND` set, and reads from a pipe until the background process has said that it is ready,
//! or why not. Nothing of the caller's terminal or pipes stays open in the background.

use std::env;
use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

use rustix::fs::{Mode, OFlags, open};
use rustix::process::{chdir, setsid};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

use crate::error::Error;

/// Set in the environment of the process in the background.
pub(crate) const VARIABLE: &str = "GNBD_IN_BACKGROUND";

/// Whether this process is the one in the background.
pub fn is_background() -> bool {
    env::var_os(VARIABLE).is_some()
}

/// Starts this program's file once more, in the background, and gives what it says: by [`ready`] in `Ok`, by
/// [`fail`] in `Err`.
pub fn start(arguments: Vec<OsString>) -> Result<Result<String, String>, Error> {
    Ok(spawn(arguments)?.map(|(text, _)| text))
}

/// As [`start`], for who wants to know when the background process ends.
pub fn spawn(arguments: Vec<OsString>) -> Result<Result<(String, Child), String>, Error> {
    let file =
        env::current_exe().map_err(|source| Error::host("find this program's own file", source))?;
    let mut child = Command::new(&file)
        .args(arguments)
        .env(VARIABLE, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|source| Error::host(format!("start {}", file.display()), source))?;
    let mut word = String::new();
    if let Some(pipe) = child.stdout.take() {
        // At most one line: the pipe stays open a moment longer than that.
        BufReader::new(pipe)
            .read_line(&mut word)
            .map_err(|source| Error::host("hear from the background", source))?;
    }
    let word = word.trim_end();
    Ok(match word.split_once(' ') {
        Some(("ready", text)) => Ok((text.to_owned(), child)),
        Some(("failed", text)) => {
            // It is about to end; nobody else would take its status.
            let _ = child.wait();
            Err(text.to_owned())
        }
        _ => {
            let status = child
                .wait()
                .map_or_else(|error| error.to_string(), |it| it.to_string());
            Err(format!("startup failed: {status}"))
        }
    })
}

/// In the background: leaves the caller's session and folder. Before threads are started.
pub fn detach() -> Result<(), Error> {
    // Fails only for the leader of a process group, which somebody made it who wants it in that group.
    let _ = setsid();
    chdir("/").map_err(|source| Error::host("go to /", source))
}

/// In the background: all is set up. The caller's pipe is closed.
pub fn ready(text: &str) -> Result<(), Error> {
    tell("ready", text).map_err(|source| Error::host("tell the caller", source))?;
    let null = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(|source| Error::host("open /dev/null", source))?;
    dup2_stdin(&null)
        .and_then(|()| dup2_stdout(&null))
        .and_then(|()| dup2_stderr(&null))
        .map_err(|source| Error::host("close the caller's pipe", source))
}

/// In the background: it did not work.
pub fn fail(text: &str) {
    // Nobody is left to tell if this fails.
    let _ = tell("failed", text);
}

fn tell(what: &str, text: &str) -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "{what} {}", text.replace('\n', " "))?;
    out.flush()
}
