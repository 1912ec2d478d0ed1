//! Daemons that are stopped and started, and states that are waited for.

use std::sync::atomic::{AtomicUsize, Ordering};

use sanlab_plan::{Action, Awaited, ClusterName, LayerKind, Signal, Start, StopProcess, WaitFor};

use sanlab_stack::Present;

use super::*;
use crate::backend::fake_fleet::{LAYERS, node, planned};

#[tokio::test(start_paused = true)]
async fn a_process_is_stopped_and_its_end_awaited() {
    let stop = |signal: Signal| {
        Action::StopProcess(StopProcess {
            on: vec![node("vix0"), node("vix1")],
            process: "nbdkit".to_owned(),
            signal,
        })
    };
    let played = play(vec![step("stop", stop(Signal::Kill))], well).await;
    assert_eq!(played.outcome, Outcome::Passed);
    let lingers = |name: &str, script: &str| {
        script
            .ends_with("echo $pids\n")
            .then(|| Act::Say(0, "4711\n".to_owned(), String::new()))
            .or(well(name, script))
    };
    let played = play(vec![step("stop", stop(Signal::Kill))], lingers).await;
    let (word, phase, message) = played.failure();
    assert_eq!((word, phase), ("failed", "step stop"));
    assert!(message.contains("no nbdkit runs on vix"), "{message}");
    assert!(message.contains("4711"), "{message}");
    let played = play(vec![step("stop", stop(Signal::Stop))], lingers).await;
    assert_eq!(played.outcome, Outcome::Passed, "what is stopped stays");
}

/// The plan of all plays, with a cluster of both nodes below.
fn with_membership(steps: Vec<Step>) -> Plan {
    let membership = "[[layer]]\nmembership = { cluster = \"san\" }\n";
    planned(&format!("{membership}{LAYERS}"), steps)
}

#[tokio::test(start_paused = true)]
async fn daemons_are_started_again_and_a_state_is_awaited() {
    let members = Action::WaitFor(WaitFor {
        on: vec![node("vix0")],
        state: Awaited::Members {
            cluster: ClusterName::parse("san").unwrap(),
            members: vec![node("vix0"), node("vix1")],
        },
    });
    let start = Action::Start(Start {
        on: vec![node("vix1")],
        layer: LayerKind::Membership,
    });
    let steps = || vec![step("start", start.clone()), step("both", members.clone())];
    let stack = sanlab_stack::compose(&with_membership(steps()));
    let daemon = stack.start(
        LayerKind::Membership,
        &node("vix1"),
        &Present::all(&[node("vix0"), node("vix1")]),
    );
    let scripts: Vec<String> = daemon
        .stages
        .iter()
        .flat_map(|stage| &stage.tasks)
        .map(|task| task.script.clone())
        .collect();
    let Action::WaitFor(wait) = &members else {
        panic!("{members:?}");
    };
    let probe = stack.state_probe(wait, Duration::from_secs(30)).remove(0);
    let look = probe.script.clone();
    // It becomes so at the third look.
    let looks = AtomicUsize::new(0);
    let seen = probe.expect.0.join("\n");
    let known = daemon.probes.clone();
    let in_time = move |name: &str, script: &str| {
        if name == "vix0" && script == look {
            let looked = looks.fetch_add(1, Ordering::Relaxed);
            let said = if looked < 2 {
                String::new()
            } else {
                seen.clone()
            };
            return Some(Act::Say(0, said, String::new()));
        }
        let probe = known
            .iter()
            .find(|one| one.node.as_str() == name && one.script == script)?;
        Some(Act::Say(0, probe.expect.0.join("\n"), String::new()))
    };
    let played = play_plan(
        with_membership(steps()),
        |backend| backend,
        in_time,
        |_, _| (),
    )
    .await;
    assert_eq!(played.outcome, Outcome::Passed);
    for script in scripts {
        let started =
            |(name, asked): &&(String, String)| name == "vix1" && asked.ends_with(&script);
        assert!(played.asked.iter().any(|one| started(&one)), "{script}");
    }
    let never = move |name: &str, script: &str| {
        (name == "vix0" && script == probe.script)
            .then(|| Act::Say(0, "nobody\n".to_owned(), String::new()))
    };
    let plan = with_membership(vec![step("both", members.clone())]);
    let played = play_plan(plan, |backend| backend, never, |_, _| ()).await;
    let (word, phase, message) = played.failure();
    assert_eq!(word, "failed");
    assert!(
        message.contains("nobody") && message.contains("vix0"),
        "{phase}: {message}"
    );
}
