//! `crash`: a node ends without warning, at a moment that the run's seed draws.

use std::time::Duration;

use sanlab_fleet::CacheDraw;
use sanlab_plan::{CacheFate, Crash, CrashKind};
use sanlab_record::EventKind;
use tokio::time::sleep;

use super::Doing;
use crate::Failure;
use crate::engine::chance;
use crate::engine::faults::down::DownReason;
use crate::failure::Cause;

pub(super) async fn perform(doing: Doing<'_>, crash: &Crash) -> Result<(), Failure> {
    let Doing {
        context,
        step,
        scope,
    } = doing;
    let Crash {
        node, how, within, ..
    } = crash;
    let moment = chance::moment(context.options.seed, step.label.as_str(), *within);
    if moment > Duration::ZERO {
        scope.progress(
            Some(node),
            format!(
                "crashes in {:.3} s (seed {})",
                moment.as_secs_f64(),
                context.options.seed
            ),
        );
        sleep((step.after + moment).saturating_sub(scope.elapsed())).await;
    }
    // Who is asked for this node's power meanwhile waits for this.
    let switch = context.power.lock().await;
    if !context.departs(node, DownReason::Step(step.label.to_string())) {
        let down = Failure::from(Cause::NodeDown {
            node: node.clone(),
            why: context.down(node).map(|down| down.reason),
            failure: None,
        });
        return Err(down.during(format!("crash {node}: it is not there any more")));
    }
    scope.say(
        Some(node),
        EventKind::Crashed {
            how: match how {
                CrashKind::Power => sanlab_record::CrashKind::Power,
                CrashKind::Panic => sanlab_record::CrashKind::Panic,
            },
            after_seconds: scope.elapsed().as_secs_f64(),
        },
    );
    let gone = context.backend.crash(node, *how).await;
    gone.map_err(|failure| failure.during(format!("crash {node}")))?;
    drop(switch);
    if crash.cache == CacheFate::Lost {
        lose_write_cache(doing, crash).await?;
    }
    Ok(())
}

/// Its disk is now what the loss of power left of it.
async fn lose_write_cache(doing: Doing<'_>, crash: &Crash) -> Result<(), Failure> {
    let Doing {
        context,
        step,
        scope,
    } = doing;
    let Crash { node, torn, .. } = crash;
    let draw = CacheDraw {
        seed: chance::seed(
            context.options.seed,
            &format!("write cache, {}", step.label),
        ),
        torn: *torn,
    };
    let lost = context.backend.lose_write_cache(node, draw).await;
    let lost = lost.map_err(|failure| failure.during(format!("lose the write cache of {node}")))?;
    if let Some(lost) = lost {
        scope.say(
            Some(node),
            EventKind::WriteCacheLost {
                unflushed_writes: lost.unflushed_writes,
                unflushed_bytes: lost.unflushed_bytes,
                kept_writes: lost.kept_writes,
                torn_writes: lost.torn_writes,
            },
        );
    }
    Ok(())
}
