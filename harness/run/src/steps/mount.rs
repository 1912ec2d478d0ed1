//! `mount`: the volume on nodes, side by side; or the refusal that the scenario expects.

use regex::Regex;
use sanlab_fleet::Status;
use sanlab_plan::Mount;

use super::Doing;
use crate::Failure;
use crate::engine::{join, tasks};
use crate::failure::Cause;

pub(super) async fn perform(doing: Doing<'_>, mount: &Mount) -> Result<(), Failure> {
    let Doing { context, scope, .. } = doing;
    let work = context
        .volume()?
        .mount(&mount.on, &context.mounted(), context.stack.topology());
    let Some(reason) = &mount.fails else {
        tasks::carry_out(&*context.backend, scope, &work).await?;
        context.has_mounted(&mount.on);
        return Ok(());
    };
    let reason = Regex::new(reason)
        .map_err(|error| Failure::internal(format!("read the pattern `{reason}`: {error}")))?;
    let attempts = work
        .stages
        .iter()
        .flat_map(|stage| &stage.tasks)
        .map(|task| async {
            let node = &task.node;
            let ended = tasks::attempt(&*context.backend, scope, task).await?;
            let said = format!("{}{}", ended.stdout, ended.stderr);
            if ended.status == Status::Exited(0) {
                let title = &work.title;
                let text =
                    format!("{title} mounted on {node}, but must be refused with `{reason}`");
                return Err(Failure::unexpected(text).on(node).printed_in(ended.kept));
            }
            let Some(found) = reason.find(&said) else {
                let text = format!("{} on {node} failed without `{reason}`", work.title);
                return Err(ended.failed(Cause::UnexpectedResult(text)));
            };
            scope.progress(
                Some(node),
                format!("refused as it must be: {}", found.as_str()),
            );
            Ok(())
        });
    join::all(attempts).await?;
    Ok(())
}
