//! What guests print for steps and layers: kept in files beside the record, and shown in messages by its first and last
//! lines.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use sanlab_fleet::Printed;
use sanlab_plan::file_name;
use sanlab_record::PhaseName;
use tokio::task::spawn_blocking;

/// What is kept of each of a command's two outputs, in bytes: the first half and the end.
const MOST: usize = 1 << 20;
/// The same of the command's own text.
const MOST_OF_COMMAND: usize = 4 << 10;

/// How many lines a message shows of an output, from its beginning and from its end.
const FIRST: usize = 3;
const LAST: usize = 6;
/// How many characters of each.
const LONGEST: usize = 300;

/// The file for what a node prints in a phase, relative to the record's folder.
pub(crate) fn file(phase: &PhaseName, node: &str) -> String {
    format!("output/{}/{node}.txt", file_name(&phase.to_string()))
}

/// What one command leaves in such a file: when it ended and how, its text, and what it printed.
pub(crate) fn section(at: f64, command: &str, ending: &str, printed: &Printed) -> Vec<u8> {
    let mut text = format!("# at {at:.3} s: {ending}\n").into_bytes();
    for line in bounded(command.trim().as_bytes(), MOST_OF_COMMAND).split(|byte| *byte == b'\n') {
        text.extend([b"> ", line, b"\n"].concat());
    }
    for (name, bytes) in [
        ("standard output", &printed.stdout),
        ("standard error", &printed.stderr),
    ] {
        if !bytes.is_empty() {
            text.extend(format!("# {name}, {} bytes:\n", bytes.len()).into_bytes());
            text.extend(bounded(bytes, MOST));
            end_line(&mut text);
        }
    }
    if printed.cut {
        text.extend(format!("# {CUT}\n").into_bytes());
    }
    text.push(b'\n');
    text
}

/// The first line of a command, for lists.
pub(crate) fn title(command: &str) -> String {
    const LONGEST: usize = 80;
    let command = command.trim();
    let line = command.lines().next().unwrap_or_default();
    let title: String = line.chars().take(LONGEST).collect();
    if title.len() < command.len() {
        format!("{title} ...")
    } else {
        title
    }
}

/// What is said of an output that the agent did not keep all of.
const CUT: &str = "there was more: the guest's agent keeps the first 16 MiB of each output";

/// All of it, or its first half and its end, with a line between that says how much is left out.
fn bounded(bytes: &[u8], most: usize) -> Vec<u8> {
    let Some(left_out @ 1..) = bytes.len().checked_sub(most) else {
        return bytes.to_vec();
    };
    let mut text = bytes[..most / 2].to_vec();
    end_line(&mut text);
    text.extend(format!("# ... {left_out} bytes are left out here ...\n").into_bytes());
    text.extend(&bytes[most / 2 + left_out..]);
    text
}

fn end_line(text: &mut Vec<u8>) {
    if text.last() != Some(&b'\n') {
        text.push(b'\n');
    }
}

/// The folder of the files in which outputs are kept.
#[derive(Debug)]
pub(crate) struct OutputFolder {
    path: PathBuf,
    /// Who writes: commands of one node may end at the same time, and what each printed stays together.
    writing: Mutex<()>,
}

impl OutputFolder {
    pub(crate) fn new(path: PathBuf) -> Arc<Self> {
        let writing = Mutex::default();
        Arc::new(Self { path, writing })
    }

    /// Appends it to a file of the folder: all of it, even if nobody waits for that any more.
    pub(crate) async fn append(self: &Arc<Self>, file: &str, text: Vec<u8>) -> io::Result<()> {
        let (folder, path) = (Arc::clone(self), self.path.join(file));
        let appended = spawn_blocking(move || {
            let _alone = folder
                .writing
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if let Some(folder) = path.parent() {
                fs_err::create_dir_all(folder)?;
            }
            let mut options = fs_err::OpenOptions::new();
            let mut file = options.create(true).append(true).open(path)?;
            file.write_all(&text)
        });
        appended.await?
    }
}

