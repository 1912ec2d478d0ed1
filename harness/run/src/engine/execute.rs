//! The front of the crate: a plan and an environment in, a record out.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use sanlab_fleet::{AcceleratorWish, Image, Store};
use sanlab_plan::{Arch, PlacedLayer, Plan};
use sanlab_record::{Event, FORMAT, LayerUse, RunRecord};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;

use crate::backend::FleetBackend;
use crate::backend::guests::Guests;
use crate::checkpoint::KeepPolicy;
use crate::engine::context::RunContext;
use crate::engine::event_log::EventLog;
use crate::engine::executor::run_plan;
use crate::engine::host::host;

/// How much of a plan a run does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    #[default]
    Whole,
    /// What must be done to measure: nothing is read back (`check` and `verify` are left out, and `throughput` does not look
    /// for what it wrote), the run ends after its last `throughput`, `dd` or `write`, and the layers are never taken down. For
    /// repetitions of a plan that has been proved whole.
    Measures,
}

/// What a run needs beside its plan.
#[derive(Debug, Clone)]
pub struct Environment {
    /// What guests of each architecture boot.
    pub images: BTreeMap<Arch, Image>,
    /// What may execute their instructions.
    pub accelerator: AcceleratorWish,
    /// Where consoles, captures and what is collected go. Made if it does not exist.
    pub out_dir: PathBuf,
    /// Where templates and checkpoints are kept.
    pub store: Store,
    /// Which checkpoints are kept beside the usual ones.
    pub keep: KeepPolicy,
    /// Also write what the fleet is like at the end of its steps, to [`STATE_DUMP`](crate::STATE_DUMP) in `out_dir`.
    pub state_dump: bool,
    /// What random moments are drawn from.
    pub seed: u64,
    /// What the record says that this run was given in place of what the scenario's file says.
    pub settings: BTreeMap<String, String>,
    /// A folder with QEMU's programs (`qemu-system-x86_64`, `qemu-system-i386`), instead of those of the host.
    pub qemu: Option<PathBuf>,
    /// Whether guests' instructions are counted; it makes translated guests a little slower. Without a choice they are where
    /// the plan has a throughput step.
    pub count_instructions: Option<bool>,
    /// How much of the plan is done.
    pub extent: Extent,
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
    let event_log = EventLog::new(events);
    let (notify, notices) = unbounded_channel();
    let stack = sanlab_stack::compose(plan);
    let guests = Arc::new(Guests::new(plan, &environment, notify));
    let Environment {
        out_dir,
        cancel,
        state_dump,
        seed,
        settings,
        extent,
        keep,
        ..
    } = environment;
    let backend: Arc<dyn FleetBackend> = Arc::clone(&guests) as Arc<dyn FleetBackend>;
    let context = RunContext::new(plan.clone(), stack, backend, event_log.clone())
        .with_seed(seed)
        .with_extent(extent)
        .with_policy(keep);
    let context = if state_dump {
        context.with_state_dump(&out_dir)
    } else {
        context
    };
    let finished = run_plan(context, notices, &out_dir, cancel).await;
    let told = event_log.take();
    RunRecord {
        format: FORMAT,
        scenario: plan.id.clone(),
        title: plan.name.clone(),
        started,
        seed,
        outcome: finished.outcome,
        accelerator: guests.accelerators(),
        images: guests.images(plan),
        qemu_version: guests.qemu_version(),
        mtu: guests.mtu(),
        host: host(),
        stack: plan.layers.iter().map(layer_use).collect(),
        settings,
        phases: told.phases,
        events: told.events,
        samples: told.samples,
        measurements: told.measurements,
        dips: told.dips,
        timeline: finished.timeline,
        console_tail: finished.console_tail,
        nodes: finished.teardown.nodes,
    }
}

/// A layer as the record has it.
fn layer_use(placed: &PlacedLayer) -> LayerUse {
    let parameters = placed.layer.parameters().into_iter();
    LayerUse {
        kind: placed.layer.kind().as_str().to_owned(),
        on: placed.on.iter().map(ToString::to_string).collect(),
        parameters: parameters
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
    }
}
