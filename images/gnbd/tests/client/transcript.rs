//! What programs print, as it goes into snapshots.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

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

/// Writes a program that the shell runs. Another process does the writing: one that this process has open for that
/// could not be run while another test is just starting a program, and has it, too.
pub(crate) fn script(path: &Path, text: &str) {
    let write = "printf '#!/bin/sh\\n%s' \"$2\" >\"$1\" && chmod 755 \"$1\"";
    let mut shell = Command::new("/bin/sh");
    let shell = shell.args(["-c", write, "sh"]).arg(path).arg(text);
    assert!(shell.status().unwrap().success());
}
