//! Faults of the network that steps have begun: what is done to frames, whose cable is pulled, who is cut off from whom. Each ends
//! with a step, by itself after a time, or when the layers are taken down.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sanlab_fleet::{Impairment, ImpairmentId};
use sanlab_plan::NodeName;
use sanlab_record::{EventKind, Excuse, PhaseName};
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use crate::Failure;
use crate::engine::chance;
use crate::engine::context::RunContext;
use crate::engine::faults::{Broken, Fault};

/// A fault of the network that is to begin.
#[derive(Debug)]
pub(crate) struct NetworkFault {
    /// The label of the step.
    pub(crate) step: String,
    /// In words.
    pub(crate) what: String,
    pub(crate) impairments: Vec<Impairment>,
    /// The node whose cable is pulled.
    pub(crate) pulled: Option<NodeName>,
    /// Who does not reach whom.
    pub(crate) cut_off: Vec<(NodeName, Vec<NodeName>)>,
    /// When it ends by itself.
    pub(crate) lasts: Option<Duration>,
}

/// Those that go on, by the labels of their steps.
#[derive(Default)]
pub(crate) struct NetworkFaults {
    open: Mutex<BTreeMap<String, Open>>,
    /// What ends them by themselves.
    timers: Mutex<BTreeMap<String, AbortOnDropHandle<()>>>,
}

#[derive(Debug, Clone)]
struct Open {
    impaired: Option<ImpairmentId>,
    pulled: Option<NodeName>,
    /// Seconds since the run began.
    since: f64,
}

impl NetworkFaults {
    fn open(&self) -> MutexGuard<'_, BTreeMap<String, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn timers(&self) -> MutexGuard<'_, BTreeMap<String, AbortOnDropHandle<()>>> {
        self.timers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// It begins. What follows from it is excused from now on.
pub(crate) async fn begin(context: &Arc<RunContext>, fault: NetworkFault) -> Result<(), Failure> {
    let NetworkFault {
        step,
        what,
        impairments,
        pulled,
        cut_off,
        lasts,
    } = fault;
    let since = context.now();
    self::cut_off(context, &step, cut_off);
    let impaired = match impose(context, &step, impairments, pulled.as_ref()).await {
        Ok(impaired) => impaired,
        Err(failure) => {
            // What did not begin excuses nothing.
            let at = context.now();
            context.faults(|faults| faults.reunited(&step, at));
            return Err(failure);
        }
    };
    context.event_log.tell(
        Some(PhaseName::step(&step)),
        None,
        EventKind::FaultBegan { what },
    );
    let open = Open {
        impaired,
        pulled,
        since,
    };
    context.network.open().insert(step.clone(), open);
    if let Some(lasts) = lasts {
        let (weak, label) = (Arc::downgrade(context), step.clone());
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
        context.network.timers().insert(step, timer);
    }
    Ok(())
}

/// Has it done to the fleet; what was done before an error is undone.
async fn impose(
    context: &RunContext,
    step: &str,
    impairments: Vec<Impairment>,
    pulled: Option<&NodeName>,
) -> Result<Option<ImpairmentId>, Failure> {
    let impaired = if impairments.is_empty() {
        None
    } else {
        let seed = chance::seed(context.seed, step);
        Some(context.backend.impair(seed, impairments)?)
    };
    if let Some(node) = pulled
        && let Err(failure) = context.backend.set_link(node, false).await
    {
        if let Some(impaired) = impaired {
            context.backend.restore(impaired)?;
        }
        return Err(failure.during(format!("pull the network cable of {node}")));
    }
    Ok(impaired)
}

/// From now on these nodes do not reach those, because of the step of that label.
pub(crate) fn cut_off(context: &RunContext, step: &str, apart: Vec<(NodeName, Vec<NodeName>)>) {
    let since = context.now();
    context.faults(|faults| {
        for (node, from) in apart {
            let excuse = Excuse::Fault {
                step: step.to_owned(),
                node: node.to_string(),
            };
            faults.begins(Fault::new(node, Broken::CutOff { from }, excuse, since));
        }
    });
}

/// It ends; one that has ended already is no error.
pub(crate) async fn end(context: &RunContext, step: &str) -> Result<(), Failure> {
    let open = context.network.open().get(step).cloned();
    let Some(Open {
        impaired,
        pulled,
        since,
    }) = open
    else {
        return Ok(());
    };
    if let Some(impaired) = impaired {
        context.backend.restore(impaired)?;
    }
    if let Some(node) = pulled.filter(|node| context.absence(node).is_none()) {
        let up = context.backend.set_link(&node, true).await;
        up.map_err(|failure| failure.during(format!("plug in the network cable of {node}")))?;
    }
    // Whoever else ended it meanwhile has said so.
    if context.network.open().remove(step).is_some() {
        let at = context.now();
        context.faults(|faults| faults.reunited(step, at));
        let kind = EventKind::FaultEnded {
            step: step.to_owned(),
            seconds: at - since,
        };
        context.event_log.note(None, kind);
    }
    Ok(())
}

/// All that go on end.
pub(crate) async fn end_all(context: &RunContext) -> Result<(), Failure> {
    context.network.timers().clear();
    let steps: Vec<String> = context.network.open().keys().cloned().collect();
    for step in steps {
        end(context, &step).await?;
    }
    Ok(())
}
