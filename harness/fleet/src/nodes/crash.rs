//! A member goes down on purpose, and comes back with its disk.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use sanlab_record::EventKind;
use sanlab_vm::{Access, Drive};

use crate::error::FleetError;
use crate::fleet::Fleet;
use crate::nodes::boot::Disk;

/// In what way a member crashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum How {
    /// Its power fails: QEMU is killed.
    Power,
    /// Its kernel panics, and nothing of it runs any more; then QEMU is killed.
    Panic,
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Power => "lost its power",
            Self::Panic => "panicked as it was told to",
        })
    }
}

/// A crash that has been made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crashed {
    /// Up to here the member ran untouched.
    pub began: Instant,
    /// By then it was gone.
    pub gone: Instant,
}

impl Fleet {
    /// Has a member crash: when this returns, it is gone, and no node any more ([`Fleet::node`]). It can be brought back by
    /// [`Fleet::restart`]. Its end, its panic and its silence are told as [`EventKind::Stopped`] and in no other way. One
    /// whose QEMU has ended by itself can lose its power, too: then it only leaves.
    ///
    /// The fleet cannot be saved any more. A member that is not there is [`FleetError::NotRunning`]; one that did not panic
    /// as it was told to stays.
    pub async fn crash(&self, name: &str, how: How) -> Result<Crashed, FleetError> {
        self.spec.member(name)?;
        let node = self.node(name).ok_or_else(|| FleetError::NotRunning {
            node: name.to_owned(),
        })?;
        self.keep_no_longer()?;
        let usage = node.usage();
        let (crashed, report) = node.crash(how).await?;
        let left = {
            let mut nodes = self.lock_nodes();
            let place = nodes.iter().position(|other| Arc::ptr_eq(other, &node));
            place.map(|place| {
                // Under the lock: whoever finds that it has left can restart it.
                let disk = node.disk().cloned();
                self.lock_crashed().insert(name.to_owned(), disk);
                nodes.remove(place)
            })
        };
        // Without it, somebody else had it crash at the same time, or the fleet has ended.
        if left.is_some() {
            self.remember(name, usage, report.usage);
            let how = how.to_string();
            self.tell_of(name, EventKind::Stopped { how });
        }
        Ok(crashed)
    }

    /// Brings a member back that crashed, with its disk as it was left: cloned if it has a template
    /// ([`Fleet::templates`]), booted otherwise. It is ready when this returns, as after [`Fleet::join`], and another
    /// [`Node`](crate::Node) than before. When it does not come up, it can be tried again.
    ///
    /// Without [`FleetSpec::disks_survive`](crate::FleetSpec::disks_survive), the disk of a forked member ends with its
    /// machine, which is [`FleetError::DiskLost`], unless the fleet could be saved; and it has no template.
    pub async fn restart(&self, name: &str) -> Result<(), FleetError> {
        let member = self.spec.member(name)?.clone();
        let taken = self.lock_crashed().remove(name);
        let left = taken.ok_or_else(|| FleetError::NotCrashed {
            node: name.to_owned(),
        })?;
        let back = async {
            let disk = match &left {
                Some(drive) => Disk::Left(still_there(name, drive)?),
                // It has none.
                None => Disk::Empty,
            };
            let up = self.start_node(&member, disk).await?;
            self.check_reachability(vec![up]).await
        };
        let back = back.await;
        if back.is_err() && self.node(name).is_none() {
            self.lock_crashed().insert(name.to_owned(), left);
        }
        back
    }
}

/// The file of a disk that outlived its machine.
fn still_there(node: &str, drive: &Drive) -> Result<std::path::PathBuf, FleetError> {
    let lost = |reason: &str| FleetError::DiskLost {
        node: node.to_owned(),
        reason: reason.to_owned(),
    };
    match drive.access {
        Access::Written if drive.file.exists() => Ok(drive.file.clone()),
        Access::Written => Err(lost(&format!("{} is gone", drive.file.display()))),
        Access::Forked | Access::ReadOnly => Err(lost("what was written to it ended with it")),
    }
}
