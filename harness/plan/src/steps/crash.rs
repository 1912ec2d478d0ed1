//! `crash`: the sudden end of a node.

use std::time::Duration;

use super::{FaultRole, PlannedStep, StepTable, Walk};
use crate::diagnostic::{Diagnostic, Span};
use crate::document::table::table;
use crate::document::word::words;
use crate::values::names::{NodeName, StepLabel};

/// The longest time within which a crash may happen.
const WITHIN: Duration = Duration::from_secs(3600);

table! {
    /// Ends a node without warning.
    Written, "`crash`", r#"{ node = "storage0a" }"# {
        /// Which.
        node: NodeName, required r#""storage0a""#;
        /// `power`: QEMU is killed; `panic`: the node's kernel panics.
        how: CrashKind, default CrashKind::Power;
        /// At a random moment within this time, drawn from the run's seed.
        within: Duration, default Duration::ZERO;
        /// Of `how = "power"`: what becomes of the volatile write cache of the node's data disk. `lost`: of the writes after the
        /// last flush, the run's seed draws which are on the disk; `kept`: all are. Default: `lost`.
        cache: CacheFate, optional;
        /// Of a lost cache: some of the writes that are on the disk are there in part, by whole sectors of 512 bytes.
        torn: bool, default false;
    }
}

/// The sudden end of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crash {
    /// A node that is there.
    pub node: NodeName,
    /// In what way.
    pub how: CrashKind,
    /// It happens at a random moment within this time, drawn from the run's seed. Zero: at once.
    pub within: Duration,
    /// What becomes of the volatile write cache of the node's data disk; that of a node that panics is kept.
    pub cache: CacheFate,
    /// Whether writes that are not lost with the cache may be there in part.
    pub torn: bool,
}

words! {
    /// How a node ends.
    pub CrashKind, "kind of crash", "kinds of crash", "a kind of crash", r#""power""# {
        /// Its power is cut: QEMU is killed.
        Power = "power",
        /// Its kernel panics, and stays so until its power is cut.
        Panic = "panic",
    }
}

words! {
    /// What becomes of a disk's volatile write cache.
    pub CacheFate, "fate of a write cache", "fates of a write cache", "a fate of a write cache", r#""lost""# {
        /// Some of what was not flushed is not on the disk.
        Lost = "lost",
        /// All is on the disk.
        Kept = "kept",
    }
}

impl Written {
    /// Notes what no crash can do.
    fn check_cache(&self, cache: CacheFate, walk: &mut Walk<'_>) {
        let panics = self
            .how
            .as_ref()
            .is_some_and(|how| how.value == CrashKind::Panic);
        let lost = self
            .cache
            .as_ref()
            .filter(|cache| cache.value == CacheFate::Lost);
        if let Some(lost) = lost.filter(|_| panics) {
            walk.mistakes.note(
                Diagnostic::at(&lost.span, "a panic loses no write cache")
                    .label("the disk keeps its power")
                    .help("leave `cache` out, or crash the node with `how = \"power\"`"),
            );
            return;
        }
        let torn = self.torn.as_ref().filter(|torn| torn.value);
        if let Some(torn) = torn.filter(|_| cache == CacheFate::Kept) {
            walk.mistakes.note(
                Diagnostic::at(&torn.span, "`torn` without a write cache that is lost")
                    .label("every write is on the disk as a whole")
                    .help("leave `torn` out, or let the cache be lost: `how = \"power\", cache = \"lost\"`"),
            );
        }
    }
}

impl StepTable for Written {
    type Planned = Crash;

    fn lower(&self, span: &Span, _label: &StepLabel, walk: &mut Walk<'_>) -> Option<Crash> {
        if let Some(within) = self.within.as_ref().filter(|within| within.value > WITHIN) {
            walk.mistakes.note(
                Diagnostic::at(&within.span, "impossible `within`")
                    .label("out of range")
                    .help("give at most 60m"),
            );
        }
        let crashed = self
            .node
            .as_ref()
            .filter(|node| walk.topology.crash(node, span, walk.mistakes));
        if crashed.is_none() {
            walk.topology.lose_track();
        }
        let how = self.how.as_ref()?.value;
        let cache = match (&self.cache, how) {
            (Some(written), CrashKind::Power) => written.value,
            (None, CrashKind::Power) => CacheFate::Lost,
            (_, CrashKind::Panic) => CacheFate::Kept,
        };
        self.check_cache(cache, walk);
        Some(Crash {
            node: crashed?.value.clone(),
            how,
            within: self.within.as_ref()?.value,
            cache,
            torn: self.torn.as_ref()?.value,
        })
    }
}

impl PlannedStep for Crash {
    fn deadline(&self, _walk: &Walk<'_>) -> Duration {
        self.within.saturating_add(Duration::from_secs(60))
    }

    fn fault_role(&self) -> FaultRole {
        FaultRole::Breaks
    }

    fn describe(&self) -> String {
        let how = match self.how {
            CrashKind::Power => "cut the power of",
            CrashKind::Panic => "let the kernel panic of",
        };
        let moment = if self.within.is_zero() {
            String::new()
        } else {
            format!(
                ", at a random moment within {} s",
                self.within.as_secs_f32()
            )
        };
        let disk = match (self.how, self.cache, self.torn) {
            (CrashKind::Panic, ..) => "",
            (CrashKind::Power, CacheFate::Kept, _) => ", whose disk keeps its write cache",
            (CrashKind::Power, CacheFate::Lost, false) => ", whose disk loses its write cache",
            (CrashKind::Power, CacheFate::Lost, true) => {
                ", whose disk loses its write cache and tears writes"
            }
        };
        format!("{how} {}{disk}{moment}", self.node)
    }
}
