//! `[[layer]]` lowered: each layer's own limits, and what they have in common.

pub(crate) mod drbd;
pub(crate) mod gnbd;
pub(crate) mod mapped;
pub(crate) mod membership;
pub(crate) mod nbd;
pub(crate) mod o2cb;
pub(crate) mod ocfs2;

use std::time::Duration;

use crate::diagnostic::{Diagnostic, Mistakes};
use crate::ground::Ground;
use crate::names::NodeName;
use crate::read::At;
use crate::roster::Roster;
use crate::units::ByteSize;
use crate::value::show_duration;

const DISKS: (ByteSize, ByteSize) = (ByteSize::from_mib(1), ByteSize::from_mib(1 << 20));
/// The guests' page.
const PAGE: u64 = 4096;

fn impossible(size: &At<ByteSize>, what: &str) -> Diagnostic {
    Diagnostic::at(&size.span, format!("impossible {what}: {}", size.value))
        .label("impossible size")
}

/// Whether a node's disk can be so large. Of one that cannot no device has a size.
fn check_disk(disk: Option<&At<ByteSize>>, ground: &mut Ground<'_>, mistakes: &mut Mistakes) {
    let Some(disk) = disk else { return };
    let (least, most) = DISKS;
    let help = if disk.value < least || disk.value > most {
        format!("give {least} to {most}")
    } else if !disk.bytes().is_multiple_of(PAGE) {
        "give a multiple of 4KiB, the guests' page".to_owned()
    } else {
        return;
    };
    ground.sized = false;
    mistakes.note(impossible(disk, "disk").help(help));
}

fn check_chunk(chunk: &At<ByteSize>, mistakes: &mut Mistakes) -> bool {
    let right = chunk.bytes().is_power_of_two() && chunk.bytes() >= PAGE;
    if !right {
        mistakes.note(
            impossible(chunk, "chunk").help("give a power of two, at least 4KiB, such as `16KiB`"),
        );
    }
    right
}

fn check_port(port: Option<&At<u16>>, mistakes: &mut Mistakes) {
    if let Some(port) = port
        && port.value == 0
    {
        mistakes.note(
            Diagnostic::at(&port.span, "impossible port: 0")
                .label("not a port")
                .help("give a port from 1 to 65535"),
        );
    }
}

/// What a program takes as a time: from, to, and in steps of.
#[derive(Debug, Clone, Copy)]
struct Limits {
    least: Duration,
    most: Duration,
    step: Duration,
}

impl Limits {
    const fn seconds(least: u64, most: u64) -> Self {
        Self {
            least: Duration::from_secs(least),
            most: Duration::from_secs(most),
            step: Duration::from_secs(1),
        }
    }

    fn check(self, key: &str, time: Option<&At<Duration>>, mistakes: &mut Mistakes) {
        let Some(time) = time else { return };
        let (least, most) = (show_duration(&self.least), show_duration(&self.most));
        let label = if time.value < self.least || time.value > self.most {
            "out of range"
        } else if !time.as_nanos().is_multiple_of(self.step.as_nanos()) {
            "finer than it can be set"
        } else {
            return;
        };
        mistakes.note(
            Diagnostic::at(
                &time.span,
                format!("impossible `{key}`: {}", show_duration(&time.value)),
            )
            .label(label)
            .help(format!(
                "give {least} to {most}, in steps of {}",
                show_duration(&self.step)
            )),
        );
    }
}

/// In the order of the nodes' numbers.
fn sorted(roster: &Roster, mut names: Vec<At<NodeName>>) -> Vec<At<NodeName>> {
    names.sort_by_key(|name| roster.position(&name.value));
    names
}

fn plain(names: &[At<NodeName>]) -> Vec<NodeName> {
    names.iter().map(|name| name.value.clone()).collect()
}