/// The lines of what a command said, for a message: standard error first, then standard output; of each the first and the
/// last.
pub(crate) fn shown(printed: &Printed) -> Vec<String> {
    let mut lines = excerpt(&printed.stderr);
    let out = excerpt(&printed.stdout);
    if !lines.is_empty() && !out.is_empty() {
        lines.push("and on standard output:".to_owned());
    }
    lines.extend(out);
    if printed.cut {
        lines.push(CUT.to_owned());
    }
    lines
}

fn excerpt(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let lines = text.lines().map(str::trim_end);
    let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    let shown = |lines: &[&str]| lines.iter().map(|line| short(line)).collect::<Vec<_>>();
    // The line that says how many are left out takes the place of one.
    let Some(left_out @ 2..) = lines.len().checked_sub(FIRST + LAST) else {
        return shown(&lines);
    };
    let mut excerpt = shown(&lines[..FIRST]);
    excerpt.push(format!("... {left_out} lines ..."));
    excerpt.extend(shown(&lines[FIRST + left_out..]));
    excerpt
}

fn short(line: &str) -> String {
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{} ...", &line[..end]),
        None => line.to_owned(),
    }
}

/// The first line in which outputs differ.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FirstDifference<'a> {
    /// Its number, from 1.
    pub(crate) line: usize,
    /// What stands there, and who printed it; the first of all nodes first.
    pub(crate) seen: Vec<(String, Vec<&'a str>)>,
}

/// Compares outputs byte by byte, by node. `None`: they are the same.
pub(crate) fn first_difference<'a>(outputs: &[(&'a str, &[u8])]) -> Option<FirstDifference<'a>> {
    let ((_, reference), others) = outputs.split_first()?;
    let same = |other: &[u8]| {
        let pairs = reference.iter().zip(other);
        let same = pairs.take_while(|(one, other)| one == other).count();
        (same < reference.len().max(other.len())).then_some(same)
    };
    // Up to there all are the same.
    let place = others.iter().filter_map(|(_, other)| same(other)).min()?;
    let before = &reference[..place];
    let begin = before.iter().rposition(|byte| *byte == b'\n');
    let begin = begin.map_or(0, |end| end + 1);
    let mut seen: Vec<(String, Vec<&str>)> = Vec::new();
    for (node, output) in outputs {
        let line = around(&output[begin..], place - begin);
        match seen.iter_mut().find(|(other, _)| *other == line) {
            Some((_, nodes)) => nodes.push(node),
            None => seen.push((line, vec![node])),
        }
    }
    Some(FirstDifference {
        line: before.split(|byte| *byte == b'\n').count(),
        seen,
    })
}

