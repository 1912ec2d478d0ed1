//! Memory and CPUs, shared out among all fleets that this user runs, in whatever processes.
//!
//! A fleet's claim is a file in its run's folder, so it dies with the run, however that ends: a claim counts only
//! while the run's lock is held. Claims are read and granted under the registry's lock, oldest first: a small fleet
//! does not overtake a large one, which would wait for ever behind many small ones.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::error::FleetError;
use crate::host::capacity::Capacity;
use crate::host::locked::Locked;
use crate::host::need::{Claimant, Need, WaitingFor};
use crate::host::registry::Registry;
use crate::host::run_dir::RunDir;

/// How often a waiting fleet looks whether its turn has come.
const INTERVAL: Duration = Duration::from_millis(200);

/// How often a fleet that has no place in the queue yet tries the registry's lock, which is held for milliseconds.
const LOCK_INTERVAL: Duration = Duration::from_millis(10);

/// The claim's name in a run's folder.
const CLAIM: &str = "claim.json";

/// How long memory is awaited that other programs have, and no fleet: a compiler gives it back soon, a browser never.
const OTHER_PROGRAMS: Duration = Duration::from_secs(300);

/// The budget of the registry's runs.
#[derive(Clone)]
pub struct Budget {
    registry: Registry,
    look: Arc<dyn Fn() -> Result<Capacity, FleetError> + Send + Sync>,
    other_programs: Duration,
    /// This process: who has the machine for itself starts its own fleets there.
    me: u32,
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Budget").field(&self.registry).finish()
    }
}

/// A granted claim, until it is dropped.
#[derive(Debug)]
pub struct Permit {
    claim: PathBuf,
}

impl Drop for Permit {
    fn drop(&mut self) {
        // The folder may be gone already, and the claim with it.
        let _ = fs_err::remove_file(&self.claim);
    }
}

#[derive(Serialize, Deserialize)]
struct Claim {
    /// Place in the queue.
    ticket: u64,
    granted: bool,
    pid: u32,
    need: Need,
    #[serde(default)]
    alone: bool,
}

impl Claim {
    fn write(&self, path: &Path) -> Result<(), FleetError> {
        Ok(fs_err::write(
            path,
            serde_json::to_vec(self).map_err(std::io::Error::from)?,
        )?)
    }
}

/// Every living run's claim.
struct Claims {
    granted: Vec<Claimant>,
    /// With their tickets, oldest first.
    waiting: Vec<(u64, Claimant)>,
}

impl Claims {
    /// Without what the process `me` has for itself.
    fn read(registry: &Locked, me: u32) -> Result<Self, FleetError> {
        let mut claims = Self {
            granted: Vec::new(),
            waiting: Vec::new(),
        };
        for run in registry.living()? {
            // No claim: not asked yet, or given back. Claims are only written whole, under the lock that we hold.
            let Ok(text) = fs_err::read(run.join(CLAIM)) else {
                continue;
            };
            let Ok(claim) = serde_json::from_slice::<Claim>(&text) else {
                continue;
            };
            if claim.alone && claim.pid == me {
                continue;
            }
            let name = run
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let claimant = Claimant {
                run: name,
                pid: claim.pid,
                need: claim.need,
                alone: claim.alone,
            };
            if claim.granted {
                claims.granted.push(claimant);
            } else {
                claims.waiting.push((claim.ticket, claimant));
            }
        }
        claims.waiting.sort_by_key(|(ticket, _)| *ticket);
        Ok(claims)
    }

    fn held(&self) -> Need {
        self.granted
            .iter()
            .fold(Need::default(), |sum, claimant| sum.plus(claimant.need))
    }
}

impl Budget {
    /// The machine's memory and CPUs, shared among the registry's runs.
    pub fn new(registry: &Registry) -> Self {
        Self::looking(registry, Capacity::of_machine)
    }

    /// The same with figures of the caller's choice; all who share a registry should choose the same.
    pub fn with_capacity(registry: &Registry, capacity: Need) -> Self {
        let capacity = Capacity {
            most: capacity,
            available: capacity,
        };
        Self::looking(registry, move || Ok(capacity))
    }

