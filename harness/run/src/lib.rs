//! The engine: runs a [`Plan`](sanlab_plan::Plan) on a fleet and returns its [`RunRecord`](sanlab_record::RunRecord). In the
//! pipeline this crate stands after `fleet` and `stack` and before `lab`.
//!
//! [`execute`] boots the nodes that are there from the start, brings the layers up from the lowest, does the steps, takes the
//! layers down if the plan says so, and ends the fleet. Nothing here prints: events are sent to the listener and kept for
//! the record.
//!
//! The outcome says whose fault it was. `failed`: the stack under test did not do what the scenario says - a
//! command in a guest failed or did not end in time, nodes see different files, a kernel oopsed or panicked.
//! `broken`: the lab could not do its part - QEMU died, an agent is silent, there was no memory - or the run was
//! interrupted. On both, consoles, kernel logs and the layers' states are collected before anything is ended.
//!
//! The engine sees the guests only through `backend::FleetBackend`: the real one is `backend::guests` on [`sanlab_fleet`], the
//! one of the tests is `backend::fake_fleet`.

mod backend;
mod checkpoint;
mod engine;
mod evidence;
mod failure;
mod measure;
mod steps;

pub use backend::fleet_spec::counts_instructions;
pub use checkpoint::saved::{SAVED, SAVED_LABEL, Saved, SavedImage, circumstances_of};
pub use checkpoint::{KeepPolicy, layer_checkpoints};
pub use engine::environment::Environment;
pub use engine::execute::execute;
pub use engine::hold::{HeldFleet, Hold, HoldWhen, StepError};
pub use engine::host::host;
pub use engine::options::{Enclosure, Extent, RunOptions};
pub use evidence::state_dump::STATE_DUMP;
use failure::Failure;
