//! The power switch of the fleet: guests that must be sure that another is dead ask for its power to be cut.
//!
//! A guest asks with a line on its console, `sanlab power off NODE ID SILENCE`, and waits for the file `/run/sanlab/power/ID`.
//! Its content is `off` when the node is off, and a reason otherwise. A node that is off already is off.
//!
//! Who asks has not heard of the node for so many milliseconds (not written: 0), and must know that writes which the node had in
//! flight then will never be done. That is also true of a node that was off within that time and has come back: its power is
//! not cut again.

use std::sync::Arc;
use std::time::Duration;

use sanlab_plan::{CrashKind, NodeName, Plan, quote};
use sanlab_record::EventKind;

use crate::Failure;
use crate::backend::Notice;
use crate::engine::context::RunContext;
use crate::engine::faults::down::DownReason;

/// What stands before the node's name.
const REQUEST: &str = "sanlab power off ";
/// For the answer. The node that asked waits 30 s for it.
const TELL: Duration = Duration::from_secs(20);

/// Somebody asks for a node's power to be cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    by: NodeName,
    /// As it was written.
    node: String,
    /// Names the answer.
    id: String,
    /// For so long, at least, who asks has not heard of the node.
    silence: Duration,
}

/// What a notice asks for, if it comes from a node of the plan and asks for anything.
pub(crate) fn request(plan: &Plan, notice: &Notice) -> Option<Request> {
    let (Notice::Console { node: by, line, .. } | Notice::Dump { node: by, line, .. }) = notice
    else {
        return None;
    };
    let mut words = line.split_once(REQUEST)?.1.split_whitespace();
    let (node, id) = (words.next()?, words.next()?);
    let is_safe = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !id.chars().all(is_safe) {
        return None;
    }
    let silence = match words.next() {
        Some(millis) => Duration::from_millis(millis.parse().ok()?),
        None => Duration::ZERO,
    };
    let by = plan.nodes.iter().find(|one| one.name.as_str() == by)?;
    Some(Request {
        by: by.name.clone(),
        node: node.to_owned(),
        id: id.to_owned(),
        silence,
    })
}

/// Cuts the node's power unless it is off, and answers. If the node that asked is gone meanwhile, that is no error.
pub(crate) async fn answer(context: Arc<RunContext>, request: Request) -> Result<(), Failure> {
    let Request {
        by,
        node,
        id,
        silence,
    } = request;
    // A guest may ask as soon as it runs, before its fleet is complete.
    let _complete = context.assembly.read().await;
    let target = context.plan.nodes.iter().map(|one| &one.name);
    let said = match target.clone().find(|name| name.as_str() == node) {
        Some(target) => {
            cut(&context, target, &by, silence).await?;
            "off".to_owned()
        }
        None => format!("{node} is no node of this fleet"),
    };
    let script = format!(
        "mkdir -p /run/sanlab/power\n\
         cd /run/sanlab/power\n\
         echo {} >{id}.new\n\
         mv {id}.new {id}\n",
        quote(&said)
    );
    let told = match context.backend.exec(&by, &script, TELL).await {
        Ok(ended) => ended.success(),
        Err(failure) => Err(failure),
    };
    match told {
        Err(failure) if context.down(&by).is_none() => {
            Err(failure.during(format!("answer {by} that {node} is {said}")))
        }
        _ => Ok(()),
    }
}

/// Returns when the node is off.
async fn cut(
    context: &RunContext,
    node: &NodeName,
    by: &NodeName,
    silence: Duration,
) -> Result<(), Failure> {
    // Whoever ends it already must have done so.
    let _switch = context.power.lock().await;
    if !context.there().contains(node) {
        return Ok(());
    }
    if let Some(ago) = context.since_off(node).filter(|ago| *ago < silence) {
        let text = format!(
            "{by} asked to cut its power: not done, since it was off until {:.1} s ago",
            ago.as_secs_f64()
        );
        let kind = EventKind::Progress { text };
        context.event_log.note(Some(node.as_str()), kind);
        return Ok(());
    }
    if !context.departs(node, DownReason::Fenced(by.clone())) {
        return Ok(());
    }
    let kind = EventKind::Fenced { by: by.to_string() };
    context.event_log.note(Some(node.as_str()), kind);
    let off = context.backend.crash(node, CrashKind::Power).await;
    off.map_err(|failure| failure.during(format!("cut the power of {node}, as {by} asked")))
}

