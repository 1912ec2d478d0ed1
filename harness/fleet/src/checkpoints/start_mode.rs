//! How members come to life.

use std::path::Path;

use sanlab_image::Store;
use sanlab_vm::SavedState;
use serde::{Deserialize, Serialize};

use crate::nodes::boot::{Kept, shared_name};

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

/// One file of a saved fleet, and what tells whether it is still what it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedFile {
    /// Its name in the fleet's folder.
    pub name: String,
    /// Its apparent length.
    pub bytes: u64,
    /// Its SHA-256, in hexadecimal digits, where it was taken.
    pub sha256: Option<String>,
}

impl SavedFleet {
    /// Everything that a fork reads from its folder.
    pub fn files(&self) -> Vec<SavedFile> {
        let file = |path: &Path, bytes: u64, sha256: Option<&String>| SavedFile {
            name: path.to_string_lossy().into_owned(),
            bytes,
            sha256: sha256.cloned(),
        };
        let mut files = Vec::new();
        for node in &self.nodes {
            let kept = Kept::new(Path::new(""), &node.name);
            files.push(file(
                &kept.state(),
                node.state.bytes,
                Some(&node.state.sha256),
            ));
            if !node.state.whole {
                files.push(file(&kept.ram(), node.ram_bytes, None));
            }
            if node.disk_bytes > 0 {
                files.push(file(&kept.disk(), node.disk_bytes, None));
            }
        }
        for disk in &self.shared_disks {
            files.push(file(
                Path::new(&shared_name(&disk.serial)),
                disk.bytes,
                None,
            ));
        }
        files
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_fleet_names_its_files() {
        let node = |name: &str, whole: bool, disk_bytes: u64| SavedNode {
            name: name.to_owned(),
            state: SavedState {
                bytes: 5,
                sha256: "c0ffee".to_owned(),
                whole,
            },
            ram_bytes: if whole { 0 } else { 4096 },
            disk_bytes,
        };
        let fleet = SavedFleet {
            nodes: vec![node("vix0", true, 512), node("vix1", false, 0)],
            shared_disks: vec![SavedDisk {
                serial: "quorum".to_owned(),
                bytes: 1024,
            }],
        };
        let files = fleet.files().into_iter();
        let files: Vec<_> = files
            .map(|file| (file.name, file.bytes, file.sha256.is_some()))
            .collect();
        let file = |name: &str, bytes: u64, digest: bool| (name.to_owned(), bytes, digest);
        assert_eq!(
            files,
            [
                file("vix0.state", 5, true),
                file("vix0.disk", 512, false),
                file("vix1.state", 5, true),
                file("vix1.ram", 4096, false),
                file("quorum.shared", 1024, false),
            ]
        );
    }
}
