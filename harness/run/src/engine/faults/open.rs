//! Faults that steps have begun and that go on: of the network, of disks, of clocks, of memory. Each ends with a step, by itself after
//! a time, with the power of its nodes, or when the layers are taken down.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sanlab_fleet::Impaired;
use sanlab_plan::NodeName;
use sanlab_record::{EventKind, PhaseName};
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use crate::Failure;
use crate::engine::context::RunContext;
use crate::engine::faults::network::Cables;
use crate::engine::faults::{network, nodes};

/// Those that go on, by the labels of their steps.
#[derive(Default)]
pub(crate) struct OpenFaults {
    open: Mutex<BTreeMap<String, Open>>,
    /// What ends them by themselves.
    timers: Mutex<BTreeMap<String, AbortOnDropHandle<()>>>,
    /// Held while one is ended: what is undone is undone once, and who ends one that somebody else is ending waits for that.
    ending: AsyncMutex<()>,
}

#[derive(Debug, Clone)]
struct Open {
    undo: Undo,
    /// Seconds since the run began.
    since: f64,
}

/// How one ends.
#[derive(Debug, Clone)]
pub(crate) enum Undo {
    /// The switch does no more to frames, and a cable is plugged in.
    Network {
        impaired: Option<Impaired>,
        pulled: Option<Cables>,
    },
    /// Each of these nodes runs a script.
    Nodes { on: Vec<NodeName>, mend: Mend },
}

/// Gives the script that makes a node whole again on which something has been broken for so many seconds.
#[derive(Clone)]
pub(crate) struct Mend(Arc<dyn Fn(f64) -> String + Send + Sync>);

impl Mend {
    pub(crate) fn new(script: impl Fn(f64) -> String + Send + Sync + 'static) -> Self {
        Self(Arc::new(script))
    }

    pub(crate) fn script(&self, seconds: f64) -> String {
        (self.0)(seconds)
    }
}

impl fmt::Debug for Mend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mend")
    }
}

impl OpenFaults {
    fn open(&self) -> MutexGuard<'_, BTreeMap<String, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn timers(&self) -> MutexGuard<'_, BTreeMap<String, AbortOnDropHandle<()>>> {
        self.timers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// That node is whole again, or has lost its power, which makes it so: nothing is left to be done there for the step.
    pub(crate) fn leaves(&self, step: &str, node: &NodeName) {
        if let Some(Open {
            undo: Undo::Nodes { on, .. },
            ..
        }) = self.open().get_mut(step)
        {
            on.retain(|one| one != node);
        }
    }

    /// That node loses its power: what is broken on it comes up whole. Gives the steps of which nothing goes on any more, and since
    /// when it did.
    pub(crate) fn powered_off(&self, node: &NodeName) -> Vec<(String, f64)> {
        let mut ended = Vec::new();
        self.open().retain(|step, open| {
            let Undo::Nodes { on, .. } = &mut open.undo else {
                return true;
            };
            let before = on.len();
            on.retain(|one| one != node);
            let goes_on = !on.is_empty() || before == 0;
            if !goes_on {
                ended.push((step.clone(), open.since));
            }
            goes_on
        });
        ended
    }
}

/// It has begun: it is told, and ends in time.
pub(crate) fn began(
    context: &Arc<RunContext>,
    step: &str,
    (what, undo): (String, Undo),
    since: f64,
    lasts: Option<Duration>,
) {
    context.event_log.tell(
        Some(PhaseName::step(step)),
        None,
        EventKind::FaultBegan { what },
    );
    let faults = &context.open_faults;
    faults.open().insert(step.to_owned(), Open { undo, since });
    let Some(lasts) = lasts else { return };
    let (weak, label) = (Arc::downgrade(context), step.to_owned());
    let timer = tokio::spawn(async move {
        sleep(lasts).await;
        if let Some(context) = weak.upgrade()
            && let Err(failure) = end(&context, &label).await
        {
            // It goes on: whoever ends it next says why if that fails, too.
            let text = format!("the fault of step {label} does not end: {failure}");
            context.event_log.note(None, EventKind::Progress { text });
        }
    });
    let timer = AbortOnDropHandle::new(timer);
    faults.timers().insert(step.to_owned(), timer);
}

/// It ends; one that has ended already is no error.
pub(crate) async fn end(context: &RunContext, step: &str) -> Result<(), Failure> {
    let faults = &context.open_faults;
    let _ending = faults.ending.lock().await;
    let open = faults.open().get(step).cloned();
    let Some(Open { undo, since }) = open else {
        return Ok(());
    };
    match undo {
        Undo::Network { impaired, pulled } => network::undo(context, impaired, pulled).await?,
        Undo::Nodes { on, mend } => {
            let script = mend.script(context.now() - since);
            nodes::mend(context, step, &on, &script).await?;
        }
    }
    // The loss of its last node may have ended it meanwhile.
    if faults.open().remove(step).is_some() {
        ended(context, step, since);
    }
    Ok(())
}

/// It has ended.
pub(crate) fn ended(context: &RunContext, step: &str, since: f64) {
    let at = context.now();
    context.faults(|faults| faults.whole_again(step, at));
    let kind = EventKind::FaultEnded {
        step: step.to_owned(),
        seconds: at - since,
    };
    context.event_log.note(None, kind);
}

/// All that go on end.
pub(crate) async fn end_all(context: &RunContext) -> Result<(), Failure> {
    let steps: Vec<String> = context.open_faults.open().keys().cloned().collect();
    for step in steps {
        end(context, &step).await?;
    }
    context.open_faults.timers().clear();
    Ok(())
}
