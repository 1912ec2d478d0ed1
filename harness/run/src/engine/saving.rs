//! The fleet of a run that has failed is saved, so that it can be brought up again, here or elsewhere.

use std::path::Path;
use std::time::{Duration, Instant};

use sanlab_record::{EventKind, PhaseName};

use crate::checkpoint::CheckpointMeta;
use crate::checkpoint::saved::SAVED;
use crate::engine::context::RunContext;

/// For all of it. Whoever saves keeps it, so that what is broken off can be put in order.
const DEADLINE: Duration = Duration::from_secs(1800);

/// Saves it beside the record, if that is wanted. The verdict stands: what goes wrong is told.
pub(crate) async fn save_failed(context: &RunContext, out_dir: &Path) {
    let Some(enclosure) = &context.options.save_failed else {
        return;
    };
    let scope = context.event_log.phase(PhaseName::Save);
    let begun = Instant::now();
    let meta = CheckpointMeta {
        state: context.state(),
        phases: Vec::new(),
    };
    let folder = out_dir.join(SAVED);
    let saved = context.backend.save(&folder, meta, enclosure, DEADLINE);
    match saved.await {
        Ok(saved) => {
            let told = EventKind::Saved {
                folder: SAVED.to_owned(),
                seconds: begun.elapsed().as_secs_f64(),
                bytes: saved.bytes,
                left_out: saved.left_out,
            };
            scope.say(None, told);
            for message in saved.troubles {
                scope.say(None, EventKind::Failed { message });
            }
        }
        Err(failure) => {
            let reason = failure.to_string();
            scope.say(None, EventKind::NotSaved { reason });
        }
    }
    scope.end();
}
