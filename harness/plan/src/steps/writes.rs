//! What steps that write have in common: files that belong to one writer, sizes that fit.

use std::path::{Component, Path};

use crate::diagnostic::{Diagnostic, Mistakes, Span};
use crate::document::read::At;
use crate::document::value::Nodes;
use crate::steps::Walk;
use crate::steps::topology::{Must, Topology};
use crate::values::names::NodeName;
use crate::values::units::ByteSize;

/// What random bytes may take of a node's memory, as a divisor: the kernel and its page cache need the rest.
pub(crate) const SHARE: u64 = 3;
/// What `O_DIRECT` asks for on every device of a stack.
pub(crate) const PAGE: u64 = 4096;

/// The writers, of whom each must have a file of its own.
pub(super) fn writers(
    on: Option<&At<Nodes>>,
    of: Option<&At<String>>,
    span: &Span,
    walk: &mut Walk<'_>,
) -> Option<Vec<NodeName>> {
    let (topology, mistakes) = (&mut walk.topology, &mut *walk.mistakes);
    let on = topology.choose(on, Must::HaveMounted, span, mistakes);
    if let Some(of) = of {
        check_path(of, topology, mistakes);
        check_own(of, "writers", on.as_deref().unwrap_or_default(), mistakes);
    }
    on
}

pub(crate) fn check_count(count: Option<&At<u64>>, mistakes: &mut Mistakes) {
    if let Some(count) = count.filter(|count| count.value == 0) {
        mistakes.note(
            Diagnostic::at(&count.span, "impossible count: 0")
                .label("writes nothing")
                .help("give at least 1"),
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
            .resolved_stack
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

pub(crate) fn check_volume(
    bytes: u64,
    on: &[NodeName],
    count: &At<u64>,
    topology: &Topology<'_>,
    mistakes: &mut Mistakes,
) {
    let all = bytes.saturating_mul(on.len() as u64);
    if let Some(volume) = topology.resolved_stack.volume
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
