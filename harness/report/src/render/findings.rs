//! Findings for people: those that count first, then those that are excused, each in the order of time.

use sanlab_record::{Event, EventKind, Finding, RunRecord};

use crate::render::number::{beginning, count};

/// How many lines a terminal or a comment has room for.
const LINES: usize = 8;

/// How many call traces, and how many calls of each.
const TRACES: usize = 3;
const CALLS: usize = 24;

/// How many characters such a line has at most: a kernel's line may go on and on.
const CHARACTERS: usize = 200;

/// One line for each: "excused: 14 device errors about nbd0 on vix1, 12.1-14.0 s: follows from step crash on vix3". Of many the
/// first, and how many more there are. What the run's failure says in its own message is not said again.
pub fn lines(record: &RunRecord) -> Vec<String> {
    let message = record.outcome.failure();
    let message = message.map_or("", |failure| &failure.message);
    let told = |finding: &&Finding| {
        let sentence = finding.to_string();
        finding.excuse.is_some() || message.lines().all(|line| line != sentence)
    };
    let findings: Vec<&Finding> = in_order(record).into_iter().filter(told).collect();
    let line = |finding: &&Finding| {
        let word = match finding.excuse {
            Some(_) => "excused",
            None => "finding",
        };
        beginning(&format!("{word}: {finding}"), CHARACTERS)
    };
    let mut lines: Vec<String> = findings.iter().take(LINES).map(line).collect();
    let more = findings.len() - lines.len();
    if more > 0 {
        lines.push(format!("and {} in the record", count(more, "more finding")));
    }
    lines
}

/// The call traces of findings that count, where lines of source are known for them, and how to get those that are not: a few lines for each,
/// with a heading.
pub fn traces(record: &RunRecord) -> Vec<String> {
    let mut lines = Vec::new();
    let counts = |finding: &&Finding| finding.excuse.is_none() && !finding.trace.is_empty();
    for finding in in_order(record).into_iter().filter(counts).take(TRACES) {
        let Finding { kind, node, at, .. } = finding;
        lines.push(format!("call trace of the {kind} on {node}, at {at:.1} s:"));
        let calls = finding.trace.iter().take(CALLS);
        lines.extend(calls.map(|call| beginning(&format!("  {call}"), CHARACTERS)));
        let more = finding.trace.len().saturating_sub(CALLS);
        if more > 0 {
            lines.push(format!("  and {} in the record", count(more, "more call")));
        }
    }
    let lacking = |event: &&Event| matches!(event.kind, EventKind::NoSymbols { .. });
    let events = record.events.iter().filter(lacking);
    lines.extend(events.map(|event| event.kind.to_string()));
    lines
}

/// Those that count first, then by time.
pub(crate) fn in_order(record: &RunRecord) -> Vec<&Finding> {
    let mut findings: Vec<&Finding> = record.findings.iter().collect();
    findings.sort_by(|one, other| {
        let excused = |finding: &Finding| finding.excuse.is_some();
        excused(one)
            .cmp(&excused(other))
            .then(one.at.total_cmp(&other.at))
    });
    findings
}

#[cfg(test)]
mod tests {
    use sanlab_record::{EventKind, Outcome, RunRecord};

    use super::{lines, traces};

    fn kept() -> RunRecord {
        let text = include_str!("../../../../fixtures/records/format-1.json");
        RunRecord::from_json(text).unwrap()
    }

    #[test]
    fn what_counts_comes_first_and_there_is_an_end() {
        let mut record = kept();
        insta::assert_snapshot!(lines(&record).join("\n"), @r"
        finding: 1 file system error about dm-0 on vc, at 16.2 s: OCFS2: ERROR (device dm-0): ocfs2_read_blocks: status = -5
        excused: 14 device errors about nbd0 on vc, 16.8-18.5 s: follows from step crash on storage0a
        excused: 1 eviction about storage0b on vc, at 17.0 s: follows from the fencing of storage0b by vc
        excused: 1 device error about nbd1 on vc, at 18.0 s: follows from the loss of storage1a
        excused: 1 wrong layer state on storage0b, at 19.0 s: expected by step pull
        excused: 1 warning on vc, at 20.5 s: known of Linux 6.1: a checker takes a copy for an overflow (https://example.org/2)
        ");
        record.findings.rotate_left(1);
        let first = record.findings[0].clone();
        record.findings.extend(vec![first; 9]);
        let told = lines(&record);
        assert_eq!(told.len(), 9);
        assert!(
            told[0].starts_with("finding: 1 file system error"),
            "{}",
            told[0]
        );
        assert_eq!(told[8], "and 7 more findings in the record");
        record.findings.clear();
        assert!(lines(&record).is_empty());
    }

    #[test]
    fn a_call_trace_has_lines_of_source_or_says_how_to_get_them() {
        let mut record = kept();
        insta::assert_snapshot!(traces(&record).join("\n"), @r"
        call trace of the file system error on vc, at 16.2 s:
          ocfs2_read_blocks+0x1f/0x40 [ocfs2] (./include/linux/buffer_head.h:322 fs/ocfs2/buffer_head_io.c:229)
          ? vfs_read+0x1/0x20
        ");
        let call = record.findings[0].trace[1].clone();
        record.findings[0].trace = vec![call; 30];
        assert_eq!(traces(&record)[25], "  and 6 more calls in the record");
        record.findings[0].trace.clear();
        record.events[0].kind = EventKind::NoSymbols {
            kernel: "6.1.0-50-amd64".to_owned(),
            nodes: vec!["va".to_owned(), "vc".to_owned()],
            remedy: "`sanlab image symbols debian-bookworm --arch x86_64` fetches them".to_owned(),
        };
        insta::assert_snapshot!(traces(&record).join("\n"), @"no file and line in the call trace of va, vc: the debug symbols of 6.1.0-50-amd64 are not here; `sanlab image symbols debian-bookworm --arch x86_64` fetches them");
    }

    #[test]
    fn what_the_message_says_is_not_said_again() {
        let mut record = kept();
        let Outcome::Failed(failure) = &mut record.outcome else {
            panic!("the kept run failed");
        };
        failure.message = format!("check on vc:\n{}", record.findings[0]);
        let told = lines(&record);
        assert_eq!(told.len(), 5);
        assert!(
            told.iter().all(|line| line.starts_with("excused: ")),
            "{told:?}"
        );
    }

    #[test]
    fn a_kernels_line_that_goes_on_is_cut() {
        let mut record = kept();
        record.findings[0].text = "word ".repeat(1000);
        assert!(lines(&record)[0].chars().count() <= 201);
    }
}
