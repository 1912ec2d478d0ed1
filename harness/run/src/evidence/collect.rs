//! What is kept of a run that went wrong, while the guests still stand.

use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use sanlab_plan::{NodeName, file_name};
use sanlab_record::EventKind;
use tokio::time::Instant;

use crate::engine::context::RunContext;
use crate::engine::event_log::Scope;
use crate::failure::Blame;

/// For one look at one node: what takes longer hangs.
const ONE_LOOK: Duration = Duration::from_secs(8);

/// Writes the memory of nodes that have lost their kernel, and every other node's kernel log and layer state, to `folder/NODE/`, nodes side by side, within `deadline` in all; of a node
/// that did not answer, first what was found then to `folder/hang-NODE.txt`. What cannot be had is noted in the event log and stops nothing.
pub(crate) async fn collect(
    context: &RunContext,
    scope: &Scope,
    folder: &Path,
    deadline: Duration,
) {
    let looks = context.stack.state();
    let there = context.there();
    let all = async {
        // First: who looks inside a node that hangs waits.
        let nodes = context.plan.nodes.iter().map(|node| &node.name);
        join_all(nodes.map(|node| vmcore(context, scope, folder, node))).await;
        let nodes = there.iter();
        join_all(nodes.map(|node| of_node(context, scope, folder, node, &looks))).await;
    };
    if tokio::time::timeout(deadline, all).await.is_err() {
        scope.progress(
            None,
            format!("collecting was ended after {} s", deadline.as_secs_f64()),
        );
    }
}

/// Writes every writer's account to `folder`, whatever became of the run.
pub(crate) async fn ack_logs(context: &RunContext, folder: &Path) {
    for ack_log in context.ack_logs().into_values() {
        let Some(text) = ack_log.text() else { continue };
        let file = format!("acknowledged/{}.txt", file_name(&ack_log.by));
        let written = async {
            fs_err::tokio::create_dir_all(folder.join("acknowledged")).await?;
            fs_err::tokio::write(folder.join(&file), text).await
        };
        let kind = match written.await {
            Ok(()) => EventKind::Collected { file },
            Err(error) => EventKind::Progress {
                text: format!("{file} not kept: {error}"),
            },
        };
        context.event_log.note(None, kind);
    }
}

/// The memory of a node that has panicked or hangs.
async fn vmcore(context: &RunContext, scope: &Scope, folder: &Path, node: &NodeName) {
    let file = format!("{node}/vmcore");
    let to = folder.join(&file);
    match context.backend.vmcore(node, &to).await {
        Some(Ok(_)) => scope.say(Some(node), EventKind::Collected { file }),
        Some(Err(failure)) => {
            scope.progress(Some(node), format!("{file} not collected: {failure}"));
        }
        None => {}
    }
}

async fn of_node(
    context: &RunContext,
    scope: &Scope,
    folder: &Path,
    node: &NodeName,
    looks: &[(String, String)],
) {
    let remark = |text: String| scope.progress(Some(node), text);
    let keep =
        async |file: String, text: String| match fs_err::tokio::write(folder.join(&file), text)
            .await
        {
            Ok(()) => scope.say(Some(node), EventKind::Collected { file }),
            Err(error) => remark(format!("{file} not collected: {error}")),
        };
    // What was found in the last examination, if it is another than that one.
    let examined = async |known: Option<String>| {
        let report = context.backend.examined(node).await;
        if let Some(report) = report.clone().filter(|_| report != known) {
            keep(format!("hang-{node}.txt"), report).await;
        }
        report
    };
    let known = examined(None).await;
    if let Err(error) = fs_err::tokio::create_dir_all(folder.join(node.as_str())).await {
        return remark(format!("not collected: {error}"));
    }
    for (name, script) in looks {
        // A look is a row of commands of which any may fail: the rest is still worth having.
        let script = format!("set +e\nexec 2>&1\n{script}");
        let begun = Instant::now();
        let text = match context.backend.exec(node, &script, ONE_LOOK).await {
            Ok(ended) => ended.stdout,
            Err(failure) => {
                // A look that hangs is the stack's fault.
                let silent = failure.blame() == Blame::Infrastructure;
                let failure = failure.to_string();
                let reason = failure.lines().next().unwrap_or_default();
                let reason = reason.trim_end_matches(':');
                if silent || begun.elapsed() < ONE_LOOK {
                    // Not one hanging command: the guest does not answer any more, and may have been examined for that.
                    examined(known).await;
                    return remark(format!("{name} and the rest not collected: {reason}"));
                }
                remark(format!("{name} not collected: {reason}"));
                continue;
            }
        };
        keep(format!("{node}/{name}"), text).await;
    }
}
