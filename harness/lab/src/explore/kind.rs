//! Kinds of failures: where it failed, and how, without what differs from run to run.

use std::collections::BTreeSet;

use sanlab_image::Call;
use sanlab_record::{Failure, FailureKind, Finding, Found, Outcome, RunRecord};

/// Failures that are alike.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Kind {
    /// In which phase.
    pub(crate) phase: String,
    /// How, in a few words.
    pub(crate) what: String,
    /// The scenario names it as known.
    pub(crate) known: bool,
}

/// How a run of an exploration ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    Passed,
    Failed(Kind),
    /// The lab could not do its part, and why.
    Broken(String),
}

impl Ended {
    /// That of a run.
    pub(crate) fn of(record: &RunRecord) -> Self {
        let failed = |failure: &Failure, known| {
            Self::Failed(Kind {
                phase: failure.phase.to_string(),
                what: what(failure, &record.findings),
                known,
            })
        };
        match &record.outcome {
            Outcome::Passed => Self::Passed,
            Outcome::Failed(failure) => failed(failure, false),
            Outcome::KnownFailure { failure, .. } => failed(failure, true),
            Outcome::Broken(failure) => {
                Self::Broken(format!("{}: {}", failure.phase, failure.message))
            }
            Outcome::Skipped { reason } => Self::Broken(reason.clone()),
        }
    }

    /// The kind of a run that failed.
    pub(crate) const fn failed(&self) -> Option<&Kind> {
        match self {
            Self::Failed(kind) => Some(kind),
            Self::Passed | Self::Broken(_) => None,
        }
    }
}

fn what(failure: &Failure, findings: &[Finding]) -> String {
    let mut details: BTreeSet<String> = BTreeSet::new();
    if failure.kind == FailureKind::BlocksLost {
        details.extend(
            failure
                .lost_blocks
                .iter()
                .map(|lost| found(lost.found).to_owned()),
        );
    } else {
        let counting = findings.iter().filter(|finding| finding.excuse.is_none());
        details.extend(counting.map(|finding| place(&finding.text)));
    }
    let word = serde_json::to_value(failure.kind).ok();
    let word = word.as_ref().and_then(|word| word.as_str());
    let word = word.unwrap_or("failed").replace('_', " ");
    if details.is_empty() {
        return word;
    }
    let details: Vec<String> = details.into_iter().collect();
    format!("{word}: {}", details.join(", "))
}

const fn found(found: Found) -> &'static str {
    match found {
        Found::Zeros => "zeros",
        Found::AnotherBlock => "another block",
        Found::OtherBytes => "other bytes",
        Found::EndOfFile => "end of file",
        Found::Unreadable => "unreadable",
    }
}

/// Where in the kernel a line comes from: its function, if it names one, as in `ocfs2_file_write_iter+0x1a/0x80`; otherwise the line
/// without its numbers.
fn place(line: &str) -> String {
    if let Some(call) = Call::of_line(line) {
        return call.function;
    }
    let mut text = String::new();
    for letter in line.chars() {
        if !letter.is_ascii_digit() {
            text.push(letter);
        } else if !text.ends_with('N') {
            text.push('N');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_one_place_are_alike() {
        let one = "WARNING: CPU: 1 PID: 812 at fs/ocfs2/dlmglue.c:1612 ocfs2_file_write_iter+0x1a/0x80 [ocfs2]";
        let other = "RIP: 0010:ocfs2_file_write_iter+0x44/0x80 [ocfs2]";
        assert_eq!(place(one), "ocfs2_file_write_iter");
        assert_eq!(place(one), place(other));
        let built = "RIP: 0010:ocfs2_file_write_iter+0x44/0x80 [ocfs2(OE) 0123abcd]";
        assert_eq!(place(one), place(built));
        assert_eq!(
            place("INFO: task dd:8123 blocked for more than 120 seconds."),
            "INFO: task dd:N blocked for more than N seconds."
        );
    }

    #[test]
    fn what_was_lost_is_part_of_the_kind_and_how_much_is_not() {
        let lost = |found, node: &str| sanlab_record::LostBlocks {
            file: "/mnt/a".to_owned(),
            writer: "load on vix0".to_owned(),
            acknowledged: 12,
            node: node.to_owned(),
            device: None,
            found,
            example: String::new(),
            first_byte: 0,
            blocks: Vec::new(),
            acknowledged_at: (0.0, 1.0),
            earlier_run: false,
        };
        let mut failure = Failure::new("step verify", FailureKind::BlocksLost, "3 of 12");
        failure.lost_blocks = vec![lost(Found::Zeros, "vix1"), lost(Found::Zeros, "vix2")];
        assert_eq!(what(&failure, &[]), "blocks lost: zeros");
        failure.lost_blocks.push(lost(Found::EndOfFile, "vix1"));
        assert_eq!(what(&failure, &[]), "blocks lost: end of file, zeros");
    }
}
