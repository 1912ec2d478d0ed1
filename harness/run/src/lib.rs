//! Runs a [`Plan`](sanlab_plan::Plan) on a fleet and gives back its [`RunRecord`](sanlab_record::RunRecord).
//!
//! [`execute`] boots the nodes of the start, brings the layers up one above the other, does the steps, takes the
//! layers down if the plan says so, and ends the fleet. Nothing here prints: what happens is sent as events to whoever listens, and kept
//! for the record.
//!
//! The outcome tells whose fault it was. `failed`: the stack under test did not do what the scenario says - a
//! command in a guest failed or did not end in time, nodes see different files, a kernel oopsed or panicked.
//! `broken`: the lab did not do its part - QEMU died, an agent is silent, memory was not to be had - or somebody
//! interrupted it. On both, consoles, kernel logs and the layers' states are collected before anything is ended.
//!
//! Inside, the engine sees the guests only through `backend::FleetBackend`; `guests` is the real one on
//! [`sanlab_fleet`], tests act one.

mod backend;
mod checkpoint;
mod engine;
mod evidence;
mod failure;
mod measure;
mod steps;

pub use checkpoint::KeepPolicy;
pub use engine::environment::{Environment, Extent};
pub use engine::execute::execute;
pub use engine::host::host;
pub use evidence::state_dump::STATE_DUMP;
use failure::Failure;
