//! How members come to life.

use sanlab_image::Store;
use sanlab_vm::SavedState;
use serde::{Deserialize, Serialize};

/// How members come to life that are not forked from a saved fleet.
#[derive(Debug, Clone)]
pub enum StartMode {
    /// Every member boots from nothing.
    Boot,
    /// Members are cloned from templates in this store; those that it lacks are made first.
    Clone(Store),
}

/// What [`Fleet::save`](crate::Fleet::save) wrote beside the RAM and disks of its members: what a fork needs to know,
/// and what tells whether the files are still what they were.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedFleet {
    /// Who was there, in the members' order.
    pub nodes: Vec<SavedNode>,
    /// The disks that they share.
    pub shared_disks: Vec<SavedDisk>,
}

/// One saved disk that members share: `SERIAL.shared`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedDisk {
    /// By which guests find it.
    pub serial: String,
    /// Apparent length of its file.
    pub bytes: u64,
}

/// One saved member: `NAME.state`, `NAME.ram` unless the state is whole, and, if it has a data disk, `NAME.disk`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedNode {
    /// Who.
    pub name: String,
    /// Length and digest of the device state.
    pub state: SavedState,
    /// Apparent length of the RAM's file; 0 where the RAM is in the state.
    pub ram_bytes: u64,
    /// Apparent length of the data disk's file; 0: there is none.
    pub disk_bytes: u64,
}
