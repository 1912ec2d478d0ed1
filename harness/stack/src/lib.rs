//! Storage layers as descriptions: commands to run in the guests, files that they need, and probes that show that a layer is
//! really up. Pure: from a checked [`Plan`](sanlab_plan::Plan) to data. In the pipeline this crate stands after `plan` and
//! before `run`, which carries the descriptions out.
//!
//! A [`Stack`] is composed once for each scenario. It gives [`Work`]: stages of tasks (the tasks of a stage run side by
//! side, the stages one after another) and the probes that must come true afterwards.
//!
//! ```
//! # fn show(plan: &sanlab_plan::Plan) {
//! let stack = sanlab_stack::compose(plan);
//! for work in stack.up() {
//!     for task in work.stages.iter().flat_map(|stage| &stage.tasks) {
//!         let _ = (&task.node, &task.script, task.deadline);
//!     }
//! }
//! # }
//! ```
//!
//! Scripts are for busybox's `sh -e` and start few processes: under emulation each costs milliseconds, and a
//! layer comes up on every node.

mod compose;
mod description;
mod layers;
mod nodes;
mod shell;

pub use compose::compose;
pub use compose::stack::Stack;
pub use compose::warm::warm;
pub use description::layer::LayerCommands;
pub use description::probe::{Expect, LayerProbe, Probe};
pub use description::work::{GuestFile, Stage, Task, Work, WorkKind};
pub use layers::volume::Volume;
pub use nodes::present::{Peers, Present};
pub use nodes::topology::{Member, Topology};
