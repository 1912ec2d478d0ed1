//! The way through a plan: from nothing or from a checkpoint, layer by layer, step by step, and down again where that is
//! tested.

use std::path::PathBuf;
use std::sync::Arc;

use sanlab_plan::{Action, Figures, NodeName, Step};
use sanlab_record::{EventKind, Origin, PhaseName};
use sanlab_stack::{Work, WorkKind};

use crate::backend::{Keeping, Provenance, StartPoint, Started};
use crate::checkpoint::{Checkpoint, CheckpointMeta, Progress, checkpoints};
use crate::engine::context::RunContext;
use crate::engine::event_log::Scope;
use crate::engine::faults::open;
use crate::engine::hold::{HoldWhen, Holding, StepOrder};
use crate::engine::{console_sync, tasks};
use crate::evidence::{end_check, state_dump};
use crate::failure::{Cause, PhaseFailure};
use crate::steps::{self, Background};
use crate::{Extent, Failure};

/// Boot and layers, or a fork that has them already; steps; and, if the plan says so, the layers down again. A fleet that is to be
/// kept up stays after the steps that are wanted. A state dump is left in `out_dir`.
pub(crate) async fn drive(context: Arc<RunContext>, out_dir: PathBuf) -> Result<(), PhaseFailure> {
    let mut checkpoints = checkpoints(&context.plan, &context.stack, &context.options.keep);
    let all = context.plan.steps.len();
    let hold = context.hold.as_ref();
    let hold = hold.and_then(|hold| match hold.when() {
        HoldWhen::Steps(steps) => Some((hold, steps)),
        HoldWhen::Saved => Some((hold, 0)),
        HoldWhen::Failed => None,
    });
    let wanted = hold.map_or(all, |(_, steps)| steps);
    // A fork of another would be beyond what is wanted.
    checkpoints.retain(|checkpoint| checkpoint.done.steps <= wanted);
    let begun = begin(&context, &checkpoints).await?;
    let works = context.stack.up();
    for (layers, work) in (1..).zip(&works).skip(begun.layers) {
        bring_up(&context, work).await?;
        keep_at(&context, &checkpoints, Progress { layers, steps: 0 }).await?;
    }
    let layers = works.len();
    let steps = &context.plan.steps;
    let mut background = Background::new();
    for (place, step) in steps.iter().enumerate().take(wanted).skip(begun.steps) {
        if is_done(context.extent(), steps, place) {
            steps::perform(&context, step, &mut background).await?;
        }
        let steps = place + 1;
        keep_at(&context, &checkpoints, Progress { layers, steps }).await?;
    }
    if let Some((hold, _)) = hold {
        return in_phase(&context, PhaseName::Hold, async |_| {
            stay(&context, hold, &mut background).await;
            Ok(())
        })
        .await;
    }
    steps::join_all(&mut background).await?;
    if context.extent() == Extent::Measures {
        return Ok(());
    }
    in_phase(&context, PhaseName::EndCheck, async |scope| {
        end_check::perform(&context, scope).await
    })
    .await?;
    if context.options.state_dump {
        in_phase(&context, PhaseName::StateDump, async |_| {
            state_dump::write(&context, &out_dir).await
        })
        .await?;
    }
    if !context.plan.take_down {
        return Ok(());
    }
    in_phase(&context, PhaseName::TakeDown, async |scope| {
        context.takes_down();
        open::end_all(&context).await?;
        for work in context.stack.down(&context.there(), &context.mounted()) {
            tasks::carry_out(&*context.backend, scope, &work).await?;
        }
        console_sync::catch_up(&context, &context.there(), |_| String::new()).await?;
        Ok(())
    })
    .await
}

/// Keeps the fleet up until it is released, and takes the steps that it is asked for, one at a time.
async fn stay(context: &Arc<RunContext>, hold: &Holding, background: &mut Background) {
    hold.begin();
    while let Some(StepOrder { step, mut taken }) = hold.order().await {
        let done = tokio::select! {
            done = steps::perform(context, &step, background) => done,
            // Who asked is gone, or all ends: the step is given up.
            () = taken.closed() => continue,
            () = hold.released() => return,
        };
        // The same.
        let _ = taken.send(done.map_err(|failed| failed.failure));
    }
}

/// Whether the step at that place is done by a run of that extent.
fn is_done(extent: Extent, steps: &[Step], place: usize) -> bool {
    let measures = |step: &Step| step.action.figures() != Figures::None;
    let proves = |step: &Step| matches!(step.action, Action::Check(_) | Action::Verify(_));
    match extent {
        Extent::Whole | Extent::UnlessProved => true,
        Extent::Measures => {
            steps.iter().skip(place).any(measures)
                && steps.get(place).is_some_and(|step| !proves(step))
        }
    }
}

