//! The front of the crate: a plan and an environment in, a record out.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use sanlab_fleet::{AcceleratorWish, Image};
use sanlab_plan::{Arch, Plan};
use sanlab_record::{Event, FORMAT, Failure, Outcome, RunRecord};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;

use crate::executor::conduct;
use crate::guests::Guests;
use crate::journal::Journal;
use crate::site::{Site, Teardown};

/// What a run needs beside its plan.
#[derive(Debug, Clone)]
pub struct Environment {
    /// What guests of each architecture boot.
    pub images: BTreeMap<Arch, Image>,
    /// What may execute their instructions.
    pub accelerator: AcceleratorWish,
    /// Where consoles, captures and what is collected go. Made if it does not exist.
    pub out_dir: PathBuf,
    /// Ends the run early as broken, with everything ended in order.
    pub cancel: CancellationToken,
}

/// Runs a plan from boot to teardown. Every event is sent to `events` as it happens, and stands in the record too;
/// that nobody listens does no harm.
///
/// It never panics and never gives up on the teardown: whatever happens, it ends as a record. Dropping the future
/// ends the guests as well, though without their accounts.
pub async fn execute(
    plan: &Plan,
    environment: Environment,
    events: UnboundedSender<Event>,
) -> RunRecord {
    let started = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64();
    let journal = Journal::new(events);
    let Environment {
        images,
        accelerator,
        out_dir,
        cancel,
    } = environment;
    let (notify, notices) = unbounded_channel();
    let guests = Arc::new(Guests::new(
        plan,
        &images,
        accelerator,
        out_dir.clone(),
        notify,
    ));
    let site: Arc<dyn Site> = Arc::clone(&guests) as Arc<dyn Site>;
    let (outcome, teardown) = match sanlab_stack::compose(plan) {
        Ok(stack) => conduct(plan, stack, site, notices, &journal, &out_dir, cancel).await,
        Err(error) => {
            let failure = Failure {
                phase: "plan".to_owned(),
                message: error.to_string(),
            };
            (Outcome::Broken(failure), Teardown::default())
        }
    };
    let told = journal.take();
    RunRecord {
        format: FORMAT,
        scenario: plan.id.clone(),
        title: plan.name.clone(),
        started,
        outcome,
        accelerator: guests.accelerators(),
        images: guests.images(plan),
        qemu_version: guests.qemu_version(),
        mtu: guests.mtu(),
        phases: told.phases,
        events: told.events,
        samples: told.samples,
        nodes: teardown.nodes,
    }
}
