//! `dd` and `write` lowered: files that belong to one writer, sizes that fit.

use std::path::{Component, Path};
use std::time::Duration;

use crate::diagnostic::{Diagnostic, Mistakes, Span};
use crate::document;
use crate::names::NodeName;
use crate::plan::{Dd, Source, Write};
use crate::read::At;
use crate::suggest::did_you_mean;
use crate::topology::{Must, Topology};
use crate::units::ByteSize;

const OFLAGS: [&str; 5] = ["direct", "dsync", "sync", "noatime", "nocache"];
const CONVS: [&str; 6] = ["fsync", "fdatasync", "notrunc", "excl", "nocreat", "sparse"];

/// What random bytes may take of a node's memory, as a divisor: the kernel and its page cache need the rest.
pub(crate) const SHARE: u64 = 3;
/// What `O_DIRECT` asks for on every device of a stack.
pub(crate) const PAGE: u64 = 4096;
/// A block is in memory more than once, and one request of it goes to the disk in many pieces anyway.
const LARGEST_BLOCK: ByteSize = ByteSize::from_mib(4);

pub(crate) fn dd(
    entry: &document::Dd,
    step: &Span,
    topology: &mut Topology<'_>,
    mistakes: &mut Mistakes,
) -> Option<Dd> {
    check_words("oflag", entry.oflag.as_ref(), &OFLAGS, mistakes);
    check_words("conv", entry.conv.as_ref(), &CONVS, mistakes);
    let on = topology.choose(entry.on.as_ref(), Must::HaveMounted, step, mistakes);
    if let Some(of) = &entry.of {
        check_path(of, topology, mistakes);
        check_own(of, "writers", on.as_deref().unwrap_or_default(), mistakes);
    }
    if let Some(bs) = entry.bs.as_ref().filter(|bs| bs.bytes() == 0) {
        let help = "give at least 1B, such as `1MiB`";
        mistakes.note(
            Diagnostic::at(&bs.span, "impossible block size: 0B")
                .label("nothing")
                .help(help),
        );
    }
    check_count(entry.count.as_ref(), mistakes);
    let (bs, count) = (entry.bs.as_ref()?, entry.count.as_ref()?);
    let dd = Dd {
        on: on?,
        source: entry.source.as_ref()?.value,
        of: entry.of.as_ref()?.value.clone(),
        bs: bs.value,
        count: count.value,
        oflag: words(entry.oflag.as_ref())?,
        conv: words(entry.conv.as_ref())?,
        background: entry.background.as_ref()?.value,
    };
    check_volume(dd.bytes(), &dd.on, count, topology, mistakes);
    check_memory(&dd, bs, count, topology, mistakes);
    topology.write(entry.of.as_ref()?, &dd.on, false, mistakes);
    Some(dd)
}

pub(crate) fn write(
    entry: &document::Write,
    step: &Span,
    topology: &mut Topology<'_>,
    mistakes: &mut Mistakes,
) -> Option<Write> {
    let on = topology.choose(entry.on.as_ref(), Must::HaveMounted, step, mistakes);
    if let Some(of) = &entry.of {
        check_path(of, topology, mistakes);
        check_own(of, "writers", on.as_deref().unwrap_or_default(), mistakes);
    }
    if let Some(bs) = &entry.bs
        && (!bs.bytes().is_multiple_of(PAGE)
            || !(PAGE..=LARGEST_BLOCK.bytes()).contains(&bs.bytes()))
    {
        mistakes.note(
            Diagnostic::at(&bs.span, format!("impossible block size: {}", bs.value))
                .label("blocks go past the page cache")
                .help(format!("give a multiple of 4KiB, at most {LARGEST_BLOCK}")),
        );
    }
    check_count(entry.count.as_ref(), mistakes);
    let (on, bs, count) = (on?, entry.bs.as_ref()?, entry.count.as_ref()?);
    let why = "a node keeps one journal at a time";
    topology.check_idle(&on, step, why, mistakes);
    let bytes = bs.bytes().saturating_mul(count.value);
    check_volume(bytes, &on, count, topology, mistakes);
    topology.write(entry.of.as_ref()?, &on, true, mistakes);
    Some(Write {
        on,
        of: entry.of.as_ref()?.value.clone(),
        bs: bs.value,
        count: count.value,
        background: entry.background.as_ref()?.value,
    })
}

/// Generous: under emulation four writers together came to 25 MiB/s; this allows for 2.
pub(crate) fn deadline(dd: &Dd) -> Duration {
    let mib = (dd.bytes() >> 20).saturating_mul(dd.on.len() as u64);
    Duration::from_secs(120_u64.saturating_add(mib / 2))
}

/// Generous: each block is a round trip to the disks, of which this allows for 10 a second, and for 1 MiB a second;
/// and what it writes to may be lost and come back meanwhile.
pub(crate) fn journal_deadline(write: &Write) -> Duration {
    let writers = write.on.len() as u64;
    let mib = write.bs.bytes().saturating_mul(write.count) >> 20;
    let seconds = mib.saturating_add(write.count / 10).saturating_mul(writers);
    Duration::from_secs(240_u64.saturating_add(seconds))
}

