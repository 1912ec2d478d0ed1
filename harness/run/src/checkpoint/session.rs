//! Checkpoints in the store: which of a plan's are there, which one this run makes, and what is kept with it.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sanlab_fleet::{Claim, Held, Kind, SavedFleet, Store, Workspace};
use sanlab_record::EventKind;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use crate::Failure;
use crate::backend::{Provenance, StartPoint};
use crate::checkpoint::{Checkpoint, CheckpointMeta};
use crate::failure::Cause;

/// Another run may make the checkpoint that this one needs, and wait for state before that.
const MAKING_DEADLINE: Duration = Duration::from_secs(3600);
/// How soon it is looked again whether it is there.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// What must be left on the store's file system beside a fleet's RAM, so that a full disk is not of our making.
const SPARE_BYTES: u64 = 1 << 30;

/// What is written last, and makes an entry whole.
#[derive(Debug, Serialize, Deserialize)]
struct Label {
    /// For listings.
    about: String,
    /// Seconds since 1970.
    made: f64,
    fleet: SavedFleet,
    meta: CheckpointMeta,
}

/// One run's dealings with the store.
pub(crate) struct CheckpointSession {
    store: Store,
    scenario: String,
    /// By checkpoint, in the plan's order.
    keys: Vec<String>,
    checkpoints: Vec<Checkpoint>,
    /// RAM of all nodes of the start, bytes.
    ram_bytes: u64,
    /// Where the fleet begins.
    base: Option<Base>,
    making: Making,
}

/// A checkpoint that is there.
struct Base {
    index: usize,
    held: Held,
    label: Label,
}

/// The next checkpoint of this run.
enum Making {
    /// All are there, or have been made.
    Nothing,
    /// It will not be kept, and why.
    Impossible { reason: String },
    /// This run makes it: nobody else does meanwhile.
    Ours {
        index: usize,
        claim: Claim,
        workspace: Workspace,
    },
}

impl CheckpointSession {
    /// `fleet` is all that decides what the fleet is before anything is done with it.
    pub(crate) fn new(
        store: Store,
        scenario: &str,
        fleet: &str,
        ram_bytes: u64,
        checkpoints: &[Checkpoint],
    ) -> Self {
        let key = |checkpoint: &Checkpoint| {
            let digest = Sha256::new()
                .chain_update(fleet)
                .chain_update([0])
                .chain_update(&checkpoint.text)
                .finalize();
            hex::encode(digest)
        };
        Self {
            store,
            scenario: scenario.to_owned(),
            keys: checkpoints.iter().map(key).collect(),
            checkpoints: checkpoints.to_vec(),
            ram_bytes,
            base: None,
            making: Making::Nothing,
        }
    }

    /// Finds the last checkpoint that is there, and takes on the making of the next. `tell` hears what it
    /// waits for, and what it found damaged.
    pub(crate) async fn look(&mut self, tell: impl Fn(EventKind)) -> Result<StartPoint, Failure> {
        let end = Instant::now() + MAKING_DEADLINE;
        let mut told = false;
        loop {
            let found = self.latest(&tell)?;
            let next = self.next(found.as_ref().map(|base| base.index));
            self.base = found;
            let Some(next) = next else {
                self.making = Making::Nothing;
                break;
            };
            match self.take_on(next, &tell)? {
                Some(making) => {
                    self.making = making;
                    break;
                }
                None if Instant::now() >= end => {
                    let key = &self.keys[next];
                    let failed = Cause::CheckpointAwaited {
                        key: key.clone(),
                        waited: MAKING_DEADLINE,
                    };
                    return Err(failed.into());
                }
                None => {
                    if !told {
                        told = true;
                        let name = &self.checkpoints[next].name;
                        let what = format!("another run makes the checkpoint `{name}`");
                        tell(EventKind::Waiting { what });
                    }
                    sleep(LOOK_AGAIN).await;
                }
            }
        }
        Ok(match &self.base {
            None => StartPoint::Nothing,
            Some(base) => StartPoint::Fork {
                done: self.checkpoints[base.index].done,
                from: Provenance {
                    checkpoint: self.checkpoints[base.index].name.clone(),
                    key: self.keys[base.index].clone(),
                    age_seconds: (now() - base.label.made).max(0.0),
                },
                meta: Box::new(base.label.meta.clone()),
            },
        })
    }

    /// What the fleet is forked from, and the folder that holds it.
    pub(crate) fn base(&self) -> Option<(&SavedFleet, &Path)> {
        let base = self.base.as_ref()?;
        Some((&base.label.fleet, base.held.path()))
    }

    /// Where the fleet's RAM and disks must lie, so that it can be kept.
    pub(crate) fn folder(&self) -> Option<PathBuf> {
        match &self.making {
            Making::Ours { workspace, .. } => Some(workspace.path().to_owned()),
            Making::Nothing | Making::Impossible { .. } => None,
        }
    }

