//! A member goes down on purpose, and comes back with its disk.

use sanlab_plan::CrashKind;
use sanlab_record::EventKind;
use sanlab_vm::{Access, Drive};
use tokio::task::spawn_blocking;

use crate::error::FleetError;
use crate::fleet::Fleet;
use crate::nodes::boot::Disk;
use crate::nodes::node::Crashed;
use crate::write_cache::{CacheDraw, PowerLoss};

impl Fleet {
    /// Has a member crash: when this returns, it is gone, and no node any more ([`Fleet::node`]). It can be brought back by
    /// [`Fleet::restart`]. Its end, its panic and its silence are told as [`EventKind::Stopped`] and in no other way. One
    /// whose QEMU has ended by itself can lose its power, too: then it only leaves.
    ///
    /// The fleet cannot be saved any more. A member that is not there is [`FleetError::NotRunning`]; one that did not panic
    /// as it was told to stays.
    pub async fn crash(&self, name: &str, how: CrashKind) -> Result<Crashed, FleetError> {
        self.spec.member(name)?;
        let node = self.node(name).ok_or_else(|| FleetError::NotRunning {
            node: name.to_owned(),
        })?;
        self.keep_no_longer()?;
        let usage = node.usage();
        let (crashed, report) = node.crash(how).await?;
        if self.members.leave(&node) {
            self.members.remember(name, usage, report.usage);
            let how = ending(how).to_owned();
            self.tell_of(name, EventKind::Stopped { how });
        }
        Ok(crashed)
    }

    /// Takes from a crashed member's disk what it had in its volatile write cache, as a cut of the power does: of what was written
    /// after the last completed flush some is there, as `draw` has it, and what came before is there. Without this call, all that was
    /// written is there. `None`: its disk has no volatile cache
    /// ([`FleetSpec::volatile_caches`](crate::FleetSpec::volatile_caches)), or nothing has been written to it since the member came to
    /// life.
    pub async fn lose_write_cache(
        &self,
        name: &str,
        draw: CacheDraw,
    ) -> Result<Option<PowerLoss>, FleetError> {
        self.spec.member(name)?;
        let Some((drive, cache)) = self.members.take_cache(name)? else {
            return Ok(None);
        };
        let name = name.to_owned();
        // Hundreds of MiB may be written.
        let lost = spawn_blocking(move || cache.lose(&name, &drive.file, draw));
        lost.await.map_err(std::io::Error::from)?
    }

    /// Brings a member back that crashed, with its disk as it was left: cloned if it has a template
    /// ([`Fleet::templates`]), booted otherwise. It is ready when this returns, as after [`Fleet::join`], and another
    /// [`Node`](crate::Node) than before. When it does not come up, it can be tried again.
    ///
    /// Without [`FleetSpec::disks_survive`](crate::FleetSpec::disks_survive), the disk of a forked member ends with its
    /// machine, which is [`FleetError::DiskLost`], unless the fleet could be saved; and it has no template.
    pub async fn restart(&self, name: &str) -> Result<(), FleetError> {
        let member = self.spec.member(name)?.clone();
        let left = self.members.take_crashed(name)?;
        let back = async {
            let disk = match &left {
                Some(disk) => Disk::Left(still_there(name, &disk.drive)?),
                // It has none.
                None => Disk::Empty,
            };
            let up = self.start_node(&member, disk).await?;
            self.check_reachability(vec![up]).await
        };
        let back = back.await;
        if back.is_err() && self.node(name).is_none() {
            self.members.crashed_with(name, left);
        }
        back
    }
}

/// How a member ended that crashed.
fn ending(how: CrashKind) -> &'static str {
    match how {
        CrashKind::Power => "lost its power",
        CrashKind::Panic => "panicked as it was told to",
    }
}

/// The file of a disk that outlived its machine.
fn still_there(node: &str, drive: &Drive) -> Result<std::path::PathBuf, FleetError> {
    let lost = |reason: &str| FleetError::DiskLost {
        node: node.to_owned(),
        reason: reason.to_owned(),
    };
    match drive.access {
        Access::Written | Access::Shared if drive.file.exists() => Ok(drive.file.clone()),
        Access::Written | Access::Shared => Err(lost(&format!("{} is gone", drive.file.display()))),
        Access::Forked | Access::ReadOnly => Err(lost("what was written to it ended with it")),
    }
}
