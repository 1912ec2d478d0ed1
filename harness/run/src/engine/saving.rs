//! The fleet of a run that has failed is saved, so that it can be brought up again, here or elsewhere.

use std::path::Path;
use std::time::{Duration, Instant};

use sanlab_record::{EventKind, PhaseName};
use tokio::time::timeout;

use crate::checkpoint::CheckpointMeta;
use crate::checkpoint::saved::SAVED;
use crate::engine::context::RunContext;

/// For all of it. Its parts have deadlines of their own, by what there is to be written.
const DEADLINE: Duration = Duration::from_secs(1800);

/// Saves it beside the record, if that is wanted. The verdict stands: what goes wrong is told.
pub(crate) async fn save_failed(context: &RunContext, out_dir: &Path) {
    if !context.saves_failed {
        return;
    }
    let scope = context.event_log.phase(PhaseName::Save);
    let begun = Instant::now();
    let meta = CheckpointMeta {
        state: context.state(),
        phases: Vec::new(),
    };
    let folder = out_dir.join(SAVED);
    let told = match timeout(DEADLINE, context.backend.save(&folder, meta)).await {
        Ok(Ok(saved)) => EventKind::Saved {
            folder: SAVED.to_owned(),
            seconds: begun.elapsed().as_secs_f64(),
            bytes: saved.bytes,
            left_out: saved.left_out,
        },
        Ok(Err(failure)) => EventKind::NotSaved {
            reason: failure.to_string(),
        },
        Err(_) => EventKind::NotSaved {
            reason: format!("it was not done within {} s", DEADLINE.as_secs()),
        },
    };
    scope.say(None, told);
    scope.end();
}
