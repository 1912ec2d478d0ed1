//! The record of a run: what happened ([`Event`]), what was measured ([`Sample`]), how it ended ([`Outcome`]) and
//! all of it together ([`RunRecord`]), the file `record.json`. Pure data: in the pipeline this crate stands before `fleet` and
//! `run`, which emit events and write records, and `report`, which reads them.
//!
//! Times named `at` are seconds since the run began, on the host's monotonic clock.

mod event;
mod failure;
mod finding;
mod measure;
mod phase;
pub mod quantity;
mod record;

pub use event::{CrashKind, Event, EventKind};
pub use failure::{BlockRange, Failure, FailureKind, Found, LostBlocks};
pub use finding::{Excuse, Finding, FindingKind, Source, TraceLine};
pub use measure::{Cost, Lane, Measurement, Rate, Timeline, Work};
pub use phase::PhaseName;
pub use record::{
    AcceleratorUse, Acknowledged, ArtefactUse, Dip, FORMAT, HostUse, ImageUse, InComparison,
    KnownBy, Latency, LayerUse, NodeUse, Origin, Outcome, Phase, PortUse, ReadError, RunRecord,
    Sample,
};