/// The first line of `rest`, its end of line included, or as much of it as is around the byte at `place`; for people, with
/// escapes.
fn around(rest: &[u8], place: usize) -> String {
    const BEFORE: usize = 60;
    const AFTER: usize = 60;
    let end = rest.iter().position(|byte| *byte == b'\n');
    let line = &rest[..end.map_or(rest.len(), |end| end + 1)];
    if line.is_empty() {
        return "nothing more".to_owned();
    }
    let from = place.saturating_sub(BEFORE).min(line.len());
    let to = (place + AFTER).min(line.len());
    let dots = |more: bool| if more { "... " } else { "" };
    let text = match std::str::from_utf8(&line[from..to]) {
        Ok(text) => text.escape_debug().to_string(),
        Err(_) => line[from..to].escape_ascii().to_string(),
    };
    format!(
        "{}`{text}`{}",
        dots(from > 0),
        if to < line.len() { " ..." } else { "" }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(stdout: &str, stderr: &str) -> Printed {
        Printed {
            stdout: stdout.as_bytes().to_vec(),
            stderr: stderr.as_bytes().to_vec(),
            cut: false,
        }
    }

    fn numbers(last: u32) -> String {
        let numbers: Vec<String> = (1..=last).map(|number| number.to_string()).collect();
        numbers.join("\n")
    }

    #[test]
    fn every_phase_has_a_folder_of_its_own() {
        let phases = [
            "step a b",
            "step a_b",
            "step layer nbd",
            "layer nbd",
            "step ..",
        ];
        let files: std::collections::BTreeSet<String> = phases
            .iter()
            .map(|phase| file(&(*phase).into(), "vix0"))
            .collect();
        assert_eq!(files.len(), phases.len(), "{files:?}");
        assert_eq!(
            file(&PhaseName::step("a b"), "vix0"),
            "output/step-a-b/vix0.txt"
        );
    }

    /// More than one write takes: the sections of commands that end at once.
    #[tokio::test(flavor = "multi_thread")]
    async fn sections_that_end_at_once_do_not_mix() {
        const BYTES: usize = 5 << 20;
        let dir = tempfile::tempdir().unwrap();
        let folder = OutputFolder::new(dir.path().to_owned());
        let mut writers = tokio::task::JoinSet::new();
        for letter in b'a'..=b'h' {
            let folder = Arc::clone(&folder);
            writers.spawn(async move { folder.append("step/a.txt", vec![letter; BYTES]).await });
        }
        while let Some(written) = writers.join_next().await {
            written.unwrap().unwrap();
        }
        let text = fs_err::read(dir.path().join("step/a.txt")).unwrap();
        assert_eq!(text.len(), 8 * BYTES);
        for section in text.chunks(BYTES) {
            assert!(section.iter().all(|byte| *byte == section[0]));
        }
    }

    #[test]
    fn a_section_tells_the_two_outputs_apart() {
        let text = section(
            12.34,
            "echo needle\nexit 3\n",
            "exited with 3",
            &printed("needle", "one\ntwo\n"),
        );
        insta::assert_snapshot!(String::from_utf8(text).unwrap(), @r"
        # at 12.340 s: exited with 3
        > echo needle
        > exit 3
        # standard output, 6 bytes:
        needle
        # standard error, 8 bytes:
        one
        two
        ");
    }

    #[test]
    fn a_long_output_keeps_its_beginning_and_its_end() {
        assert_eq!(bounded(b"12345678", 8), b"12345678");
        assert_eq!(
            String::from_utf8(bounded(b"1234xyz5678", 8)).unwrap(),
            "1234\n# ... 3 bytes are left out here ...\n5678"
        );
    }

    #[test]
    fn a_message_shows_the_first_and_the_last_lines() {
        let out = format!("top\n\n{}", numbers(20));
        let lines = shown(&printed(&out, "it failed\n"));
        insta::assert_snapshot!(lines.join("\n"), @r"
        it failed
        and on standard output:
        top
        1
        2
        ... 12 lines ...
        15
        16
        17
        18
        19
        20
        ");
        assert_eq!(
            shown(&printed(&numbers(10), "")).len(),
            10,
            "none is left out for a line"
        );
        assert_eq!(
            shown(&printed(&"ä".repeat(400), "")),
            [format!("{} ...", "ä".repeat(300))]
        );
    }

    #[test]
    fn the_first_difference_is_shown_by_node() {
        let difference = |outputs: &[(&'static str, &[u8])]| {
            first_difference(outputs).map(|found| {
                let seen = found.seen.iter();
                let seen = seen.map(|(line, nodes)| format!("{}: {line}", nodes.join(", ")));
                format!(
                    "line {}\n{}",
                    found.line,
                    seen.collect::<Vec<_>>().join("\n")
                )
            })
        };
        assert_eq!(difference(&[("a", b"x\n"), ("b", b"x\n")]), None);
        insta::assert_snapshot!(
            difference(&[("a", b"x\nyes\n"), ("b", b"x\nno\n"), ("c", b"x\nyes\n"), ("d", b"x\n")]).unwrap(),
            @r"
        line 2
        a, c: `yes\n`
        b: `no\n`
        d: nothing more
        "
        );
        insta::assert_snapshot!(
            difference(&[("a", b"\xff\n"), ("b", b"\xfe\n")]).unwrap(),
            @r"
        line 1
        a: `\xff\n`
        b: `\xfe\n`
        "
        );
        let long = |end: &str| format!("{}{end}{}", "=".repeat(100), "+".repeat(100));
        let found = first_difference(&[("a", long("1").as_bytes()), ("b", long("2").as_bytes())]);
        let line = &found.unwrap().seen[1].0;
        let around = format!("... `{}2{}` ...", "=".repeat(60), "+".repeat(59));
        assert_eq!(*line, around);
    }
}
