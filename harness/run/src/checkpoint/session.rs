//! Checkpoints in the store: which of a plan's are there, which one this run makes, and what is kept with it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
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

/// One run's dealings with the store. What may wait for a lock or delete gigabytes is done off the runtime's threads.
pub(crate) struct CheckpointSession {
    keyed: Arc<KeyedStore>,
    scenario: String,
    checkpoints: Vec<Checkpoint>,
    /// Where the fleet begins.
    base: Option<Base>,
    making: Making,
}

/// A plan's checkpoints in the store.
struct KeyedStore {
    store: Store,
    /// By checkpoint, in the plan's order.
    keys: Vec<String>,
    /// RAM of all nodes of the start, bytes.
    ram_bytes: u64,
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
        let keyed = KeyedStore {
            store,
            keys: checkpoints
                .iter()
                .map(|checkpoint| key_of(fleet, &checkpoint.text))
                .collect(),
            ram_bytes,
        };
        Self {
            keyed: Arc::new(keyed),
            scenario: scenario.to_owned(),
            checkpoints: checkpoints.to_vec(),
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
            let keyed = Arc::clone(&self.keyed);
            let (found, events) = on_blocking_thread(move || keyed.latest()).await?;
            events.into_iter().for_each(&tell);
            let next = self.next(found.as_ref().map(|base| base.index));
            self.base = found;
            let Some(next) = next else {
                self.making = Making::Nothing;
                break;
            };
            let keyed = Arc::clone(&self.keyed);
            let (making, event) = on_blocking_thread(move || keyed.take_on(next)).await?;
            event.into_iter().for_each(&tell);
            match making {
                Some(making) => {
                    self.making = making;
                    break;
                }
                None if Instant::now() >= end => {
                    let key = &self.keyed.keys[next];
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
                        let what = format!("the checkpoint `{name}`, which another run makes");
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
                    key: self.keyed.keys[base.index].clone(),
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
    pub(crate) async fn discard(&mut self) -> Result<String, Failure> {
        let making = std::mem::replace(&mut self.making, Making::Nothing);
        let base = self.base.take();
        let index = base.as_ref().map(|base| base.index);
        on_blocking_thread(move || {
            drop(making);
            Ok(base.map(|base| base.held.discard()).transpose()?)
        })
        .await?;
        Ok(index.map_or_else(String::new, |index| self.keyed.keys[index].clone()))
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
    pub(crate) async fn publish(
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
        let (held, label) = on_blocking_thread(move || {
            let held = workspace.publish(&label)?;
            drop(claim);
            Ok((held, label))
        })
        .await?;
        self.base = Some(Base { index, held, label });
        let Some(next) = self.next(Some(index)) else {
            return Ok(self.keyed.keys[index].clone());
        };
        // No error from here on: on one the machines would go on, and write to what is kept now.
        let keyed = Arc::clone(&self.keyed);
        self.making = match on_blocking_thread(move || keyed.take_on(next)).await {
            Ok((Some(making), _)) => making,
            Ok((None, _)) => Making::Impossible {
                reason: "another run makes it".to_owned(),
            },
            Err(failure) => Making::Impossible {
                reason: failure.to_string(),
            },
        };
        Ok(self.keyed.keys[index].clone())
    }

    /// Keeps the store within its limit. What a running fleet uses stays.
    pub(crate) async fn tidy(&self) -> Result<(), Failure> {
        let limit = Store::limit()?;
        let keyed = Arc::clone(&self.keyed);
        on_blocking_thread(move || Ok(keyed.store.collect(limit)?)).await?;
        Ok(())
    }

    /// Gives up what this run would have made, which may be gigabytes.
    pub(crate) async fn end(self) -> Result<(), Failure> {
        on_blocking_thread(move || {
            drop(self);
            Ok(())
        })
        .await
    }

    /// The first checkpoint after that one that this run keeps.
    fn next(&self, after: Option<usize>) -> Option<usize> {
        let first = after.map_or(0, |after| after + 1);
        (first..self.checkpoints.len()).find(|index| self.checkpoints[*index].keep)
    }
}

impl KeyedStore {
    /// The last checkpoint that is there. One whose label cannot be read is as good as none.
    /// Besides, what is to be told.
    fn latest(&self) -> Result<(Option<Base>, Vec<EventKind>), Failure> {
        let mut events = Vec::new();
        for (index, key) in self.keys.iter().enumerate().rev() {
            let Some(held) = self.store.hold(Kind::Checkpoint, key)? else {
                continue;
            };
            match held.label() {
                Ok(label) => return Ok((Some(Base { index, held, label }), events)),
                Err(error) => {
                    held.discard()?;
                    events.push(EventKind::Discarded {
                        kind: Kind::Checkpoint.to_string(),
                        key: key.clone(),
                        reason: error.to_string(),
                    });
                }
            }
        }
        Ok((None, events))
    }

    /// `None`: somebody else makes it, or has just made it.
    /// Besides, what is to be told.
    fn take_on(&self, index: usize) -> Result<(Option<Making>, Option<EventKind>), Failure> {
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
            return Ok((Some(Making::Impossible { reason }), None));
        }
        let claim = self.store.try_claim(Kind::Checkpoint, key);
        let Some(claim) = claim? else {
            return Ok((None, None));
        };
        let there = self.store.hold(Kind::Checkpoint, key);
        if there?.is_some() {
            return Ok((None, None));
        }
        let broken = self.store.discard(Kind::Checkpoint, key);
        let event = broken?.then(|| EventKind::Discarded {
            kind: Kind::Checkpoint.to_string(),
            key: key.clone(),
            reason: "it is not whole, or was made before the host was last booted".to_owned(),
        });
        let workspace = claim.workspace()?;
        let ours = Making::Ours {
            index,
            claim,
            workspace,
        };
        Ok((Some(ours), event))
    }
}

/// Does what takes its time off the runtime's threads, which stamp what guests acknowledge.
pub(super) async fn on_blocking_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let done = spawn_blocking(work).await.map_err(io::Error::from);
    done.map_err(Failure::host("deal with the store"))?
}

/// The key of what a fleet becomes by all that the text says.
pub(super) fn key_of(fleet: &str, text: &str) -> String {
    let digest = Sha256::new()
        .chain_update(fleet)
        .chain_update([0])
        .chain_update(text)
        .finalize();
    hex::encode(digest)
}

/// Seconds since 1970.
pub(super) fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
}
