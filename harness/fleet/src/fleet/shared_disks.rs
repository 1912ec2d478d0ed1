//! Disks that several members share: one file each in the run's folder, whoever of them is there. Forks have copies of their own.

use std::path::{Path, PathBuf};

use sanlab_image::copy_sparse;
use tokio::task::spawn_blocking;

use crate::checkpoints::saved;
use crate::checkpoints::start_mode::SavedDisk;
use crate::error::FleetError;
use crate::fleet::Fleet;
use crate::nodes::boot::{make_sparse, shared_file, shared_name};
use crate::spec::SharedDisk;

impl Fleet {
    /// They hold nothing.
    pub(super) fn make_shared_disks(&self) -> Result<(), FleetError> {
        let run_dir = self.run_folder()?;
        let mut disks = self.spec.shared_disks.iter();
        disks.try_for_each(|disk| make_sparse(&shared_file(&run_dir, &disk.serial), disk.bytes))
    }

    /// They are what they were in a saved fleet, whose files stay what they are. No member runs.
    pub(super) async fn fork_shared_disks(
        &self,
        saved: &[SavedDisk],
        folder: &Path,
    ) -> Result<(), FleetError> {
        let mut copies = Vec::new();
        for disk in saved {
            let file = folder.join(shared_name(&disk.serial));
            saved::verify_length(&file, disk.bytes)?;
            copies.push((file, shared_file(&self.run_folder()?, &disk.serial)));
        }
        copy(copies).await
    }

    /// Saves what they are while all members stand still.
    pub(super) async fn save_shared_disks(
        &self,
        keep: &Path,
    ) -> Result<Vec<SavedDisk>, FleetError> {
        copy(self.shared_copies(keep)?).await?;
        Ok(self.saved_disks())
    }

    /// Their files, and where those are copied to in a folder.
    pub(super) fn shared_copies(
        &self,
        folder: &Path,
    ) -> Result<Vec<(PathBuf, PathBuf)>, FleetError> {
        let run_dir = self.run_folder()?;
        let copies = self.spec.shared_disks.iter().map(|disk| {
            let from = shared_file(&run_dir, &disk.serial);
            (from, folder.join(shared_name(&disk.serial)))
        });
        Ok(copies.collect())
    }

    /// What a fork needs to know of them.
    pub(super) fn saved_disks(&self) -> Vec<SavedDisk> {
        let saved = |disk: &SharedDisk| SavedDisk {
            serial: disk.serial.clone(),
            bytes: disk.bytes,
        };
        self.spec.shared_disks.iter().map(saved).collect()
    }

    fn run_folder(&self) -> Result<PathBuf, FleetError> {
        self.members
            .with_resources(|resources| Ok(resources.run_dir.path().to_owned()))
    }
}

/// Hundreds of MiB may be copied.
async fn copy(files: Vec<(PathBuf, PathBuf)>) -> Result<(), FleetError> {
    let copied = spawn_blocking(move || {
        let mut files = files.iter();
        files.try_for_each(|(from, to)| copy_sparse(from, to))
    });
    Ok(copied.await.map_err(std::io::Error::from)??)
}