fn check_count(count: Option<&At<u64>>, mistakes: &mut Mistakes) {
    if let Some(count) = count.filter(|count| count.value == 0) {
        mistakes.note(
            Diagnostic::at(&count.span, "impossible count: 0")
                .label("writes nothing")
                .help("give at least 1"),
        );
    }
}

fn words(list: Option<&At<Vec<At<String>>>>) -> Option<Vec<String>> {
    Some(list?.iter().map(|word| word.value.clone()).collect())
}

fn check_words(
    key: &str,
    list: Option<&At<Vec<At<String>>>>,
    known: &[&str],
    mistakes: &mut Mistakes,
) {
    for word in list
        .iter()
        .flat_map(|list| list.iter())
        .filter(|word| !known.contains(&word.as_str()))
    {
        mistakes.note(
            Diagnostic::at(
                &word.span,
                format!("unknown word `{}` in `{key}`", word.value),
            )
            .label(format!("not taken as dd's `{key}`"))
            .help(did_you_mean(word, "words", known.iter().copied())),
        );
    }
}

pub(crate) fn check_path(of: &At<String>, topology: &Topology<'_>, mistakes: &mut Mistakes) {
    let path = Path::new(of.as_str());
    let plain = path
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    let letters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.');
    if !plain {
        let inside = topology
            .tower
            .file_system
            .as_ref()
            .and_then(|layer| path.strip_prefix(layer.at.as_str()).ok())
            .filter(|rest| {
                rest.components()
                    .all(|part| matches!(part, Component::Normal(_)))
            })
            .and_then(Path::to_str);
        mistakes.note(
            Diagnostic::at(&of.span, format!("`{}` is outside of the volume", of.value))
                .label("not a path below the mount point")
                .help(match inside {
                    Some(rest) if !rest.is_empty() => {
                        format!("write `of = \"{rest}\"`: it is relative to the mount point")
                    }
                    _ => {
                        "write a path relative to the mount point, without `..`, such as `test.img`"
                            .to_owned()
                    }
                }),
        );
    } else if !of.replace("{node}", "").chars().all(letters) || of.ends_with('/') {
        mistakes.note(
            Diagnostic::at(&of.span, format!("`{}` is not a file's name", of.value))
                .label("characters that need no quoting")
                .help("use letters, digits, `/`, `-`, `_`, `.` and the word `{node}`"),
        );
    }
}

/// `who`: writers or readers.
pub(crate) fn check_own(of: &At<String>, who: &str, on: &[NodeName], mistakes: &mut Mistakes) {
    if on.len() > 1 && !of.contains("{node}") {
        mistakes.note(
            Diagnostic::at(&of.span, format!("{} {who} of one file", on.len()))
                .label("the same for all")
                .help("give each its own with `{node}`, such as `of = \"{node}.img\"`, or name one node in `on`"),
        );
    }
}

fn check_volume(
    bytes: u64,
    on: &[NodeName],
    count: &At<u64>,
    topology: &Topology<'_>,
    mistakes: &mut Mistakes,
) {
    let all = bytes.saturating_mul(on.len() as u64);
    if let Some(volume) = topology.tower.volume
        && all > volume.bytes()
    {
        mistakes.note(
            Diagnostic::at(
                &count.span,
                format!(
                    "does not fit: {} on a volume of {volume}",
                    ByteSize::from_bytes(all)
                ),
            )
            .label("too many blocks")
            .help("write fewer blocks, or give larger disks"),
        );
    }
}

fn check_memory(
    dd: &Dd,
    bs: &At<ByteSize>,
    count: &At<u64>,
    topology: &Topology<'_>,
    mistakes: &mut Mistakes,
) {
    for name in &dd.on {
        let Some(node) = topology.roster.get(name) else {
            continue;
        };
        let room = node.memory.bytes() / SHARE;
        let room_text = ByteSize::from_mib(room >> 20);
        if dd.source == Source::Random && dd.bytes() > room {
            let bytes = ByteSize::from_bytes(dd.bytes());
            mistakes.note(
                Diagnostic::at(&count.span, format!("{bytes} of random bytes do not fit the memory of `{name}`"))
                    .label("made in memory beforehand")
                    .also(topology.roster.span(node), format!("`{name}` has {}", node.memory))
                    .help(format!(
                        "write at most {room_text}, a third of the memory, take `source = \"zero\"`, or give `{name}` more"
                    )),
            );
        } else if dd.bs.bytes() > room {
            mistakes.note(
                Diagnostic::at(
                    &bs.span,
                    format!("a block of {} does not fit the memory of `{name}`", dd.bs),
                )
                .label("dd keeps one block in memory")
                .also(
                    topology.roster.span(node),
                    format!("`{name}` has {}", node.memory),
                )
                .help(format!("give at most {room_text}, a third of the memory")),
            );
        } else {
            continue;
        }
        return;
    }
}
