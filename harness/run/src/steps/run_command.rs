//! `run`: a command on nodes, side by side, with the exit code and output that it must have.

use regex::Regex;
use sanlab_fleet::Status;
use sanlab_plan::{NodeName, Run};

use super::Doing;
use crate::Failure;
use crate::backend::Ended;
use crate::engine::join;
use crate::evidence::output::first_difference;
use crate::failure::{Cause, Said};

pub(super) async fn perform(doing: Doing<'_>, run: &Run) -> Result<(), Failure> {
    let pattern =
        match &run.output {
            Some(text) => Some(Regex::new(text).map_err(|error| {
                Failure::internal(format!("read the pattern `{text}`: {error}"))
            })?),
            None => None,
        };
    let all = run
        .on
        .iter()
        .map(|node| one(doing, run, node, pattern.as_ref()));
    let all = join::all(all).await?;
    if run.same {
        compare(&run.command, &all)?;
    }
    Ok(())
}

async fn one(
    doing: Doing<'_>,
    run: &Run,
    node: &NodeName,
    pattern: Option<&Regex>,
) -> Result<Ended, Failure> {
    let command = run.command.replace("{node}", node.as_str());
    let ended = doing.command(node, &command).await?;
    let printed = format!("{}{}", ended.stdout, ended.stderr);
    let wrong = if ended.status == Status::Exited(run.exit) {
        let missed = pattern.filter(|pattern| !pattern.is_match(&printed));
        missed.map(|pattern| format!(": its output has no match of `{pattern}`"))
    } else {
        let (status, exit) = (ended.status, run.exit);
        Some(format!(" {status}, but must exit with {exit}"))
    };
    let Some(wrong) = wrong else { return Ok(ended) };
    if run.on.len() > 1 {
        let text = format!("the command{wrong}; the others are awaited");
        doing.scope.progress(Some(node), text);
    }
    let name = first_line(&command);
    let failure = Failure::unexpected(format!("`{name}` on {node}{wrong}"));
    let failure = failure.saying(Said {
        shown: ended.said(),
        reason: printed,
    });
    Err(failure.on(node).printed_in(ended.kept))
}

/// What a command is called in a message: those of many lines by the first.
fn first_line(command: &str) -> String {
    let command = command.trim();
    match command.split_once('\n') {
        Some((first, _)) => format!("{} ...", first.trim_end()),
        None => command.to_owned(),
    }
}

/// Every node must have printed the same bytes on standard output.
fn compare(command: &str, all: &[Ended]) -> Result<(), Failure> {
    let command = first_line(command);
    if let Some(ended) = all.iter().find(|ended| ended.printed.cut) {
        let node = &ended.node;
        let text = format!("`{command}` printed too much on {node} to be compared");
        return Err(Failure::not_understood(text)
            .on(node)
            .printed_in(ended.kept.clone()));
    }
    let outputs = all.iter();
    let outputs = outputs.map(|ended| (ended.node.as_str(), &*ended.printed.stdout));
    let Some(difference) = first_difference(&outputs.collect::<Vec<_>>()) else {
        return Ok(());
    };
    let seen = || difference.seen.iter();
    let one_of_each = |ended: &&Ended| seen().any(|(_, nodes)| nodes[0] == ended.node.as_str());
    let files = all.iter().filter(one_of_each);
    let files: Vec<String> = files.filter_map(|ended| ended.kept.clone()).collect();
    let found = seen().map(|(line, nodes)| format!("{}: {line}", nodes.join(", ")));
    let differences = Cause::Differences {
        what: format!(
            "`{command}` did not print the same everywhere, first of all in line {}",
            difference.line
        ),
        found: found.collect(),
    };
    Err(Failure::from(differences).printed_in(files))
}

#[cfg(test)]
mod tests {
    use super::first_line;

    #[test]
    fn a_command_of_many_lines_is_called_by_its_first() {
        assert_eq!(first_line("true"), "true");
        assert_eq!(first_line("\nset -x \nsync\n"), "set -x ...");
    }
}
