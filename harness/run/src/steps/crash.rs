//! `crash`: a node ends without warning, at a moment that the run's seed draws.

use std::time::Duration;

use sanlab_plan::{Crash, CrashKind};
use sanlab_record::EventKind;
use tokio::time::sleep;

use super::Doing;
use crate::Failure;
use crate::engine::absence::Cause as AbsenceCause;
use crate::engine::chance;
use crate::failure::Cause;

pub(super) async fn perform(doing: Doing<'_>, crash: &Crash) -> Result<(), Failure> {
    let Doing {
        context,
        step,
        scope,
    } = doing;
    let Crash { node, how, within } = crash;
    let moment = chance::moment(context.seed, step.label.as_str(), *within);
    if moment > Duration::ZERO {
        scope.progress(
            Some(node),
            format!(
                "crashes in {:.3} s (seed {})",
                moment.as_secs_f64(),
                context.seed
            ),
        );
        sleep((step.after + moment).saturating_sub(scope.elapsed())).await;
    }
    // Who is asked for this node's power meanwhile waits for this.
    let _switch = context.power.lock().await;
    if !context.departs(node, AbsenceCause::Step(step.label.to_string())) {
        let down = Failure::from(Cause::NodeDown {
            node: node.clone(),
            why: context.absence(node).map(|absence| absence.cause),
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
    Ok(())
}
