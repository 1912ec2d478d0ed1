//! `run`: a command on nodes, side by side, with the exit code and output that it must have.

use futures_util::future::try_join_all;
use regex::Regex;
use sanlab_fleet::Status;
use sanlab_plan::Run;

use super::Doing;
use crate::Failure;

pub(super) async fn perform(doing: Doing<'_>, run: &Run) -> Result<(), Failure> {
    let pattern =
        match &run.output {
            Some(text) => Some(Regex::new(text).map_err(|error| {
                Failure::internal(format!("read the pattern `{text}`: {error}"))
            })?),
            None => None,
        };
    try_join_all(run.on.iter().map(|node| {
        let pattern = pattern.as_ref();
        async move {
            let command = run.command.replace("{node}", node.as_str());
            let ended = doing.exec(node, &command).await?;
            if ended.status != Status::Exited(run.exit) {
                let (status, exit) = (ended.status, run.exit);
                let said = ended.said();
                let text =
                    format!("`{command}` on {node} {status}, but must exit with {exit}: {said}");
                return Err(Failure::unexpected(text).on(node));
            }
            let said = format!("{}{}", ended.stdout, ended.stderr);
            match pattern.filter(|pattern| !pattern.is_match(&said)) {
                Some(pattern) => {
                    let said = said.trim_end();
                    let text = format!(
                        "`{command}` on {node}: its output has no match of `{pattern}`: {said}"
                    );
                    Err(Failure::unexpected(text).on(node))
                }
                None => Ok(()),
            }
        }
    }))
    .await?;
    Ok(())
}
