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
    fn read(registry: &Locked) -> Result<Self, FleetError> {
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
            let name = run
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let claimant = Claimant {
                run: name,
                pid: claim.pid,
                need: claim.need,
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
        }
    }

    /// What there is to share: nine tenths of the memory that is available when no fleet runs, and all CPUs. It may wait for
    /// a lock.
    pub fn capacity(&self) -> Result<Need, FleetError> {
        let registry = self.registry.lock()?;
        let claims = Claims::read(&registry)?;
        (self.look)()?.when_idle(&registry, claims.granted.is_empty())
    }

    /// What running fleets hold now.
    pub fn holders(&self) -> Result<Vec<Claimant>, FleetError> {
        Ok(Claims::read(&self.registry.lock()?)?.granted)
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
                match self.ask(&registry, &claim, need, ticket)? {
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
        need: Need,
        ticket: Option<u64>,
    ) -> Result<Answer, FleetError> {
        let mut claims = Claims::read(registry)?;
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
        let granted = claims.waiting.is_empty() && need.fits(free);
        Claim {
            ticket,
            granted,
            pid: std::process::id(),
            need,
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
                free,
                holders: claims.granted,
                ahead,
            },
        })
    }
}

enum Answer {
    Granted,
    Wait { ticket: u64, waiting: WaitingFor },
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};

    const SECOND: Duration = Duration::from_secs(1);
    const LONG: Duration = Duration::from_secs(20);

    fn budget(cpus: u64) -> (tempfile::TempDir, Registry, Budget) {
        let dir = tempfile::tempdir().unwrap();
        let (registry, _) = Registry::at(dir.path().join("runs")).unwrap();
        let budget = Budget::with_capacity(
            &registry,
            Need {
                memory_mib: 1000,
                cpus,
            },
        );
        (dir, registry, budget)
    }

    fn need(memory_mib: u64, cpus: u64) -> Need {
        Need { memory_mib, cpus }
    }

    #[tokio::test]
    async fn what_fits_is_granted_at_once_and_the_rest_waits() {
        let (_dir, registry, budget) = budget(4);
        let runs = [
            registry.create_run().unwrap(),
            registry.create_run().unwrap(),
            registry.create_run().unwrap(),
        ];
        let first = budget
            .acquire(&runs[0], need(400, 2), SECOND, |_| panic!("there is room"))
            .await
            .unwrap();
        let _second = budget
            .acquire(&runs[1], need(400, 1), SECOND, |_| panic!("there is room"))
            .await
            .unwrap();

        let heard = Mutex::new(Vec::new());
        let on_wait = |waiting: &WaitingFor| heard.lock().unwrap().push(waiting.to_string());
        let error = budget
            .acquire(&runs[2], need(300, 1), SECOND / 2, on_wait)
            .await
            .unwrap_err()
            .to_string();
        let hide = |text: &str| {
            let names = [
                (runs[0].name(), "FIRST"),
                (runs[1].name(), "SECOND"),
                (std::process::id().to_string(), "PID"),
            ];
            names
                .iter()
                .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
        };
        // Holders are listed by folder name, which is random.
        let error = hide(&error);
        assert!(error.starts_with("get a place for the fleet within 0 s: waiting for 300 MiB and 1 CPU; free: 200 MiB and 1 CPU; held by run "), "{error}");
        assert!(
            error.contains("run FIRST (process PID): 400 MiB and 2 CPUs"),
            "{error}"
        );
        assert_eq!(heard.into_inner().unwrap().len(), 1);

        drop(first);
        budget
            .acquire(&runs[2], need(300, 1), SECOND, |_| panic!("there is room"))
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn larger_than_the_machine_is_an_error_at_once() {
        let (_dir, registry, budget) = budget(2);
        let (small, large) = (
            registry.create_run().unwrap(),
            registry.create_run().unwrap(),
        );
        let _permit = budget
            .acquire(&small, need(900, 2), LONG, |_| {})
            .await
            .unwrap();
        let error = budget
            .acquire(&large, need(1001, 1), LONG, |_| {})
            .await
            .unwrap_err()
            .to_string();
        insta::assert_snapshot!(error, @"start a fleet that needs 1001 MiB and 1 CPU: this machine has 1000 MiB and 2 CPUs to give");
    }

    /// A machine whose other programs leave what is in the cell.
    fn beside_others(registry: &Registry, memory_mib: Arc<AtomicU64>) -> Budget {
        let look = move || {
            Ok(Capacity {
                most: need(1000, 2),
                available: need(memory_mib.load(Ordering::SeqCst), 2),
            })
        };
        Budget::looking(registry, look)
    }

    #[tokio::test]
    async fn memory_that_other_programs_have_is_awaited() {
        let (_dir, registry, _) = budget(2);
        let run = registry.create_run().unwrap();
        let free = Arc::new(AtomicU64::new(300));
        let budget = beside_others(&registry, Arc::clone(&free));
        let heard = Mutex::new(Vec::new());
        // A little more is given back each time that is looked, and nobody is told of that.
        let given_back = {
            let (free, look) = (Arc::clone(&free), Arc::clone(&budget.look));
            move || {
                free.fetch_add(100, Ordering::SeqCst);
                look()
            }
        };
        let budget = Budget {
            look: Arc::new(given_back),
            ..budget
        };
        let on_wait = |waiting: &WaitingFor| heard.lock().unwrap().push(waiting.to_string());
        budget
            .acquire(&run, need(600, 1), LONG, on_wait)
            .await
            .unwrap();
        let heard = heard.into_inner().unwrap();
        assert_eq!(
            heard,
            ["600 MiB and 1 CPU; free: 400 MiB and 2 CPUs; other programs use the rest"]
        );
        assert_eq!(free.load(Ordering::SeqCst), 600);
    }

    #[tokio::test]
    async fn memory_that_other_programs_keep_is_not_awaited_for_ever() {
        let (_dir, registry, _) = budget(2);
        let run = registry.create_run().unwrap();
        let budget = Budget {
            other_programs: SECOND / 4,
            ..beside_others(&registry, Arc::new(AtomicU64::new(300)))
        };
        let asked = budget.acquire(&run, need(600, 1), LONG, |_| ()).await;
        assert!(matches!(asked, Err(FleetError::NoRoom { .. })), "{asked:?}");
        let asked = budget.acquire(&run, need(1001, 1), LONG, |_| ()).await;
        assert!(
            matches!(asked, Err(FleetError::TooLarge { .. })),
            "{asked:?}"
        );
    }

    #[tokio::test]
    async fn a_small_fleet_does_not_overtake_a_large_one() {
        let (_dir, registry, budget) = budget(4);
        let runs: Vec<_> = (0..3).map(|_| registry.create_run().unwrap()).collect();
        let holder = budget
            .acquire(&runs[0], need(600, 1), LONG, |_| {})
            .await
            .unwrap();
        let order = Mutex::new(Vec::new());
        let (queued, is_queued) = tokio::sync::oneshot::channel();
        let queued = Mutex::new(Some(queued));
        let large = async {
            let on_wait = |_: &WaitingFor| {
                if let Some(queued) = queued.lock().unwrap().take() {
                    queued.send(()).unwrap();
                }
            };
            let permit = budget
                .acquire(&runs[1], need(900, 1), LONG, on_wait)
                .await
                .unwrap();
            order.lock().unwrap().push("large");
            drop(permit);
        };
        let small = async {
            is_queued.await.unwrap();
            let held = Mutex::new(Some(holder));
            let on_wait = |waiting: &WaitingFor| {
                // It would fit beside the holder, but somebody is before it; now the holder may go.
                assert!(need(100, 1).fits(waiting.free) && waiting.ahead.len() <= 1);
                drop(held.lock().unwrap().take());
            };
            let permit = budget
                .acquire(&runs[2], need(101, 1), LONG, on_wait)
                .await
                .unwrap();
            order.lock().unwrap().push("small");
            drop(permit);
        };
        tokio::join!(large, small);
        assert_eq!(order.into_inner().unwrap(), ["large", "small"]);
    }

    #[tokio::test]
    async fn claims_of_the_dead_do_not_count() {
        let (_dir, registry, budget) = budget(2);
        let dead = registry.path().join("dead00");
        fs_err::create_dir(&dead).unwrap();
        fs_err::write(dead.join("lock"), "").unwrap();
        Claim {
            ticket: 0,
            granted: true,
            pid: 1,
            need: need(1000, 2),
        }
        .write(&dead.join(CLAIM))
        .unwrap();
        let run = registry.create_run().unwrap();
        budget
            .acquire(&run, need(1000, 2), SECOND, |_| panic!("nobody lives"))
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_cancelled_wait_leaves_the_queue() {
        let (_dir, registry, budget) = budget(2);
        let (holder, waiter) = (
            registry.create_run().unwrap(),
            registry.create_run().unwrap(),
        );
        let _permit = budget
            .acquire(&holder, need(1, 2), SECOND, |_| {})
            .await
            .unwrap();
        let waiting = budget.acquire(&waiter, need(1, 1), LONG, |_| {});
        assert!(tokio::time::timeout(SECOND / 4, waiting).await.is_err());
        assert!(!waiter.path().join(CLAIM).exists());
    }
}
