//! Many machines on one network.
//!
//! In the pipeline this crate stands after `image`, which provides what is booted, and `vm`, which runs one machine, and
//! before `run`, which carries a scenario out. A [`Fleet`] boots its members side by side, connects them by a
//! layer-2 [`Switch`] of its own, and gives each its name and address; another member can join later.
//!
//! A member can crash on purpose ([`Fleet::crash`]) and restart with its disk ([`Fleet::restart`]), which may lack what was not flushed
//! ([`Fleet::lose_write_cache`]). Frames between members
//! can be lost, late or changed on purpose ([`Fleet::impair`]), and a member's cable be pulled ([`Fleet::set_link`]).
//!
//! Fleets share the host: the [`Budget`] lets one start when there is memory and CPU for it. Each has a folder in the
//! [`Registry`], locked as long as its process lives; what a killed one left is removed when the next one starts.
//!
//! ```no_run
//! # async fn example(spec: sanlab_fleet::FleetSpec) -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use sanlab_fleet::{Command, Fleet};
//!
//! let (events, _) = tokio::sync::mpsc::unbounded_channel();
//! let fleet = Fleet::start(spec, &["vix0".to_owned(), "vix1".to_owned()], None, events).await?;
//! for node in fleet.nodes() {
//!     node.exec(Command::script("ping -c 1 vix0.local"), Duration::from_secs(5)).await?.success()?;
//! }
//! fleet.join("vc").await?;
//! let teardown = fleet.shutdown().await;
//! assert!(teardown.errors.is_empty());
//! # Ok(())
//! # }
//! ```

mod checkpoints;
mod deadlines;
mod error;
mod event;
mod fleet;
mod host;
mod network;
mod nodes;
mod spec;
mod templates;
mod write_cache;

pub use checkpoints::circumstances::{
    Circumstances, Difference, EmulatorUse, check_memory, circumstances,
};
pub use checkpoints::fingerprint::fingerprint;
pub use checkpoints::start_mode::{SavedDisk, SavedFile, SavedFleet, SavedNode, StartMode};
pub use error::FleetError;
pub use event::{FleetEvent, Listener};
pub use fleet::faults::Impaired;
pub use fleet::save_whole::SavedWhole;
pub use fleet::{Fleet, Teardown};
pub use host::budget::{Budget, Permit};
pub use host::capacity::at_once;
pub use host::need::{Claimant, Need, WaitingFor};
pub use host::registry::Registry;
pub use host::run_dir::RunDir;
pub use host::sweep::{Remains, Swept};
pub use network::{
    Effect, Impairment, ImpairmentId, LiveCapture, PortCounters, PortSpec, Switch, SwitchEvent,
};
pub use nodes::cost::NodeCost;
pub use nodes::emulator::accelerators;
pub use nodes::node::{Crashed, Node};
pub use nodes::readiness::Condition;
pub use spec::{DEFAULT_MTU, FleetSpec, NetworkSpec, NodeSpec, SharedDisk, overhead_mib};
pub use templates::TemplateUse;
pub use write_cache::{CacheDraw, PowerLoss};
// What those who use a fleet need of the crates below it.
pub use sanlab_image::{Call, Claim, Held, Image, ImageError, Kind, Store, Symbols, Workspace};
pub use sanlab_vm::{
    Accelerator, AcceleratorChoice, AcceleratorWish, Attachment, Command, Console, ConsoleLine,
    EVENT_PORT_PATH, ExecError, FileSystem, GuestEvent, GuestInput, GuestProcess, GuestSaid,
    Machine, Output, OutputLine, OutputStream, Printed, ProbeGuest, Room, SavedState, Status,
    Trouble, Usage, VmError, trouble,
};
