//! A fleet that stays up for whoever looks inside: once its layers are, or when its run has failed.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sanlab_fleet::{FleetError, LiveCapture, Node};
use sanlab_plan::Step;
use sanlab_record::{EventKind, PhaseName};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Mutex, oneshot};
use tokio_util::sync::CancellationToken;

use crate::Failure;
use crate::backend::guests::Guests;
use crate::engine::context::RunContext;
use crate::engine::event_log::EventLog;

/// Wants the fleet kept up.
#[derive(Debug, Clone)]
pub struct Hold {
    /// When.
    pub when: HoldWhen,
    /// Is told once, when the fleet is ready.
    pub ready: UnboundedSender<HeldFleet>,
    /// Ends it, in order.
    pub release: CancellationToken,
}

impl Hold {
    /// Whether the fleet is kept up instead of being put to the plan's test.
    pub fn replaces_steps(&self) -> bool {
        matches!(self.when, HoldWhen::Steps(_) | HoldWhen::Saved)
    }
}

/// When a fleet is kept up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldWhen {
    /// When all layers are up, and so many of the plan's steps have been taken. The rest of the plan is not done.
    Steps(usize),
    /// When the run has failed in a way that is not known, before anything is collected. Its verdict stands by then.
    Failed,
    /// When a fleet that was saved goes on ([`RunOptions::saved`](crate::RunOptions::saved)). What it says of its failure from its
    /// first moment on is no news, and ends nothing.
    Saved,
}

/// A fleet that is kept up. It lives no longer than the run.
#[derive(Clone)]
pub struct HeldFleet {
    guests: Arc<Guests>,
    event_log: EventLog,
    /// Takes steps, unless the run has ended but for its fleet.
    orders: Option<UnboundedSender<StepOrder>>,
}

/// A step that is to be taken, and who waits for it.
pub(crate) struct StepOrder {
    pub(crate) step: Step,
    pub(crate) taken: oneshot::Sender<Result<(), Failure>>,
}

/// Why a step was not taken, or how it failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// Its events would be those of a run that has been judged.
    #[error(
        "the run has failed, and takes no further step: its record would not be that of its scenario"
    )]
    RunFailed,
    /// The fleet is at its end.
    #[error("the fleet is about to end")]
    Ends,
    /// What was done failed.
    #[error("{0}")]
    Failed(String),
}

impl HeldFleet {
    /// The nodes that are there, in the plan's order.
    pub fn nodes(&self) -> Vec<Arc<Node>> {
        self.guests.nodes()
    }

    /// Shows what a node's port on a network carries from now on; without a name, on the first network.
    pub fn watch(&self, node: &str, network: Option<&str>) -> Result<LiveCapture, FleetError> {
        let fleet = self.guests.fleet().ok_or(FleetError::Ended)?;
        let first = || fleet.spec().networks.first().map(|first| &*first.name);
        let network = network.or_else(first).unwrap_or_default();
        fleet.watch(node, network)
    }

    /// Takes a step now. One that goes on in the background is left there, as in a run. Dropping it gives the step up.
    pub async fn take(&self, step: Step) -> Result<(), StepError> {
        let orders = self.orders.as_ref().ok_or(StepError::RunFailed)?;
        let (taken, done) = oneshot::channel();
        let order = StepOrder { step, taken };
        orders.send(order).map_err(|_| StepError::Ends)?;
        let done = done.await.map_err(|_| StepError::Ends)?;
        done.map_err(|failure| StepError::Failed(failure.to_string()))
    }

    /// Tells by what name it is asked, how long it stays, and how to get at it.
    pub fn announce(&self, fleet: &str, seconds: f64, attach: &str) {
        let held = EventKind::Held {
            fleet: fleet.to_owned(),
            seconds,
            attach: attach.to_owned(),
        };
        self.event_log.tell(Some(PhaseName::Hold), None, held);
    }
}

impl fmt::Debug for HeldFleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes = self.nodes();
        let names = nodes.iter().map(|node| node.name().to_owned());
        f.debug_list().entries(names).finish()
    }
}

/// A run's part of it.
pub(crate) struct Holding {
    hold: Hold,
    fleet: HeldFleet,
    orders: Mutex<UnboundedReceiver<StepOrder>>,
    begun: AtomicBool,
}

impl Holding {
    pub(crate) fn new(hold: Hold, guests: &Arc<Guests>, event_log: &EventLog) -> Self {
        let (sender, orders) = unbounded_channel();
        let takes_steps = matches!(hold.when, HoldWhen::Steps(_));
        Self {
            hold,
            fleet: HeldFleet {
                guests: Arc::clone(guests),
                event_log: event_log.clone(),
                orders: takes_steps.then_some(sender),
            },
            orders: Mutex::new(orders),
            begun: AtomicBool::new(false),
        }
    }

    /// When it is to be.
    pub(crate) fn when(&self) -> HoldWhen {
        self.hold.when
    }

    /// Whether there is something to be kept.
    pub(crate) fn has_nodes(&self) -> bool {
        !self.fleet.nodes().is_empty()
    }

    /// All is as it is wanted.
    pub(crate) fn begin(&self) {
        self.begun.store(true, Ordering::SeqCst);
        // Nobody need listen.
        let _ = self.hold.ready.send(self.fleet.clone());
    }

    /// Whether the fleet has been kept up: from then on what fails is told, and ends nothing.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::SeqCst)
    }

    /// The next step that is to be taken; none: the fleet's end is wanted.
    pub(crate) async fn order(&self) -> Option<StepOrder> {
        let mut orders = self.orders.lock().await;
        tokio::select! {
            biased;
            () = self.released() => None,
            Some(order) = orders.recv() => Some(order),
            // No step can be asked for.
            else => std::future::pending().await,
        }
    }

    /// Its end is wanted.
    pub(crate) async fn released(&self) {
        self.hold.release.cancelled().await;
    }
}

/// Whether what fails is told and ends nothing: of a fleet that is kept up, or that goes on from where it had failed.
pub(crate) fn only_tells(context: &RunContext) -> bool {
    let is_saved = |hold: &Holding| hold.when() == HoldWhen::Saved;
    context.is_held() || context.hold.as_ref().is_some_and(is_saved)
}

/// What would end a run that is not held.
pub(crate) fn tell(event_log: &EventLog, failure: &Failure) {
    let message = failure.to_string();
    event_log.tell(None, None, EventKind::Failed { message });
}
