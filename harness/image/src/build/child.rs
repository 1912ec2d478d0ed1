//! One program of a build: its output line by line, a deadline, and no survivor.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// Lines of output that an error repeats.
const TAIL: usize = 30;

/// How a program ended, with its last lines.
#[derive(Debug)]
pub(crate) struct Ended {
    /// `None`: it was killed at the deadline.
    pub(crate) status: Option<ExitStatus>,
    pub(crate) tail: Vec<String>,
}

/// Runs `command` to its end; every line of standard output and error goes to `on_line`.
pub(crate) fn run(
    mut command: Command,
    deadline: Duration,
    mut on_line: impl FnMut(&str),
) -> std::io::Result<Ended> {
    let (output, input) = std::io::pipe()?;
    command
        .stdin(Stdio::null())
        .stdout(input.try_clone()?)
        .stderr(input);
    let mut child = command.spawn()?;
    // The command holds the pipe's write end, and while it does the reader below sees no end.
    drop(command);
    let (sender, lines) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line);
            // A progress display rewrites its line: what stands there at the end counts.
            let shown = line.rsplit('\r').find(|text| !text.is_empty());
            if sender.send(shown.unwrap_or_default().to_owned()).is_err() {
                break;
            }
        }
    });
    let until = Instant::now() + deadline;
    let mut tail = VecDeque::new();
    let in_time = loop {
        match lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                on_line(&line);
                if tail.len() == TAIL {
                    tail.pop_front();
                }
                tail.push_back(line);
            }
            Err(RecvTimeoutError::Disconnected) => break true,
            Err(RecvTimeoutError::Timeout) => break false,
        }
    };
    if !in_time {
        child.kill()?;
    }
    let status = child.wait()?;
    if in_time {
        // It has seen the end of the output.
        let _ = reader.join();
    }
    Ok(Ended {
        status: in_time.then_some(status),
        tail: tail.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn keeps_both_outputs_and_the_status() {
        let mut lines = Vec::new();
        let ended = run(
            shell("echo one; echo two >&2; exit 3"),
            Duration::from_secs(10),
            |line| {
                lines.push(line.to_owned());
            },
        );
        let ended = ended.unwrap();
        assert_eq!(ended.status.unwrap().code(), Some(3));
        assert_eq!(lines, ["one", "two"]);
        assert_eq!(ended.tail, lines);
    }

    #[test]
    fn ends_what_takes_too_long() {
        let before = Instant::now();
        let ended = run(
            shell("echo here; exec sleep 60"),
            Duration::from_millis(300),
            |_| (),
        )
        .unwrap();
        assert_eq!((ended.status, ended.tail), (None, vec!["here".to_owned()]));
        assert!(before.elapsed() < Duration::from_secs(30));
    }
}
