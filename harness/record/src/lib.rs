//! The words of a run: what happened ([`Event`]), what was measured ([`Sample`]), how it ended ([`Outcome`]) and
//! the whole of it ([`RunRecord`]), the file `record.json`. Pure data: the engine writes it, reports fold over it.
//!
//! Times named `at` are seconds since the run began, on the host's monotonic clock.

mod event;
mod record;

pub use event::{Event, EventKind};
pub use record::{
    AcceleratorUse, Acknowledged, FORMAT, Failure, ImageUse, NodeUse, OLDEST_FORMAT, Origin,
    Outcome, Phase, PortUse, ReadError, RunRecord, Sample,
};
