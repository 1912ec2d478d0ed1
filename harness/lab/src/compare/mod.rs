//! Two sides of a scenario, run in turns and compared: what `sanlab compare` does.
//!
//! [`given`] reads what a side differs in, [`side`] makes it ready, [`course`] runs both in turns until the verdict stands,
//! knowing nothing of guests, [`guests`] does a run on guests, and [`calibration`] learns this host's noise floors
//! from runs of the same.

pub(crate) mod calibration;
pub(crate) mod course;
pub(crate) mod given;
pub(crate) mod guests;
pub(crate) mod progress;
pub(crate) mod side;
pub(crate) mod verdicts;
