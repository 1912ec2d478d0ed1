//! `disk_fault`: nodes' own disks fail or are slow, below the layer that uses them.

use std::fmt::Write as _;
use std::time::Duration;

use super::{FaultRole, PlannedStep, StepTable, Walk, names};
use crate::diagnostic::suggest::quoted;
use crate::diagnostic::{Diagnostic, Span};
use crate::document::table::table;
use crate::document::value::Nodes;
use crate::document::word::words;
use crate::plan::LayerKind;
use crate::steps::topology::Must;
use crate::steps::topology::open_faults::Part;
use crate::values::names::{NodeName, StepLabel};
use crate::values::units::ByteSize;

/// The longest delay: whoever waits longer for an answer has given up.
const DELAY: Duration = Duration::from_secs(60);

/// Requests of page caches and file systems begin and end at pages.
const PAGE: u64 = 4096;

table! {
    /// Lets nodes' own disks fail or be slow, by device-mapper below the layer that uses them. Other nodes notice it through what
    /// is built on these disks.
    Written, "`disk_fault`", r#"{ on = "vix1", kind = "error" }"# {
        /// Whose disks.
        on: Nodes, required r#""vix1""#;
        /// `error`: requests fail; `slow`: they take longer by `delay`.
        kind: DiskFaultKind, required r#""error""#;
        /// Which requests: `all`, `reads` or `writes`.
        of: Requests, default Requests::All;
        /// Of `slow`: by how much.
        delay: Duration, optional;
        /// Where the faulty part of the disk begins.
        from: ByteSize, default ByteSize::from_bytes(0);
        /// How long it is. Default: up to the disk's end.
        length: ByteSize, optional;
        /// It ends by itself after this time. Default: with a step `heal` or the node's power.
        lasts: Duration, optional;
    }
}

words! {
    /// What is wrong with a disk.
    pub DiskFaultKind, "kind of disk fault", "kinds of disk faults", "a kind of disk fault", r#""error""# {
        /// Requests fail with an I/O error.
        Error = "error",
        /// Requests take longer.
        Slow = "slow",
    }
}

words! {
    /// Some of a disk's requests.
    pub Requests, "sort of requests", "sorts of requests", "a sort of requests", r#""writes""# {
        /// Every request.
        All = "all",
        /// What is read.
        Reads = "reads",
        /// What is written.
        Writes = "writes",
    }
}

/// Disks that fail or are slow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskFault {
    /// Whose; never empty. A layer uses each.
    pub on: Vec<NodeName>,
    /// What is wrong.
    pub kind: DiskFaultKind,
    /// With which requests.
    pub of: Requests,
    /// Of [`DiskFaultKind::Slow`]: by how much later they are done; otherwise zero.
    pub delay: Duration,
    /// Where the faulty part begins: whole pages.
    pub from: ByteSize,
    /// Where it ends; not beyond the disk.
    pub to: ByteSize,
    /// When it ends by itself.
    pub lasts: Option<Duration>,
}

impl StepTable for Written {
    type Planned = DiskFault;

    fn lower(&self, span: &Span, label: &StepLabel, walk: &mut Walk<'_>) -> Option<DiskFault> {
        walk.check_lasts(self.lasts.as_ref());
        let on = walk
            .topology
            .choose(self.on.as_ref(), Must::BeThere, span, walk.mistakes)?;
        let (kind, of) = (self.kind.as_ref()?.value, self.of.as_ref()?.value);
        self.check_disks(&on, walk)?;
        self.check_delay(kind, span, walk);
        let (from, to) = self.part(walk)?;
        walk.begin_node_fault(Part::Disk, &on, span, label)?;
        Some(DiskFault {
            on,
            kind,
            of,
            delay: self.delay.as_ref().map_or(Duration::ZERO, |it| it.value),
            from,
            to,
            lasts: self.lasts.as_ref().map(|lasts| lasts.value),
        })
    }
}

