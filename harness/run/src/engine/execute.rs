//! The front of the crate: a plan and an environment in, a record out.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use sanlab_plan::{PlacedLayer, Plan};
use sanlab_record::{Event, FORMAT, LayerUse, RunRecord};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::backend::FleetBackend;
use crate::backend::guests::Guests;
use crate::checkpoint::proof::Proofs;
use crate::engine::context::RunContext;
use crate::engine::environment::Environment;
use crate::engine::event_log::EventLog;
use crate::engine::executor::run_plan;
use crate::engine::hold::Holding;
use crate::engine::host::host;
use crate::evidence::source_lines::Sources;

/// Runs a plan from boot to teardown. Every event is sent to `events` as it happens, and stands in the record too;
/// that nobody listens does no harm, and no more waits for a slow listener than the record keeps.
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
    // What is in it has a bound: console lines have a room that they share, and of events there are a few for each start, end
    // and failure of a machine, the first of which ends the run.
    let (notify, notices) = unbounded_channel();
    let stack = sanlab_stack::compose(plan);
    let guests = Arc::new(Guests::new(plan, &environment, notify));
    let Environment {
        images,
        out_dir,
        store,
        options,
    } = environment;
    // Each run of an exploration is another plan, which nobody compares.
    let proofs = (!plan.fresh && options.exploration.is_none())
        .then(|| Proofs::of(store.clone(), guests.spec.clone(), plan, &stack));
    let hold = options.hold.clone();
    let backend: Arc<dyn FleetBackend> = Arc::clone(&guests) as Arc<dyn FleetBackend>;
    let mut context = RunContext::new(
        plan.clone(),
        stack,
        backend,
        event_log.clone(),
        options.clone(),
    );
    context.proofs = proofs;
    context.hold = hold.map(|hold| Holding::new(hold, &guests, &event_log));
    // Boxed, since it holds the whole context.
    let mut finished = Box::pin(run_plan(context, notices, &out_dir)).await;
    let sources = Sources {
        plan,
        images: &images,
        store: &store,
        tails: &finished.console_tail,
        out_dir: &out_dir,
        event_log: &event_log,
    };
    sources
        .add_to(&mut finished.findings, &finished.outcome)
        .await;
    let told = event_log.take();
    RunRecord {
        format: FORMAT,
        scenario: plan.id.clone(),
        title: plan.name.clone(),
        started,
        seed: options.seed,
        outcome: finished.outcome,
        accelerator: guests.accelerators(),
        images: guests.images(plan),
        qemu_version: guests.qemu_version(),
        mtu: guests.mtu(),
        host: host(),
        stack: plan.layers.iter().map(layer_use).collect(),
        settings: options.settings,
        comparison: options.comparison,
        exploration: options.exploration,
        phases: told.phases,
        events: told.events,
        samples: told.samples,
        measurements: told.measurements,
        dips: told.dips,
        findings: finished.findings,
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
