//! Scenario text to a checked [`Plan`]: the first stage of the pipeline. Pure: no I/O, no tokio.
//!
//! What was written is laid over its base, if it has one (`base.rs`), with settings over both (`overlay.rs`). The whole is
//! read key by key into a document (`document.rs`), which is then lowered: nodes into a roster,
//! layers into a tower that stands on a ground of devices, steps along a topology that knows who is there and who has
//! mounted. All mistakes are collected on the way and given back together.
//!
//! ```
//! use std::path::Path;
//!
//! let text = r#"
//!     name = "two nodes answer"
//!     nodes = { "vix[0-1]" = { arch = "x86" } }
//!     step = [{ run = { command = "uname -m", output = "i686" } }]
//! "#;
//! let plan = sanlab_plan::parse(Path::new("two.toml"), text)?;
//! assert_eq!(plan.nodes[1].name.as_str(), "vix1");
//!
//! let mistakes = sanlab_plan::parse(Path::new("two.toml"), &text.replace("x86", "arm")).unwrap_err();
//! assert!(mistakes.render(false).contains("unknown architecture `arm`"));
//! # Ok::<(), sanlab_plan::Diagnostics>(())
//! ```

mod base;
mod checkpoints;
mod diagnostic;
mod document;
mod ground;
mod layers;
mod lower;
mod names;
mod order;
mod overlay;
mod pattern;
mod plan;
mod read;
mod roster;
mod schema;
mod setting;
mod shell;
mod sources;
mod steps;
mod suggest;
mod table;
mod timeouts;
mod topology;
mod tower;
mod units;
mod value;
mod word;
mod writes;

pub use base::BASE_FOLDER;
pub use diagnostic::{Diagnostic, Diagnostics, Span};
pub use lower::{parse, parse_with};
pub use names::{
    CheckpointName, ClusterName, GuestPath, ImageName, NameError, NodeName, ResourceName,
    StepLabel, VolumeName,
};
pub use plan::{
    AccessPattern, Action, AddNode, Arch, Awaited, BlockMap, Check, Crash, CrashKind, DISK, Dd,
    Device, Dip, Drbd, Export, FirstSync, Gnbd, Grouping, Joins, Layer, LayerKind, Leg, Linear, Md,
    Membership, Mount, Multipath, MultipathMap, Nbd, NbdServer, Network, NicModel, NoPath, Node,
    O2cb, Ocfs2, Plan, Primaries, RaidLevel, Restart, Run, Selector, Signal, Source, Start, Step,
    StopProcess, Storey, Striped, Sync, Target, Throughput, Tier, Tool, Transport, Unmount, Verify,
    Wait, WaitFor, Write, node_address,
};
pub use schema::schema;
pub use setting::{Setting, SettingError};
pub use shell::quote;
pub use units::{ByteSize, UnitError, parse_duration};
