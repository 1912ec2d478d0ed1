//! From scenario text to a checked [`Plan`]: the first stage of the pipeline. Pure: no I/O, no tokio.
//!
//! The text is laid over its base, if it has one (`document/base.rs`), and settings over both (`overlay`). The result is
//! read key by key into a document (`document`), which is then lowered (`lower`): nodes into a node set, layers into a resolved
//! stack on a device map (`layers`, `devices`), steps along a topology that tracks which nodes are up and have the volume mounted
//! (`steps`). All mistakes are collected on the way (`diagnostic`) and returned together.
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

mod devices;
mod diagnostic;
mod document;
pub mod guest;
mod layers;
mod lower;
mod overlay;
mod plan;
mod steps;
mod values;

pub use devices::provided::Outage;
pub use diagnostic::suggest::did_you_mean;
pub use diagnostic::{Diagnostic, Diagnostics, Span};
pub use document::base::BASE_FOLDER;
pub use document::schema::schema;
pub use layers::*;
pub use lower::{parse, parse_with};
pub use overlay::setting::{Setting, SettingError};
pub use plan::{
    Arch, Artefact, ArtefactKind, BlockMap, DISK, Device, Expectation, FAULTY_DISK, Hardware,
    Joins, Known, Network, NicModel, Node, PlacedLayer, Plan, Replica, Step, StepFailure, Tier,
};
pub use steps::*;
pub use values::clocks::{Drift, TimeShift};
pub use values::names::{
    CheckpointName, ClusterName, GuestPath, ImageName, NameError, NetworkName, NodeName,
    ResourceName, StepLabel, VolumeName, file_name, names,
};
pub use values::range::Range;
pub use values::shell::{quote, word};
pub use values::subnet::{Subnet, SubnetError};
pub use values::units::{ByteSize, Share, UnitError, parse_duration};