#[cfg(test)]
mod tests {
    use sanlab_fleet::Room;
    use tokio::sync::mpsc::unbounded_channel;
    use tokio::time::{Instant, advance};

    use super::*;
    use crate::RunOptions;
    use crate::backend::FleetBackend;
    use crate::backend::fake_fleet::{FakeFleet, node, plan, planned};
    use crate::engine::event_log::EventLog;

    const LAYERS: &str = r#"
        [[layer]]
        membership = { cluster = "san" }
        [[layer]]
        gnbd = { on = "vix1", clients = "vix0", disk = "64MiB", timeout = "10s" }
    "#;

    #[tokio::test(start_paused = true)]
    async fn a_node_that_was_off_within_the_time_out_is_not_cut_off_again() {
        let plan = planned(LAYERS, Vec::new());
        let stack = sanlab_stack::compose(&plan);
        let backend = Arc::new(FakeFleet::new(&plan, &stack, |_, _| None));
        let as_backend = Arc::clone(&backend) as Arc<dyn FleetBackend>;
        let event_log = EventLog::new(unbounded_channel().0);
        let options = RunOptions::default();
        let context = RunContext::new(plan, stack, as_backend, event_log, options);
        let context = Arc::new(context);
        let (asks, server) = (node("vix0"), node("vix1"));
        context.arrived(&[asks.clone(), server.clone()]);
        context.departs(&server, DownReason::Step("crash".to_owned()));
        context.powers_on(&server);
        advance(Duration::from_secs(1)).await;
        context.returned(&server);
        let ask = async |id: &str| {
            let request = Request {
                by: asks.clone(),
                node: server.to_string(),
                id: id.to_owned(),
                silence: Duration::from_secs(10),
            };
            answer(Arc::clone(&context), request).await.unwrap();
            let asked = backend.asked.lock().unwrap();
            let told = asked.iter().any(|(_, script)| {
                script.contains("echo 'off'") && script.contains(&format!("mv {id}.new {id}"))
            });
            let cut = asked.iter().any(|(_, what)| what == "crash Power");
            (told, cut)
        };
        advance(Duration::from_secs(8)).await;
        assert_eq!(ask("1").await, (true, false), "9 s ago");
        advance(Duration::from_secs(2)).await;
        assert_eq!(ask("2").await, (true, true), "11 s ago");
    }

    #[test]
    fn a_request_is_told_from_other_lines() {
        let plan = plan(Vec::new());
        let said = |by: &str, line: &str| {
            let notice = Notice::Console {
                node: by.to_owned(),
                at: Instant::now(),
                line: line.to_owned(),
                room: Room::default(),
            };
            request(&plan, &notice)
        };
        assert_eq!(
            said("vix0", "[   99.123456] sanlab power off vix1 812-3 10000\r"),
            Some(Request {
                by: node("vix0"),
                node: "vix1".to_owned(),
                id: "812-3".to_owned(),
                silence: Duration::from_secs(10),
            })
        );
        let asked_meanwhile = Notice::Dump {
            node: "vix0".to_owned(),
            at: Instant::now(),
            line: "[   99.123456] sanlab power off vix1 812-4".to_owned(),
            room: Room::default(),
        };
        assert!(request(&plan, &asked_meanwhile).is_some());
        for (by, line) in [
            ("vix0", "sanlab power off vix1"),
            ("vix0", "sanlab power off vix1 ../../etc/passwd"),
            ("vix0", "sanlab power off vix1 7 soon"),
            ("vix9", "sanlab power off vix1 7"),
            ("vix0", "power off vix1 7"),
        ] {
            assert_eq!(said(by, line), None, "{line}");
        }
    }
}
