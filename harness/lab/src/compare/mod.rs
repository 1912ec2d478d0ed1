//! Two sides of a scenario, run in turns and compared, for `sanlab compare`.
//!
//! [`side`] prepares a side, [`course`] runs both in turns until the verdict is clear, independent of guests, [`guests`] does a run
//! on guests, and [`calibration`] computes this host's noise floors from a scenario compared with itself.

pub(crate) mod calibration;
pub(crate) mod course;
pub(crate) mod guests;
pub(crate) mod progress;
pub(crate) mod side;
pub(crate) mod verdicts;
