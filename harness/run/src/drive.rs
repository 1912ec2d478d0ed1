//! The way through a plan: from nothing or from a checkpoint, layer by layer, step by step, and down again where that is
//! tested.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use sanlab_plan::{Action, NodeName, Step};
use sanlab_record::{EventKind, Origin};
use sanlab_stack::Work;

use crate::checkpoint::{Checkpoint, Progress, Story, checkpoints};
use crate::failure::{Cause, PhaseFailure};
use crate::journal::Scope;
use crate::scene::Scene;
use crate::site::{Beginning, Keeping, Provenance, Started};
use crate::step::{self, Background};
use crate::{Extent, Failure, portrait, tasks};

/// A script that asks almost nothing of a guest.
const SMALL: Duration = Duration::from_secs(20);

/// Boot and layers, or a fork that has them already; steps; and, if the plan says so, the layers down again.
pub(crate) async fn drive(scene: Arc<Scene>) -> Result<(), PhaseFailure> {
    let checkpoints = checkpoints(&scene.plan, &scene.stack, &scene.keep);
    let begun = begin(&scene, &checkpoints).await?;
    let works = scene.stack.up();
    for (layers, work) in (1..).zip(&works).skip(begun.layers) {
        bring_up(&scene, work).await?;
        keep_at(&scene, &checkpoints, Progress { layers, steps: 0 }).await?;
    }
    let layers = works.len();
    let steps = &scene.plan.steps;
    let mut background = Background::new();
    for (place, step) in steps.iter().enumerate().skip(begun.steps) {
        if is_done(scene.extent, steps, place) {
            step::perform(&scene, step, &mut background).await?;
        }
        let steps = place + 1;
        keep_at(&scene, &checkpoints, Progress { layers, steps }).await?;
    }
    step::join_all(&mut background).await?;
    if scene.extent == Extent::Measures {
        return Ok(());
    }
    if let Some(folder) = &scene.portrait {
        in_phase(&scene, "portrait", async |_| {
            portrait::draw(&scene, folder).await
        })
        .await?;
    }
    if !scene.plan.take_down {
        return Ok(());
    }
    in_phase(&scene, "take down", async |scope| {
        for work in scene.stack.down(&scene.there(), &scene.mounted()) {
            tasks::carry_out(&*scene.site, scope, &work).await?;
        }
        Ok(())
    })
    .await
}

/// Whether the step at that place is done by a run of that extent.
fn is_done(extent: Extent, steps: &[Step], place: usize) -> bool {
    let measures = |step: &Step| {
        matches!(
            step.action,
            Action::Throughput(_) | Action::Dd(_) | Action::Write(_)
        )
    };
    let proves = |step: &Step| matches!(step.action, Action::Check(_) | Action::Verify(_));
    match extent {
        Extent::Whole => true,
        Extent::Measures => {
            steps.iter().skip(place).any(measures)
                && steps.get(place).is_some_and(|step| !proves(step))
        }
    }
}

/// Boots the fleet, or forks one that was kept; says how much is done then.
async fn begin(scene: &Scene, checkpoints: &[Checkpoint]) -> Result<Progress, PhaseFailure> {
    loop {
        let mut beginning = Beginning::Nothing;
        in_phase(scene, "prepare", async |_| {
            beginning = scene.site.look(checkpoints).await?;
            Ok(())
        })
        .await?;
        match beginning {
            Beginning::Nothing => {
                boot(scene).await?;
                return Ok(Progress::default());
            }
            Beginning::Fork { done, from, story } => {
                if fork(scene, from, story).await? {
                    return Ok(done);
                }
            }
        }
    }
}

/// Boots the nodes of the start.
async fn boot(scene: &Scene) -> Result<(), PhaseFailure> {
    let at_start: Vec<NodeName> = scene
        .plan
        .at_start()
        .map(|node| node.name.clone())
        .collect();
    in_phase(scene, "boot", async |scope| {
        if let Started::Ready { origin } = scene.site.start().await? {
            scope.came_from(origin);
        }
        scene.arrived(&at_start);
        attend_to_kernel(scene, &at_start).await
    })
    .await
}

/// Brings a layer up.
async fn bring_up(scene: &Scene, work: &Work) -> Result<(), PhaseFailure> {
    in_phase(scene, &format!("layer {}", work.kind), async |scope| {
        tasks::carry_out(&*scene.site, scope, work).await?;
        if work.kind == "mount" {
            scene.has_mounted(&scene.mounted_from_start());
        }
        Ok(())
    })
    .await
}

/// Goes on where a kept fleet stood. `false`: it is not what it was, and has been discarded.
async fn fork(scene: &Scene, from: Provenance, story: Story) -> Result<bool, PhaseFailure> {
    let Provenance {
        checkpoint,
        key,
        age_seconds,
    } = from;
    let mut ready = false;
    in_phase(scene, "fork", async |scope| {
        let kind = match scene.site.start().await? {
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
        let Story { memory, phases } = story;
        scene.recall(memory);
        scene.journal.inherited(phases.into_iter().map(|phase| {
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
    scene: &Scene,
    checkpoints: &[Checkpoint],
    done: Progress,
) -> Result<(), PhaseFailure> {
    for checkpoint in checkpoints
        .iter()
        .filter(|one| one.keep && one.done == done)
    {
        keep(scene, checkpoint).await?;
    }
    Ok(())
}

/// Keeps the fleet, if its kernels have nothing to complain of.
async fn keep(scene: &Scene, checkpoint: &Checkpoint) -> Result<(), PhaseFailure> {
    let phase = format!("keep {}", checkpoint.name);
    in_phase(scene, &phase, async |scope| {
        for (node, log) in scene.consoles() {
            if let Some(finding) = scene.judge.first_finding(&log) {
                return Err(Cause::KernelComplaint { node, finding }.into());
            }
        }
        let story = Story {
            memory: scene.memory(),
            phases: scene.journal.story(),
        };
        let name = checkpoint.name.clone();
        let kind = match scene.site.keep(checkpoint, &story).await? {
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
    scene: &Scene,
    name: &str,
    work: impl AsyncFnOnce(&Scope) -> Result<(), Failure>,
) -> Result<(), PhaseFailure> {
    let scope = scene.journal.phase(name);
    match work(&scope).await {
        Ok(()) => {
            scope.end();
            Ok(())
        }
        Err(failure) => Err(PhaseFailure {
            phase: name.to_owned(),
            failure,
        }),
    }
}

/// Lets the kernels say on their consoles what they say of the cluster, from `notice` on; they boot quiet.
pub(crate) async fn attend_to_kernel(scene: &Scene, nodes: &[NodeName]) -> Result<(), Failure> {
    let loud = nodes
        .iter()
        .map(|node| scene.site.exec(node, "dmesg -n 6", SMALL));
    try_join_all(loud).await?;
    Ok(())
}