/// Boots the fleet, or forks one that was kept; says how much is done then.
async fn begin(context: &RunContext, checkpoints: &[Checkpoint]) -> Result<Progress, PhaseFailure> {
    let _incomplete = context.assembly.write().await;
    loop {
        let mut start_point = StartPoint::Nothing;
        in_phase(context, PhaseName::Prepare, async |scope| {
            if let Some(proof) = context.settle_extent().await? {
                scope.say(None, proof.event());
            }
            start_point = context.backend.look(checkpoints).await?;
            Ok(())
        })
        .await?;
        match start_point {
            StartPoint::Nothing => {
                boot(context).await?;
                return Ok(Progress::default());
            }
            StartPoint::Fork { done, from, meta } => {
                if fork(context, from, *meta).await? {
                    return Ok(done);
                }
            }
        }
    }
}

/// Boots the nodes of the start.
async fn boot(context: &RunContext) -> Result<(), PhaseFailure> {
    let at_start: Vec<NodeName> = context
        .plan
        .at_start()
        .map(|node| node.name.clone())
        .collect();
    in_phase(context, PhaseName::Boot, async |scope| {
        if let Started::Ready { origin } = context.backend.start().await? {
            scope.came_from(origin);
        }
        context.arrived(&at_start);
        context.show_kernel_log(&at_start).await
    })
    .await
}

/// Brings a layer up.
async fn bring_up(context: &RunContext, work: &Work) -> Result<(), PhaseFailure> {
    in_phase(context, PhaseName::layer(work.kind), async |scope| {
        tasks::carry_out(&*context.backend, scope, work).await?;
        if work.kind == WorkKind::Mount {
            context.has_mounted(&context.mounted_from_start());
        }
        Ok(())
    })
    .await
}

/// Goes on where a kept fleet stood. `false`: it is not what it was, and has been discarded.
async fn fork(
    context: &RunContext,
    from: Provenance,
    meta: CheckpointMeta,
) -> Result<bool, PhaseFailure> {
    let Provenance {
        checkpoint,
        key,
        age_seconds,
    } = from;
    let mut ready = false;
    in_phase(context, PhaseName::Fork, async |scope| {
        let kind = match context.backend.start().await? {
            Started::Ready { .. } => {
                ready = true;
                EventKind::Forked {
                    checkpoint: checkpoint.clone(),
                    key: key.clone(),
                    age_seconds,
                }
            }
            Started::Discarded { key, reason } => EventKind::Discarded {
                kind: "checkpoint".to_owned(),
                key,
                reason,
            },
        };
        scope.say(None, kind);
        Ok(())
    })
    .await?;
    if ready {
        let CheckpointMeta { state, phases } = meta;
        context.recall(state);
        context.event_log.inherited(phases.into_iter().map(|phase| {
            let origin = Origin::Forked {
                key: key.clone(),
                age_seconds,
                built_seconds: phase.seconds,
            };
            (phase.name, origin)
        }));
    }
    Ok(ready)
}

/// Keeps the fleet if the plan has come to a checkpoint that this run keeps.
async fn keep_at(
    context: &RunContext,
    checkpoints: &[Checkpoint],
    done: Progress,
) -> Result<(), PhaseFailure> {
    for checkpoint in checkpoints
        .iter()
        .filter(|one| one.keep && one.done == done)
    {
        keep(context, checkpoint).await?;
    }
    Ok(())
}

/// Keeps the fleet, if its kernels have nothing to complain of.
async fn keep(context: &RunContext, checkpoint: &Checkpoint) -> Result<(), PhaseFailure> {
    let phase = PhaseName::Keep(checkpoint.name.clone());
    in_phase(context, phase, async |scope| {
        console_sync::catch_up(context, &context.there(), |_| String::new()).await?;
        let counting = context.counting();
        if !counting.is_empty() {
            return Err(Cause::Evidence(counting).into());
        }
        let meta = CheckpointMeta {
            state: context.state(),
            phases: context.event_log.phases_done(),
        };
        let name = checkpoint.name.clone();
        let _incomplete = context.assembly.write().await;
        let kind = match context.backend.keep(checkpoint, &meta).await? {
            Keeping::Kept {
                key,
                seconds,
                bytes,
            } => EventKind::Kept {
                checkpoint: name,
                key,
                seconds,
                bytes,
            },
            Keeping::NotKept { reason } => EventKind::NotKept {
                checkpoint: name,
                reason,
            },
        };
        scope.say(None, kind);
        Ok(())
    })
    .await
}

async fn in_phase(
    context: &RunContext,
    name: PhaseName,
    work: impl AsyncFnOnce(&Scope) -> Result<(), Failure>,
) -> Result<(), PhaseFailure> {
    let scope = context.event_log.phase(name);
    let done = work(&scope).await;
    scope.finish(done)
}
