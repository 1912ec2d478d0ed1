//! Proofs in the store: that a run of a plan was whole and passed, so that what the plan writes was there, byte for byte.

use std::path::Path;

use sanlab_fleet::{FleetSpec, Kind, Store};
use sanlab_plan::Plan;
use sanlab_record::EventKind;
use sanlab_stack::Stack;
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use super::session::{key_of, now, on_blocking_thread};
use super::{KeepPolicy, course};
use crate::Failure;

/// Where the proofs of one plan on one fleet are.
pub(crate) struct Proofs {
    store: Store,
    about: String,
    spec: FleetSpec,
    text: String,
    key: OnceCell<String>,
}

/// A run that proved it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Proof {
    /// For listings: the scenario.
    pub(crate) about: String,
    /// Seconds since 1970.
    pub(crate) made: f64,
    /// The folder of the run.
    pub(crate) run: String,
}

impl Proofs {
    /// Those of a plan that is run on that fleet.
    pub(crate) fn of(store: Store, spec: FleetSpec, plan: &Plan, stack: &Stack) -> Self {
        let (_, text) = course(plan, stack, &KeepPolicy::default());
        Self {
            store,
            about: plan.id.clone(),
            spec,
            text,
            key: OnceCell::new(),
        }
    }

    /// What decides all that a run does: the fleet, and every command and step.
    async fn key(&self) -> Result<&String, Failure> {
        let key = async || {
            let fleet = sanlab_fleet::fingerprint(&self.spec).await?;
            Ok::<_, Failure>(key_of(&fleet, &self.text))
        };
        self.key.get_or_try_init(key).await
    }

    /// The proof, if there is one that can be read.
    pub(crate) async fn find(&self) -> Result<Option<Proof>, Failure> {
        let (store, key) = (self.store.clone(), self.key().await?.clone());
        on_blocking_thread(move || {
            let held = store.hold(Kind::Proof, &key)?;
            // One that is damaged proves nothing, and is made again.
            Ok(held.and_then(|held| held.label().ok()))
        })
        .await
    }

    /// From now on it is proved by the run of that folder.
    pub(crate) async fn keep(&self, run: &Path) -> Result<(), Failure> {
        let proof = Proof {
            about: self.about.clone(),
            made: now(),
            run: run.display().to_string(),
        };
        let (store, key) = (self.store.clone(), self.key().await?.clone());
        on_blocking_thread(move || {
            // Another run proves the same just now.
            let Some(claim) = store.try_claim(Kind::Proof, &key)? else {
                return Ok(());
            };
            store.discard(Kind::Proof, &key)?;
            claim.workspace()?.publish(&proof)?;
            Ok(())
        })
        .await
    }
}

impl Proof {
    /// What is said of it.
    pub(crate) fn event(&self) -> EventKind {
        EventKind::ProvedBefore {
            run: self.run.clone(),
            age_seconds: (now() - self.made).max(0.0),
        }
    }
}

#[cfg(test)]
impl Proofs {
    /// Those under a key of a test's.
    pub(crate) fn under(store: Store, key: &str) -> Self {
        let spec = FleetSpec {
            images: std::collections::BTreeMap::new(),
            networks: vec![sanlab_fleet::NetworkSpec::main(1500)],
            accelerator: sanlab_fleet::AcceleratorWish::Auto,
            qemu: None,
            count_instructions: false,
            logs: std::path::PathBuf::new(),
            start_mode: sanlab_fleet::StartMode::Boot,
            shares_cpus: false,
            disks_survive: false,
            saveable: false,
            volatile_caches: Vec::new(),
            shared_disks: Vec::new(),
            warm: String::new(),
            members: Vec::new(),
            absent: Vec::new(),
        };
        Self {
            store,
            about: "a scenario".to_owned(),
            spec,
            text: String::new(),
            key: OnceCell::new_with(Some(key.to_owned())),
        }
    }
}