    /// Removes what the fleet was to be forked from.
    pub(crate) fn discard(&mut self) -> Result<String, Failure> {
        self.making = Making::Nothing;
        let Some(base) = self.base.take() else {
            return Ok(String::new());
        };
        base.held.discard()?;
        Ok(self.keys[base.index].clone())
    }

    /// Whether the checkpoint can be kept; if not, why.
    pub(crate) fn can_keep(&self, checkpoint: &Checkpoint) -> Result<(), String> {
        match &self.making {
            Making::Ours { index, .. } if self.checkpoints[*index] == *checkpoint => Ok(()),
            Making::Ours { .. } | Making::Nothing => {
                Err("it was not this run's turn to make it".to_owned())
            }
            Making::Impossible { reason } => Err(reason.clone()),
        }
    }

    /// Makes an entry of what lies in the folder, and takes on the next. The fleet goes on from [`CheckpointSession::base`].
    pub(crate) fn publish(
        &mut self,
        fleet: SavedFleet,
        meta: CheckpointMeta,
    ) -> Result<String, Failure> {
        let Making::Ours {
            index,
            claim,
            workspace,
        } = std::mem::replace(&mut self.making, Making::Nothing)
        else {
            return Err(Failure::internal("no checkpoint was to be made"));
        };
        let label = Label {
            about: format!("{}: {}", self.scenario, self.checkpoints[index].name),
            made: now(),
            fleet,
            meta,
        };
        let held = workspace.publish(&label)?;
        drop(claim);
        self.base = Some(Base { index, held, label });
        let Some(next) = self.next(Some(index)) else {
            return Ok(self.keys[index].clone());
        };
        // No error from here on: on one the machines would go on, and write to what is kept now.
        self.making = match self.take_on(next, |_| ()) {
            Ok(Some(making)) => making,
            Ok(None) => Making::Impossible {
                reason: "another run makes it".to_owned(),
            },
            Err(failure) => Making::Impossible {
                reason: failure.to_string(),
            },
        };
        Ok(self.keys[index].clone())
    }

    /// Keeps the store within its limit. What a running fleet uses stays. Gigabytes may be deleted, while guests run.
    pub(crate) async fn tidy(&self) -> Result<(), Failure> {
        let store = self.store.clone();
        let collected = spawn_blocking(move || store.collect(Store::limit()?)).await;
        collected.map_err(|error| Failure::host("shrink the store")(error.into()))??;
        Ok(())
    }

    /// The last checkpoint that is there. One whose label cannot be read is as good as none.
    fn latest(&self, tell: impl Fn(EventKind)) -> Result<Option<Base>, Failure> {
        for (index, key) in self.keys.iter().enumerate().rev() {
            let Some(held) = self.store.hold(Kind::Checkpoint, key)? else {
                continue;
            };
            match held.label() {
                Ok(label) => return Ok(Some(Base { index, held, label })),
                Err(error) => {
                    held.discard()?;
                    tell(EventKind::Discarded {
                        kind: Kind::Checkpoint.to_string(),
                        key: key.clone(),
                        reason: error.to_string(),
                    });
                }
            }
        }
        Ok(None)
    }

    /// The first checkpoint after that one that this run keeps.
    fn next(&self, after: Option<usize>) -> Option<usize> {
        let first = after.map_or(0, |after| after + 1);
        (first..self.checkpoints.len()).find(|index| self.checkpoints[*index].keep)
    }

    /// `None`: somebody else makes it, or has just made it.
    fn take_on(&self, index: usize, tell: impl Fn(EventKind)) -> Result<Option<Making>, Failure> {
        let key = &self.keys[index];
        let free = self.store.free_bytes()?;
        let needed = self.ram_bytes + SPARE_BYTES;
        if free < needed {
            let reason = format!(
                "{} has {} MiB free, a checkpoint may need {}",
                self.store.root().display(),
                free >> 20,
                needed >> 20
            );
            return Ok(Some(Making::Impossible { reason }));
        }
        let claim = self.store.try_claim(Kind::Checkpoint, key);
        let Some(claim) = claim? else {
            return Ok(None);
        };
        let there = self.store.hold(Kind::Checkpoint, key);
        if there?.is_some() {
            return Ok(None);
        }
        let broken = self.store.discard(Kind::Checkpoint, key);
        if broken? {
            tell(EventKind::Discarded {
                kind: Kind::Checkpoint.to_string(),
                key: key.clone(),
                reason: "it is not whole, or was made before the host was last booted".to_owned(),
            });
        }
        let workspace = claim.workspace()?;
        Ok(Some(Making::Ours {
            index,
            claim,
            workspace,
        }))
    }
}

fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
}
