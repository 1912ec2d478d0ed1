//! `dd` lowered: files that belong to one writer, sizes that fit.

use std::path::{Component, Path};
use std::time::Duration;

use crate::diagnostic::{Diagnostic, Mistakes, Span};
use crate::document;
use crate::names::NodeName;
use crate::plan::{Dd, Source};
use crate::read::At;
use crate::suggest::did_you_mean;
use crate::topology::{Must, Topology};
use crate::units::ByteSize;

const OFLAGS: [&str; 5] = ["direct", "dsync", "sync", "noatime", "nocache"];
const CONVS: [&str; 6] = ["fsync", "fdatasync", "notrunc", "excl", "nocreat", "sparse"];

/// What random bytes may take of a node's memory, as a divisor: the kernel and its page cache need the rest.
const SHARE: u64 = 3;

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
        check_writers(of, on.as_deref().unwrap_or_default(), mistakes);
    }
    if let Some(bs) = entry.bs.as_ref().filter(|bs| bs.bytes() == 0) {
        let help = "give at least 1B, such as `1MiB`";
        mistakes.note(
            Diagnostic::at(&bs.span, "impossible block size: 0B")
                .label("nothing")
                .help(help),
        );
    }
    if let Some(count) = entry.count.as_ref().filter(|count| count.value == 0) {
        let help = "give at least 1";
        mistakes.note(
            Diagnostic::at(&count.span, "impossible count: 0")
                .label("writes nothing")
                .help(help),
        );
    }
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
    check_fits(&dd, bs, count, topology, mistakes);
    Some(dd)
}

/// Generous: under emulation four writers together came to 25 MiB/s; this allows for 2.
pub(crate) fn deadline(dd: &Dd) -> Duration {
    let mib = (dd.bytes() >> 20).saturating_mul(dd.on.len() as u64);
    Duration::from_secs(120_u64.saturating_add(mib / 2))
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

fn check_path(of: &At<String>, topology: &Topology<'_>, mistakes: &mut Mistakes) {
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

fn check_writers(of: &At<String>, on: &[NodeName], mistakes: &mut Mistakes) {
    if on.len() > 1 && !of.contains("{node}") {
        mistakes.note(
            Diagnostic::at(&of.span, format!("{} writers of one file", on.len()))
                .label("the same for all")
                .help("give each its own with `{node}`, such as `of = \"{node}.img\"`, or name one node in `on`"),
        );
    }
}

fn check_fits(
    dd: &Dd,
    bs: &At<ByteSize>,
    count: &At<u64>,
    topology: &Topology<'_>,
    mistakes: &mut Mistakes,
) {
    let all = dd.bytes().saturating_mul(dd.on.len() as u64);
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