impl Written {
    /// A layer uses the disk of each.
    fn check_disks(&self, on: &[NodeName], walk: &mut Walk<'_>) -> Option<()> {
        let stack = walk.topology.resolved_stack;
        let bare = on.iter().find(|node| !stack.disks.contains(node));
        let Some(node) = bare.filter(|_| stack.whole) else {
            return Some(());
        };
        let help = if stack.placed(LayerKind::SharedDisk).is_some() {
            "faults are those of nodes' own disks, and a shared disk is no node's: let a node serve its disk, such as by `iscsi`"
                .to_owned()
        } else if stack.disks.is_empty() {
            r#"add a layer that gives nodes disks, such as `nbd = { disk = "256MiB" }`"#.to_owned()
        } else {
            let disks = quoted(&stack.disks);
            format!("name nodes whose disk a layer uses: {disks}")
        };
        walk.mistakes.note(
            Diagnostic::at(&self.on.as_ref()?.span, format!("`{node}` has no disk"))
                .label("no layer uses a disk there")
                .help(help),
        );
        None
    }

    fn check_delay(&self, kind: DiskFaultKind, span: &Span, walk: &mut Walk<'_>) {
        let (span, title, label, help) = match (kind, &self.delay) {
            (DiskFaultKind::Error, Some(delay)) => (
                &delay.span,
                "`delay` of requests that fail",
                "they fail at once",
                r#"drop it, or write `kind = "slow"`"#,
            ),
            (DiskFaultKind::Slow, None) => (
                span,
                "a slow disk without `delay`",
                "slow by how much?",
                r#"give a time, such as `delay = "200ms"`"#,
            ),
            (DiskFaultKind::Slow, Some(delay)) if delay.is_zero() || delay.value > DELAY => (
                &delay.span,
                "impossible `delay`",
                "out of range",
                "give 1ms to 60s; whoever waits longer for a disk has given up",
            ),
            _ => return,
        };
        walk.mistakes
            .note(Diagnostic::at(span, title).label(label).help(help));
    }

    /// Begin and end of the faulty part.
    fn part(&self, walk: &mut Walk<'_>) -> Option<(ByteSize, ByteSize)> {
        let from = self.from.as_ref()?;
        let disk = walk.topology.resolved_stack.disk()?;
        for size in [Some(from), self.length.as_ref()].into_iter().flatten() {
            if !size.bytes().is_multiple_of(PAGE) {
                walk.mistakes.note(
                    Diagnostic::at(&size.span, format!("not whole pages: {}", size.value))
                        .label("requests begin and end at pages")
                        .help("give a multiple of 4KiB"),
                );
                return None;
            }
        }
        if let Some(length) = self.length.as_ref().filter(|length| length.bytes() == 0) {
            walk.mistakes.note(
                Diagnostic::at(&length.span, "no part of a disk")
                    .label("nothing would fail")
                    .help("give at least 4KiB"),
            );
            return None;
        }
        let length = self.length.as_ref().map(|length| length.bytes());
        let to = match length {
            Some(length) => from.bytes().checked_add(length),
            None => Some(disk.bytes()),
        };
        let to = to.filter(|to| *to <= disk.bytes() && from.bytes() < *to);
        if to.is_none() {
            let last = self.length.as_ref().filter(|_| from.bytes() < disk.bytes());
            walk.mistakes.note(
                Diagnostic::at(
                    &last.unwrap_or(from).span,
                    "a part beyond the end of the disk",
                )
                .label(format!("the disk has {disk}"))
                .help(format!(
                    "`from` and `length` together are at most {disk}; leave `length` out for all that follows"
                )),
            );
        }
        Some((from.value, ByteSize::from_bytes(to?)))
    }
}

impl DiskFault {
    /// Where on the disk, in bytes: from, and to.
    fn place(&self) -> String {
        format!("{} to {}", self.from, self.to)
    }
}

impl PlannedStep for DiskFault {
    fn deadline(&self, _walk: &Walk<'_>) -> Duration {
        Duration::from_secs(60)
    }

    fn fault_role(&self) -> FaultRole {
        FaultRole::Breaks
    }

    fn describe(&self) -> String {
        let what = match self.of {
            Requests::All => "reads and writes",
            Requests::Reads => "reads",
            Requests::Writes => "writes",
        };
        let mut text = match self.kind {
            DiskFaultKind::Error => format!("fail {what}"),
            DiskFaultKind::Slow => format!("delay {what} by {} ms", self.delay.as_millis()),
        };
        let _ = write!(
            text,
            " of the disk of {}, {}{}",
            names(&self.on),
            self.place(),
            super::for_a_time(self.lasts)
        );
        text
    }
}
