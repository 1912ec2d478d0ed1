//! A fleet that stays up once its layers are, for whoever looks inside.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sanlab_fleet::Node;
use sanlab_record::EventKind;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use crate::Failure;
use crate::backend::guests::Guests;
use crate::engine::event_log::EventLog;

/// Wants the fleet kept up when all layers are, and the first of the plan's steps have been taken.
#[derive(Debug, Clone)]
pub struct Hold {
    /// How many steps are taken before.
    pub steps: usize,
    /// Is told once, when the fleet is ready.
    pub ready: UnboundedSender<HeldFleet>,
    /// Ends it, in order.
    pub release: CancellationToken,
}

/// A fleet that is kept up. It lives no longer than the run.
#[derive(Clone)]
pub struct HeldFleet(Arc<Guests>);

impl HeldFleet {
    /// The nodes that are there, in the plan's order.
    pub fn nodes(&self) -> Vec<Arc<Node>> {
        self.0.nodes()
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
    begun: AtomicBool,
}

impl Holding {
    pub(crate) fn new(hold: Hold, guests: &Arc<Guests>) -> Self {
        Self {
            hold,
            fleet: HeldFleet(Arc::clone(guests)),
            begun: AtomicBool::new(false),
        }
    }

    /// How many steps are taken before.
    pub(crate) fn steps(&self) -> usize {
        self.hold.steps
    }

    /// All is as it is wanted: the fleet stays until it is released.
    pub(crate) async fn stay(&self) {
        self.begun.store(true, Ordering::SeqCst);
        // Nobody need listen.
        let _ = self.hold.ready.send(self.fleet.clone());
        self.hold.release.cancelled().await;
    }

    /// Whether the fleet has been kept up: from then on what fails is told, and ends nothing.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::SeqCst)
    }
}

/// What would end a run that is not held.
pub(crate) fn tell(event_log: &EventLog, failure: &Failure) {
    let message = failure.to_string();
    event_log.tell(None, None, EventKind::Failed { message });
}
