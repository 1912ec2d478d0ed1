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
mod disk;
mod dlm;
mod drbd;
mod gfs2;
mod gnbd;
mod iscsi;
mod layer;
mod linear;
mod lvm;
mod mapping;
mod md;
mod membership;
mod multipath;
mod nbd;
mod o2cb;
mod ocfs2;
mod power;
mod present;
mod script;
mod shared_disk;
mod stack;
mod striped;
mod topology;
mod volume;
mod warm;

pub use compose::compose;
pub use layer::{Expect, GuestFile, Layer, LayerProbe, Probe, Stage, Task, Work};
pub use present::{Peers, Present};
pub use stack::Stack;
pub use topology::{Member, Topology};
pub use volume::Volume;
pub use warm::warm;
