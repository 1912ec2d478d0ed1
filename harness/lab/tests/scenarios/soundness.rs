//! A fork equals a fleet that was built from nothing: the same outcome, the same phases, the same state dump.

use std::collections::BTreeMap;

use guest_trials::Failed;
use sanlab::RunRequest;
use sanlab_plan::{Action, Plan};
use sanlab_record::{EventKind, PhaseName, RunRecord};
use sanlab_run::{Hold, HoldWhen};
use tokio::sync::mpsc::unbounded_channel;
use tokio_util::sync::CancellationToken;

use crate::{COMPARED, Ran, Runner};

/// By node and by what was looked at, what was seen.
type StateDump = BTreeMap<String, BTreeMap<String, String>>;

/// What a scenario does that crashes nodes hangs on the moment: its runs cannot be compared.
pub(crate) fn applies(plan: &Plan) -> bool {
    let mut actions = plan.steps.iter().map(|step| &step.action);
    !actions.any(|action| matches!(action, Action::Crash(_)))
}

/// Runs the scenario from nothing and from a checkpoint.
pub(crate) async fn compare(runner: &Runner, plan: &Plan) -> Result<(), Failed> {
    // Those that want to be fresh could be forked all the same.
    let plan = Plan {
        fresh: false,
        ..plan.clone()
    };
    let folder = runner.run.folder(&runner.lab)?;
    let run = async |plan: &Plan, fresh, attempt| {
        let mut request = RunRequest {
            fresh,
            attempt,
            ..RunRequest::new(&folder)
        };
        request.options.state_dump = true;
        runner.run(plan, request).await
    };
    let fresh = run(&plan, true, 1).await?;
    if is_forked(&fresh.record) {
        return Err(fresh.but("should be fresh, and was forked"));
    }
    if plan.id == COMPARED {
        // The run that keeps the checkpoint goes on, and that must be the same, too.
        let kept = run(&plan, false, 2).await?;
        expect_same(&fresh, &kept)?;
    } else {
        // A plan without its steps may have another fleet: disks that can be broken, or lose what was not flushed.
        let mut request = RunRequest {
            attempt: 2,
            ..RunRequest::new(&folder)
        };
        request.options.hold = Some(at_layers());
        runner.run(&plan, request).await?;
    }
    let fork = run(&plan, false, 3).await?;
    if !is_forked(&fork.record) {
        return Err(fork.but("was not forked"));
    }
    expect_same(&fresh, &fork)
}

fn is_forked(record: &RunRecord) -> bool {
    let mut kinds = record.events.iter().map(|event| &event.kind);
    kinds.any(|kind| matches!(kind, EventKind::Forked { .. }))
}

/// Makes the checkpoint of a scenario, and does no more.
fn at_layers() -> Hold {
    let (ready, _) = unbounded_channel();
    let release = CancellationToken::new();
    release.cancel();
    Hold {
        when: HoldWhen::Steps(0),
        ready,
        release,
    }
}

/// What the run did, whether it did it itself or took it from a checkpoint.
fn phases_done(record: &RunRecord) -> Vec<&PhaseName> {
    let stores = |name: &&PhaseName| {
        matches!(
            name,
            PhaseName::Prepare | PhaseName::Fork | PhaseName::Keep(_)
        )
    };
    let names = record.phases.iter().map(|phase| &phase.name);
    names.filter(|name| !stores(name)).collect()
}

fn expect_same(fresh: &Ran, fork: &Ran) -> Result<(), Failed> {
    let (built, forked) = (phases_done(&fresh.record), phases_done(&fork.record));
    if built != forked {
        return Err(fork.but(&format!("did {forked:?}, from nothing it was {built:?}")));
    }
    let (built, forked) = (state_dump(fresh)?, state_dump(fork)?);
    if built.is_empty() {
        return Err(fresh.but("has no state dump"));
    }
    let mut differences = differences(&built, &forked);
    differences.extend(missing(&built, &forked));
    if differences.is_empty() {
        return Ok(());
    }
    let differences = differences.join("\n");
    let reference = fresh.but("from nothing");
    Err(fork.but(&format!(
        "is not what it is from nothing:\n{differences}\n{}",
        reference.message().unwrap_or_default()
    )))
}

fn state_dump(ran: &Ran) -> Result<StateDump, Failed> {
    let file = ran.path.with_file_name(sanlab_run::STATE_DUMP);
    Ok(serde_json::from_slice(&fs_err::read(file)?)?)
}

/// What is in the one and not in the other, or otherwise.
fn differences(one: &StateDump, other: &StateDump) -> Vec<String> {
    let mut found = Vec::new();
    for (node, looks) in one {
        for (what, seen) in looks {
            let other = other.get(node).and_then(|looks| looks.get(what));
            if other != Some(seen) {
                let other = other.map_or("nothing", String::as_str);
                found.push(format!("{what} on {node} was\n{seen}\nand is\n{other}"));
            }
        }
    }
    found
}

/// What is in the other alone.
fn missing(one: &StateDump, other: &StateDump) -> Vec<String> {
    let looks = |state_dump: &StateDump| -> Vec<(String, String)> {
        let each = state_dump.iter().flat_map(|(node, looks)| {
            let whats = looks.keys();
            whats.map(|what| (node.clone(), what.clone()))
        });
        each.collect()
    };
    let there = looks(one);
    let more = looks(other)
        .into_iter()
        .filter(|look| !there.contains(look));
    more.map(|(node, what)| format!("{what} on {node} is new"))
        .collect()
}
