//! What programs print, as it goes into snapshots.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Commands and what came of them.
#[derive(Default)]
pub(crate) struct Transcript(String);

impl Transcript {
    pub(crate) fn add(&mut self, command: &str, told: &str) {
        write!(self.0, "$ {command}\n{told}\n").unwrap();
    }

    /// The text, with what differs from run to run replaced.
    pub(crate) fn hide(self, what: &[(&str, &str)]) -> String {
        what.iter()
            .fold(self.0, |text, (from, to)| text.replace(from, to))
    }
}

/// Output, errors marked, and status.
pub(crate) fn told(out: Vec<u8>, err: Vec<u8>, status: u8) -> String {
    let mut text = String::from_utf8(out).unwrap();
    for line in String::from_utf8(err).unwrap().lines() {
        writeln!(text, "stderr: {line}").unwrap();
    }
    writeln!(text, "status {status}").unwrap();
    text
}

/// Writes a program that the shell runs.
pub(crate) fn script(path: &Path, text: &str) {
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(0o755);
    let mut file = options.open(path).unwrap();
    write!(file, "#!/bin/sh\n{text}").unwrap();
}
