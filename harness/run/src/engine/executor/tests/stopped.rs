//! Daemons that a step stopped are not waited for, until something starts them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;

use sanlab_plan::{Action, CheckpointName, CrashKind, LayerKind, Signal, Start, StopProcess};

use super::checkpoints::kept_of;
use super::*;
use crate::backend::fake_fleet::{crash, node, planned, restart};

/// A cluster of vix0 and vix1.
fn cluster(steps: Vec<Step>) -> Plan {
    let patient = steps.into_iter().map(|step| Step {
        deadline: Duration::from_secs(240),
        ..step
    });
    let membership = "[[layer]]\nmembership = { cluster = \"san\" }\n";
    planned(membership, patient.collect())
}

fn stop(on: &[&str], signal: Signal) -> Action {
    Action::StopProcess(StopProcess {
        on: on.iter().map(|name| node(name)).collect(),
        process: "corosync".to_owned(),
        signal,
    })
}

fn start(on: &[&str]) -> Action {
    Action::Start(Start {
        on: on.iter().map(|name| node(name)).collect(),
        layer: LayerKind::Membership,
    })
}

/// Guests in which corosync runs until it is stopped, and lists those where it does. `obeys`: it goes on when it is told to.
fn corosync(obeys: bool) -> impl Fn(&str, &str) -> Option<Act> + Send + Sync + 'static {
    let runs = Mutex::new(BTreeMap::from(
        ["vix0", "vix1"].map(|name| (name.to_owned(), true)),
    ));
    move |name: &str, script: &str| {
        let mut runs = runs.lock().unwrap();
        let mut said = String::new();
        if script.contains("--bounding-set=-ipc_lock") {
            runs.insert(name.to_owned(), true);
        } else if script.contains("kill -CONT") {
            runs.insert(name.to_owned(), obeys);
        } else if script.contains("kill -") {
            runs.insert(name.to_owned(), false);
        } else if script.starts_with("corosync-quorumtool -l") {
            for (number, (name, _)) in (1..).zip(runs.iter()).filter(|(_, (_, runs))| **runs) {
                writeln!(said, "{number} {name}").unwrap();
            }
        } else {
            return None;
        }
        Some(Act::Say(0, said, String::new()))
    }
}

async fn played(steps: Vec<Step>) -> Played {
    let plan = cluster(steps);
    play_plan(plan, |backend| backend, corosync(true), |_, _| ()).await
}

#[tokio::test(start_paused = true)]
async fn one_of_two_stopped_members_is_started() {
    let steps = vec![
        step("stop", stop(&["vix0", "vix1"], Signal::Term)),
        step("one", start(&["vix0"])),
        step("other", start(&["vix1"])),
    ];
    assert_eq!(played(steps).await.outcome, Outcome::Passed);
    let both = vec![
        step("stop", stop(&["vix0", "vix1"], Signal::Kill)),
        step("start", start(&["vix0", "vix1"])),
    ];
    assert_eq!(played(both).await.outcome, Outcome::Passed);
}

#[tokio::test(start_paused = true)]
async fn who_stands_still_is_not_waited_for_until_it_goes_on() {
    let steps = || {
        vec![
            step("pause", stop(&["vix1"], Signal::Stop)),
            step("stop", stop(&["vix0"], Signal::Kill)),
            step("alone", start(&["vix0"])),
            step("go on", stop(&["vix1"], Signal::Cont)),
            step("stop again", stop(&["vix0"], Signal::Kill)),
            step("both", start(&["vix0"])),
        ]
    };
    assert_eq!(played(steps()).await.outcome, Outcome::Passed);
    let plan = cluster(steps());
    let played = play_plan(plan, |backend| backend, corosync(false), |_, _| ()).await;
    let (word, phase, message) = played.failure();
    assert_eq!((word, phase), ("failed", "step both"));
    assert!(
        message.contains("san has the members vix0 vix1"),
        "{message}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_boots_again_has_all_its_daemons() {
    // vix0 is not waited for when vix1 comes back, and sees both when it is started.
    let steps = vec![
        step("stop", stop(&["vix0", "vix1"], Signal::Kill)),
        step("crash", crash("vix1", CrashKind::Power, 0)),
        step("back", restart("vix1")),
        step("start", start(&["vix0"])),
    ];
    assert_eq!(played(steps).await.outcome, Outcome::Passed);
}

#[tokio::test(start_paused = true)]
async fn a_fork_knows_what_was_stopped_before() {
    let steps = || {
        let stops = step("stop", stop(&["vix0", "vix1"], Signal::Kill));
        let kept = Step {
            checkpoint: Some(CheckpointName::parse("stopped").unwrap()),
            ..stops
        };
        vec![kept, step("one", start(&["vix0"]))]
    };
    // Both runs have the same guests.
    let guests = Arc::new(corosync(true));
    let same = Arc::clone(&guests);
    let kept = kept_of(cluster(steps()), move |name, script| guests(name, script)).await;
    let fork = |backend: FakeFleet| backend.kept(kept);
    let again = move |name: &str, script: &str| same(name, script);
    let played = play_plan(cluster(steps()), fork, again, |_, _| ()).await;
    assert_eq!(played.outcome, Outcome::Passed);
    let mut asked = played.asked.iter();
    assert!(!asked.any(|(_, script)| script.contains("kill -KILL")));
}
