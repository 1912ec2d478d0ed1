//! A fleet is saved as it is at some moment that nobody has prepared for, RAM included, so that it can go on elsewhere.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use sanlab_image::copy_sparse_unless;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout, timeout_at};

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
/// How long a copy that is given up may take to notice.
const GIVEN_UP: Duration = Duration::from_secs(10);

/// What [`Fleet::save_whole`] wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedWhole {
    /// What a fork needs to know.
    pub fleet: SavedFleet,
    /// Members that are there and were not saved, and why.
    pub left_out: BTreeMap<String, String>,
    /// Members that were saved and stand still since, and why.
    pub not_resumed: BTreeMap<String, String>,
}

/// The end of a save, and how long it has from its beginning.
#[derive(Clone, Copy)]
struct Limit {
    end: Instant,
    all: Duration,
}

impl Fleet {
    /// Stops all members that can be saved at one instant, writes their states with RAM, their disks and the shared ones to a folder,
    /// and lets them go on, but for those of [`Fleet::pause_one`]. [`Fleet::fork`] takes what was written, on this host or on another
    /// with the same [`Circumstances`](crate::Circumstances). A member that has lost its kernel or its QEMU by then, or whose QEMU does
    /// not stop it, is left out.
    ///
    /// What is not written within the deadline is broken off, and is an error; the members go on then, too. It needs
    /// [`FleetSpec::saveable`](crate::FleetSpec::saveable) where the fleet has been forked.
    pub async fn save_whole(
        &self,
        folder: &Path,
        deadline: Duration,
    ) -> Result<SavedWhole, FleetError> {
        let limit = Limit {
            end: Instant::now() + deadline,
            all: deadline,
        };
        let mut left_out = BTreeMap::new();
        let mut able = Vec::new();
        for node in self.nodes() {
            match lost(&node) {
                Some(why) => drop(left_out.insert(node.name().to_owned(), why)),
                None => able.push(node),
            }
        }
        // A network may lose what is under way.
        self.pause().await?;
        let stopped = join_all(able.iter().map(|node| node.stand_still())).await;
        let mut still: Vec<&Arc<Node>> = Vec::new();
        for (node, stopped) in able.iter().zip(stopped) {
            let stopped = stopped.map_err(|error| format!("failed to {error}"));
            // It may have been lost since it was looked at; that tells more than that it did not obey.
            match lost(node).map_or(stopped, Err) {
                Ok(()) => still.push(node),
                Err(why) => drop(left_out.insert(node.name().to_owned(), why)),
            }
        }
        let written = self.write_whole(&still, &mut left_out, folder, limit).await;
        // Also one whose QEMU has not said that it stopped: it may have, or do so later.
        let stopped = able.iter().filter(|node| !node.is_paused());
        let resumed = join_all(stopped.map(|node| async move { (node, node.go_on().await) })).await;
        let mut not_resumed = BTreeMap::new();
        for (node, resumed) in resumed {
            if let Err(error) = resumed
                && !left_out.contains_key(node.name())
            {
                not_resumed.insert(node.name().to_owned(), format!("failed to {error}"));
            }
        }
        match written {
            Ok(fleet) => Ok(SavedWhole {
                fleet,
                left_out,
                not_resumed,
            }),
            Err(error) if not_resumed.is_empty() => Err(error),
            Err(error) => Err(FleetError::StandsStill {
                source: Box::new(error),
                nodes: not_resumed.into_values().collect::<Vec<_>>().join(", "),
            }),
        }
    }

    async fn write_whole(
        &self,
        nodes: &[&Arc<Node>],
        left_out: &mut BTreeMap<String, String>,
        folder: &Path,
        limit: Limit,
    ) -> Result<SavedFleet, FleetError> {
        somebody(nodes, left_out)?;
        let shared = self.shared_copies(folder)?;
        let disks = nodes.iter().filter_map(|node| disk_of(node));
        let files: Vec<PathBuf> = disks
            .chain(shared.iter().map(|(from, _)| from.clone()))
            .collect();
        let memories = nodes.iter().map(|node| node.spec().hardware.memory.mib());
        check_space(memories.sum(), &files, folder)?;
        // All come to an end, whatever becomes of one: a machine that is being saved cannot go on.
        let written = join_all(nodes.iter().map(|node| write_node(node, folder, limit))).await;
        let mut saved = Vec::new();
        for (node, written) in nodes.iter().zip(written) {
            match (written, lost(node)) {
                (Ok(node), _) => saved.push(node),
                (Err(_), Some(why)) => drop(left_out.insert(node.name().to_owned(), why)),
                (Err(error), None) => return Err(error),
            }
        }
        somebody(&saved, left_out)?;
        copy(shared, limit).await?;
        Ok(SavedFleet {
            nodes: saved,
            shared_disks: self.saved_disks(),
        })
    }
}

