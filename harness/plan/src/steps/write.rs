//! `write`: numbered blocks, and when each was acknowledged.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::{Figures, PlannedStep, StepTable, Walk, names};
use crate::diagnostic::{Diagnostic, Span};
use crate::document::table::table;
use crate::document::value::Nodes;
use crate::steps::topology::Background;
use crate::steps::writes::{PAGE, check_count, check_volume, writers};
use crate::values::names::{NodeName, StepLabel};
use crate::values::units::ByteSize;

/// A block is in memory more than once, and one request of it goes to the disk in many pieces anyway.
const LARGEST_BLOCK: ByteSize = ByteSize::from_mib(4);

/// A guest tells its time to the millisecond; what is slower than the longest tells nothing of a fault.
const INTERVALS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(10);

table! {
    /// Writes numbered, checksummed blocks past the page cache; when each was acknowledged is kept for `verify`.
    Written, "`write`", r#"{ of = "{node}.journal", bs = "64KiB", count = 500 }"# {
        /// The writers. Default: every node that has the volume mounted.
        on: Nodes, optional;
        /// File, relative to the mount point; `{node}` stands for the writer's name.
        of: String, required r#""{node}.journal""#;
        /// Size of a block, a multiple of 4KiB.
        bs: ByteSize, required r#""64KiB""#;
        /// Blocks.
        count: u64, required "500";
        /// The least time from the begin of a block to that of the next. Default: none.
        interval: Duration, optional;
        /// Goes on during the next steps, until a `wait` for its label or the scenario's end.
        background: bool, default false;
    }
}

/// Numbered, checksummed blocks, each written with `O_DIRECT` and `O_DSYNC`; the time of each acknowledgement is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The writers; never empty. On a node one writes at a time.
    pub on: Vec<NodeName>,
    /// File under the mount point; `{node}` stands for the writer's name.
    pub of: String,
    /// Size of a block, a multiple of 4 KiB.
    pub bs: ByteSize,
    /// Blocks.
    pub count: u64,
    /// The least time from the begin of a block to that of the next.
    pub interval: Option<Duration>,
    /// Goes on while the next steps run, until a `wait` step of this step's label or the scenario's end.
    pub background: bool,
}

impl StepTable for Written {
    type Planned = Write;

    fn lower(&self, span: &Span, label: &StepLabel, walk: &mut Walk<'_>) -> Option<Write> {
        walk.require_volume("write to", span)?;
        let Some(write) = self.planned(span, walk) else {
            walk.topology.lose_track();
            return None;
        };
        if write.background {
            walk.topology.writing.push(Background {
                label: label.clone(),
                span: span.clone(),
                on: write.on.clone(),
                journal: true,
                fails: walk.expects_failure(),
            });
        }
        Some(write)
    }

    fn is_background(&self) -> bool {
        // One that is wrong may mean it.
        self.background
            .as_ref()
            .is_none_or(|background| background.value)
    }
}

impl PlannedStep for Write {
    fn deadline(&self, _walk: &Walk<'_>) -> Duration {
        // Generous: each block is a round trip to the disks, of which this allows for 10 a second, and for 1 MiB a second; and what
        // it writes to may be lost and come back meanwhile.
        let writers = self.on.len() as u64;
        let mib = self.bs.bytes().saturating_mul(self.count) >> 20;
        let seconds = mib.saturating_add(self.count / 10).saturating_mul(writers);
        Duration::from_secs(240_u64.saturating_add(seconds)).saturating_add(self.paced())
    }

    fn is_background(&self) -> bool {
        self.background
    }

    fn figures(&self) -> Figures {
        if self.measures() {
            Figures::Once
        } else {
            Figures::Samples
        }
    }

    fn describe(&self) -> String {
        let background = if self.background {
            ", in the background"
        } else {
            ""
        };
        let paced = self.interval.map_or_else(String::new, |interval| {
            format!(", one each {} ms at most", interval.as_millis())
        });
        format!(
            "write {} x {} numbered blocks to {} on {}{paced}{background}",
            self.count,
            self.bs,
            self.of,
            names(&self.on)
        )
    }
}

impl Write {
    /// Whether how long it takes says something of the disks, and of nothing else: it neither keeps a pace nor goes on beside other steps.
    pub fn measures(&self) -> bool {
        !self.background && self.interval.is_none()
    }

    /// What the blocks take at least where none has to wait for the disk.
    fn paced(&self) -> Duration {
        let interval = self.interval.unwrap_or_default();
        interval.saturating_mul(u32::try_from(self.count).unwrap_or(u32::MAX))
    }
}

impl Written {
    fn planned(&self, span: &Span, walk: &mut Walk<'_>) -> Option<Write> {
        let on = writers(self.on.as_ref(), self.of.as_ref(), span, walk);
        if let Some(bs) = &self.bs
            && (!bs.bytes().is_multiple_of(PAGE)
                || !(PAGE..=LARGEST_BLOCK.bytes()).contains(&bs.bytes()))
        {
            walk.mistakes.note(
                Diagnostic::at(&bs.span, format!("impossible block size: {}", bs.value))
                    .label("blocks go past the page cache")
                    .help(format!("give a multiple of 4KiB, at most {LARGEST_BLOCK}")),
            );
        }
        check_count(self.count.as_ref(), walk.mistakes);
        if let Some(interval) = &self.interval
            && !INTERVALS.contains(&interval.value)
        {
            walk.mistakes.note(
                Diagnostic::at(&interval.span, "impossible `interval`")
                    .label("out of range")
                    .help("give 1ms to 10s"),
            );
        }
        let (on, bs, count) = (on?, self.bs.as_ref()?, self.count.as_ref()?);
        let why = "a node runs one `write` at a time";
        walk.topology.check_idle(&on, span, why, walk.mistakes);
        let bytes = bs.bytes().saturating_mul(count.value);
        check_volume(bytes, &on, count, &walk.topology, walk.mistakes);
        walk.topology
            .write(self.of.as_ref()?, &on, true, walk.mistakes);
        Some(Write {
            on,
            of: self.of.as_ref()?.value.clone(),
            bs: bs.value,
            count: count.value,
            interval: self.interval.as_ref().map(|interval| interval.value),
            background: self.background.as_ref()?.value,
        })
    }
}