    fn looking(
        registry: &Registry,
        look: impl Fn() -> Result<Capacity, FleetError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            registry: registry.clone(),
            look: Arc::new(look),
            other_programs: OTHER_PROGRAMS,
            me: std::process::id(),
        }
    }

    /// What there is to share: nine tenths of the memory that is available when no fleet runs, and all CPUs. It may wait for
    /// a lock.
    pub fn capacity(&self) -> Result<Need, FleetError> {
        let registry = self.registry.lock()?;
        let claims = Claims::read(&registry, self.me)?;
        (self.look)()?.when_idle(&registry, claims.granted.is_empty())
    }

    /// What running fleets hold now.
    pub fn holders(&self) -> Result<Vec<Claimant>, FleetError> {
        Ok(Claims::read(&self.registry.lock()?, self.me)?.granted)
    }

    /// Claims `need` for `run`, and waits for its turn. `on_wait` hears for whom whenever that changes. Dropping the future
    /// gives the place in the queue up. A run has one claim at a time.
    ///
    /// Memory that other programs have, and no fleet, is awaited for a few minutes; only what could never be had fails at once.
    pub async fn acquire(
        &self,
        run: &RunDir,
        need: Need,
        deadline: Duration,
        on_wait: impl Fn(&WaitingFor),
    ) -> Result<Permit, FleetError> {
        let wish = Wish { need, alone: false };
        self.wait_for(run, wish, deadline, on_wait).await
    }

    /// Waits until no other process has a fleet, and lets none start but this process's own until the permit is dropped: whoever
    /// measures does not want to be disturbed.
    pub async fn acquire_alone(
        &self,
        run: &RunDir,
        deadline: Duration,
        on_wait: impl Fn(&WaitingFor),
    ) -> Result<Permit, FleetError> {
        let wish = Wish {
            need: Need::default(),
            alone: true,
        };
        self.wait_for(run, wish, deadline, on_wait).await
    }

    async fn wait_for(
        &self,
        run: &RunDir,
        wish: Wish,
        deadline: Duration,
        on_wait: impl Fn(&WaitingFor),
    ) -> Result<Permit, FleetError> {
        let claim = run.path().join(CLAIM);
        let began = Instant::now();
        // Since when nothing but other programs is in the way.
        let mut since = None;
        // From here on it is removed whenever this function is left.
        let permit = Permit {
            claim: claim.clone(),
        };
        let mut said: Option<WaitingFor> = None;
        let mut ticket = None;
        loop {
            // In place, not on a blocking thread: a cancelled wait must not write its claim after it was removed.
            if let Some(registry) = self.registry.try_lock()? {
                match self.ask(&registry, &claim, wish, ticket)? {
                    Answer::Granted => return Ok(permit),
                    Answer::Wait {
                        ticket: ours,
                        waiting,
                    } => {
                        ticket = Some(ours);
                        // What is free changes all the time.
                        if said.is_none_or(|said| !said.is_for_the_same(&waiting)) {
                            on_wait(&waiting);
                        }
                        since = if waiting.is_for_others() {
                            None
                        } else {
                            since.or_else(|| Some(Instant::now()))
                        };
                        said = Some(waiting);
                    }
                }
            }
            let in_vain = |since: Instant| since.elapsed() >= self.other_programs;
            let waited = if began.elapsed() >= deadline {
                Some(deadline)
            } else {
                since
                    .filter(|since| in_vain(*since))
                    .map(|_| self.other_programs)
            };
            if let Some(waited) = waited {
                return Err(match said {
                    Some(waiting) => FleetError::NoRoom { waiting, waited },
                    None => self.registry.locked_by(waited),
                });
            }
            sleep(if ticket.is_some() {
                INTERVAL
            } else {
                LOCK_INTERVAL
            })
            .await;
        }
    }

    /// One look: queues the claim the first time, grants it when its turn has come.
    fn ask(
        &self,
        registry: &Locked,
        claim: &Path,
        wish: Wish,
        ticket: Option<u64>,
    ) -> Result<Answer, FleetError> {
        let Wish { need, alone } = wish;
        let mut claims = Claims::read(registry, self.me)?;
        let capacity = (self.look)()?;
        if !need.fits(capacity.most) {
            let capacity = capacity.most;
            return Err(FleetError::TooLarge { need, capacity });
        }
        let capacity = capacity.when_idle(registry, claims.granted.is_empty())?;
        let ticket =
            ticket.unwrap_or_else(|| claims.waiting.last().map_or(0, |(last, _)| last + 1));
        claims.waiting.retain(|(other, _)| *other < ticket);
        let free = capacity.minus(claims.held());
        let has_room = if alone {
            claims.granted.is_empty()
        } else {
            need.fits(free) && !claims.granted.iter().any(|holder| holder.alone)
        };
        let granted = claims.waiting.is_empty() && has_room;
        Claim {
            ticket,
            granted,
            pid: self.me,
            need,
            alone,
        }
        .write(claim)?;
        if granted {
            return Ok(Answer::Granted);
        }
        let ahead = claims
            .waiting
            .into_iter()
            .map(|(_, claimant)| claimant)
            .collect();
        Ok(Answer::Wait {
            ticket,
            waiting: WaitingFor {
                need,
                alone,
                free,
                holders: claims.granted,
                ahead,
            },
        })
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
struct Wish {
    need: Need,
    /// Until no other process has a fleet.
    alone: bool,
}

enum Answer {
    Granted,
    Wait { ticket: u64, waiting: WaitingFor },
}

#[cfg(test)]
mod tests;