/// Why a member has nothing to be saved, if it has not.
fn lost(node: &Node) -> Option<String> {
    let machine = node.machine();
    let why = if machine.has_lost_its_kernel() {
        "its kernel has panicked or hangs; its memory is in the folder of its logs, as vmcore"
    } else if machine.has_exited() {
        "its QEMU has ended"
    } else {
        return None;
    };
    Some(why.to_owned())
}

/// An error where nobody is left to be saved, with why the first was left out.
fn somebody<T>(those: &[T], left_out: &BTreeMap<String, String>) -> Result<(), FleetError> {
    if !those.is_empty() {
        return Ok(());
    }
    let first = left_out.first_key_value();
    let why = first.map(|(node, why)| format!("{node}: {why}"));
    Err(FleetError::NobodySaved(
        why.unwrap_or_else(|| "no node runs".to_owned()),
    ))
}

async fn write_node(node: &Node, folder: &Path, limit: Limit) -> Result<SavedNode, FleetError> {
    let files = Kept::new(folder, node.name());
    let own = DEADLINE + Duration::from_secs(node.spec().hardware.memory.mib() / RATE_MIB);
    let left = limit.end.saturating_duration_since(Instant::now());
    // The machine itself breaks it off then, so that it can go on.
    let state = node.save_whole(&files.state(), own.min(left)).await?;
    if let Some(from) = disk_of(node) {
        copy(vec![(from, files.disk())], limit).await?;
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

/// Copies files, of hundreds of MiB perhaps. A copy that is overdue is given up: it writes no more when this returns.
async fn copy(files: Vec<(PathBuf, PathBuf)>, limit: Limit) -> Result<(), FleetError> {
    if Instant::now() >= limit.end {
        return Err(FleetError::SaveOverdue(limit.all));
    }
    let given_up = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&given_up);
    let mut copied = spawn_blocking(move || {
        let mut files = files.iter();
        files.try_for_each(|(from, to)| copy_sparse_unless(from, to, &asked))
    });
    if let Ok(copied) = timeout_at(limit.end, &mut copied).await {
        return Ok(copied.map_err(std::io::Error::from)??);
    }
    given_up.store(true, Ordering::Relaxed);
    // One that does not notice waits for a disk that does not answer; the folder is removed beneath it.
    let _ = timeout(GIVEN_UP, copied).await;
    Err(FleetError::SaveOverdue(limit.all))
}

/// Sees that there is room, before anything is written.
fn check_space(memory_mib: u64, files: &[PathBuf], folder: &Path) -> Result<(), FleetError> {
    let needed_mib = needed_mib(memory_mib, files)?;
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

/// What so much memory and copies of these disks take at most, and what is to be left.
fn needed_mib(memory_mib: u64, disks: &[PathBuf]) -> Result<u64, FleetError> {
    let mut bytes = 0;
    for disk in disks {
        bytes += fs_err::metadata(disk)?.blocks() * 512;
    }
    Ok(SPARE_MIB + memory_mib + bytes.div_ceil(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(folder: &Path, name: &str) -> PathBuf {
        let path = folder.join(name);
        let file = fs_err::File::create(&path).unwrap();
        fs_err::write(&path, vec![7; 3 << 20]).unwrap();
        file.set_len(1 << 30).unwrap();
        file.sync_all().unwrap();
        path
    }

    #[test]
    fn room_is_needed_for_memory_and_for_what_disks_hold() {
        let folder = tempfile::tempdir().unwrap();
        let disks = [disk(folder.path(), "own"), disk(folder.path(), "shared")];
        let needed = needed_mib(256, &disks).unwrap();
        assert!(
            (1024 + 256 + 6..1024 + 256 + 10).contains(&needed),
            "{needed}"
        );
        let error = check_space(u64::MAX >> 1, &disks, folder.path()).unwrap_err();
        assert!(matches!(error, FleetError::NoSpace { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_copy_that_is_overdue_is_not_begun() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (disk(folder.path(), "from"), folder.path().join("to"));
        let files = |to: &Path| vec![(from.clone(), to.to_owned())];
        let all = Duration::from_secs(60);
        let end = Instant::now() + all;
        copy(files(&to), Limit { end, all }).await.unwrap();
        assert_eq!(fs_err::metadata(&to).unwrap().len(), 1 << 30);
        let (end, late) = (Instant::now(), folder.path().join("late"));
        let error = copy(files(&late), Limit { end, all }).await.unwrap_err();
        assert!(!late.exists());
        assert_eq!(
            error.to_string(),
            "save the fleet within 60 s: the copies of its disks were not done"
        );
    }

    #[test]
    fn a_fleet_of_which_nobody_can_be_saved_says_why() {
        let left_out = [("vix0".to_owned(), "its QEMU has ended".to_owned())].into();
        let nobody: [(); 0] = [];
        let error = somebody(&nobody, &left_out).unwrap_err();
        assert_eq!(
            error.to_string(),
            "save the fleet: vix0: its QEMU has ended"
        );
        let error = somebody(&nobody, &BTreeMap::new()).unwrap_err();
        assert_eq!(error.to_string(), "save the fleet: no node runs");
        somebody(&[()], &left_out).unwrap();
    }
}
