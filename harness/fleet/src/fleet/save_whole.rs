//! A fleet is saved as it is at some moment that nobody has prepared for, RAM included, so that it can go on elsewhere.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use sanlab_image::copy_sparse;
use tokio::task::spawn_blocking;

use crate::checkpoints::start_mode::{SavedFleet, SavedNode};
use crate::error::FleetError;
use crate::fleet::Fleet;
use crate::nodes::boot::Kept;
use crate::nodes::node::Node;

/// How long QEMU may take to write a state with RAM, beside the time for the RAM itself.
const DEADLINE: Duration = Duration::from_secs(60);
/// MiB of RAM that it writes in a second at least, on a busy host.
const RATE_MIB: u64 = 4;
/// What must be left on the folder's file system, so that a full disk is not of our making.
const SPARE_MIB: u64 = 1024;

/// What [`Fleet::save_whole`] wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedWhole {
    /// What a fork needs to know.
    pub fleet: SavedFleet,
    /// Members that are there and were not saved, and why.
    pub left_out: BTreeMap<String, String>,
}

impl Fleet {
    /// Stops all members that can be saved at one instant, writes their states with RAM, their disks and the shared ones to a folder,
    /// and lets them go on. [`Fleet::fork`] takes what was written, on this host or on another with the same
    /// [`Circumstances`](crate::Circumstances). A member that has lost its kernel, or whose QEMU does not obey, is left out.
    ///
    /// It needs [`FleetSpec::saveable`](crate::FleetSpec::saveable) where the fleet has been forked.
    pub async fn save_whole(&self, folder: &Path) -> Result<SavedWhole, FleetError> {
        let mut left_out = BTreeMap::new();
        let mut able = Vec::new();
        for node in self.nodes() {
            if node.machine().has_lost_its_kernel() {
                let why = "its kernel has panicked or hangs; its memory is in the folder of its logs, as vmcore";
                left_out.insert(node.name().to_owned(), why.to_owned());
            } else {
                able.push(node);
            }
        }
        // A network may lose what is under way.
        self.pause().await?;
        let stopped = join_all(able.iter().map(|node| node.stand_still())).await;
        let mut still: Vec<Arc<Node>> = Vec::new();
        for (node, stopped) in able.into_iter().zip(stopped) {
            match stopped {
                Ok(()) => still.push(node),
                Err(error) => {
                    left_out.insert(node.name().to_owned(), format!("failed to {error}"));
                }
            }
        }
        let written = self.write_whole(&still, &left_out, folder).await;
        let resumed = join_all(still.iter().map(|node| node.go_on())).await;
        let fleet = written?;
        resumed.into_iter().collect::<Result<Vec<()>, _>>()?;
        Ok(SavedWhole { fleet, left_out })
    }

    async fn write_whole(
        &self,
        nodes: &[Arc<Node>],
        left_out: &BTreeMap<String, String>,
        folder: &Path,
    ) -> Result<SavedFleet, FleetError> {
        if nodes.is_empty() {
            let mut whys = left_out.iter().map(|(node, why)| format!("{node}: {why}"));
            let why = whys.next().unwrap_or_else(|| "no node runs".to_owned());
            return Err(FleetError::NobodySaved(why));
        }
        check_space(nodes, folder)?;
        // All come to an end, whatever becomes of one: a machine that is being saved cannot go on.
        let written = join_all(nodes.iter().map(|node| write_node(node, folder))).await;
        Ok(SavedFleet {
            nodes: written.into_iter().collect::<Result<_, _>>()?,
            shared_disks: self.save_shared_disks(folder).await?,
        })
    }
}

async fn write_node(node: &Node, folder: &Path) -> Result<SavedNode, FleetError> {
    let files = Kept::new(folder, node.name());
    let deadline = DEADLINE + Duration::from_secs(node.spec().hardware.memory.mib() / RATE_MIB);
    let state = node.save_whole(&files.state(), deadline).await?;
    if let Some(from) = disk_of(node) {
        let to = files.disk();
        // Hundreds of MiB may be copied.
        let copied = spawn_blocking(move || copy_sparse(&from, &to));
        copied.await.map_err(std::io::Error::from)??;
    }
    Ok(SavedNode {
        name: node.name().to_owned(),
        state,
        ram_bytes: 0,
        disk_bytes: node.spec().disk_bytes,
    })
}

fn disk_of(node: &Node) -> Option<PathBuf> {
    node.disk().map(|disk| disk.drive.file.clone())
}

/// Sees that there is room, before anything is written.
fn check_space(nodes: &[Arc<Node>], folder: &Path) -> Result<(), FleetError> {
    let mut needed_mib = SPARE_MIB;
    for node in nodes {
        needed_mib += node.spec().hardware.memory.mib();
        if let Some(disk) = disk_of(node) {
            needed_mib += (fs_err::metadata(disk)?.blocks() * 512) >> 20;
        }
    }
    let found = rustix::fs::statvfs(folder).map_err(std::io::Error::from)?;
    let free_mib = found.f_bavail.saturating_mul(found.f_frsize) >> 20;
    if free_mib < needed_mib {
        return Err(FleetError::NoSpace {
            folder: folder.to_owned(),
            free_mib,
            needed_mib,
        });
    }
    Ok(())
}
