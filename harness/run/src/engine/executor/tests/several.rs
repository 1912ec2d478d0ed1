//! Work on several nodes: every node's part is awaited, and everything that fails is told.

use sanlab_plan::{Action, Expectation, Run, StepFailure};

use super::evidence::{expecting, fails, fences_itself, lasting, sleeps};
use super::*;
use crate::backend::fake_fleet::node;

/// On both nodes.
fn both(command: &str) -> Step {
    let both = Action::Run(Run {
        on: vec![node("vix0"), node("vix1")],
        command: command.to_owned(),
        exit: 0,
        output: None,
        same: false,
    });
    step("both", both)
}

/// `try` fails on each node after so many seconds, with its name.
fn fails_after(seconds: [u64; 2]) -> impl Fn(&str, &str) -> Option<Act> + Send + Sync + 'static {
    move |name: &str, script: &str| {
        let seconds = seconds[usize::from(name == "vix1")];
        let said = Act::Say(1, String::new(), format!("{name} is full\n"));
        (script == "try")
            .then(|| Act::After(Duration::from_secs(seconds), Box::new(said)))
            .or(sleeps(name, script))
    }
}

#[tokio::test(start_paused = true)]
async fn what_fails_on_two_nodes_is_told_of_both() {
    for seconds in [[1, 9], [9, 1]] {
        let actor = fails_after(seconds);
        let played = play(vec![both("try")], actor).await;
        insta::allow_duplicates!(insta::assert_snapshot!(played.failure().2, @r"
        `try` on vix0 exited with 1, but must exit with 0: vix0 is full
        its whole output: output/step-both/vix0.txt
        `try` on vix1 exited with 1, but must exit with 0: vix1 is full
        its whole output: output/step-both/vix1.txt
        "));
        assert_eq!(played.kind(), (FailureKind::UnexpectedResult, Some("vix0")));
        assert_eq!(played.printed.len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_node_that_fences_itself_hides_no_other_failure() {
    let ends = || {
        happens(vec![(
            3,
            exited("exited with 0", Some("guest-reset"), None),
        )])
    };
    let steps = |command: &str| {
        vec![
            expecting(both(command), fences_itself()),
            lasting("then", 1),
        ]
    };
    // vix0 fails before the other is down, or after.
    for second in [1, 9] {
        let actor = fails_after([second, 20]);
        let played = play_with(steps("try"), |backend| backend, actor, ends()).await;
        let (word, phase, message) = played.failure();
        assert_eq!((word, phase), ("failed", "step both"));
        assert!(
            message.starts_with("`try` on vix0 exited with 1"),
            "{message}"
        );
        assert_eq!(played.kind(), (FailureKind::UnexpectedResult, Some("vix0")));
    }
    // Its part is awaited where it does not fail either.
    let begun = Instant::now();
    let slow = |name: &str, script: &str| {
        let seconds = if name == "vix0" { 9 } else { 20 };
        (script == "slow")
            .then(|| Act::Sleep(Duration::from_secs(seconds)))
            .or(sleeps(name, script))
    };
    let played = play_with(steps("slow"), |backend| backend, slow, ends()).await;
    assert_eq!(played.outcome, Outcome::Passed);
    assert!(begun.elapsed() > Duration::from_secs(9));
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_is_expected_hides_no_other() {
    let expected = |kind| vec![expecting(both("try"), fails(kind))];
    let played = play(expected(StepFailure::UnexpectedResult), fails_after([1, 2])).await;
    assert_eq!(played.outcome, Outcome::Passed);
    let hangs = |name: &str, script: &str| {
        (name == "vix1" && script == "try")
            .then_some(Act::Hang)
            .or(fails_after([1, 1])(name, script))
    };
    let played = play(expected(StepFailure::UnexpectedResult), hangs).await;
    assert_eq!(played.kind(), (FailureKind::CommandTimedOut, Some("vix1")));
    // Two that are expected to end.
    let other = Expectation::FencesItself { node: node("vix0") };
    let both_end = Step {
        expect: vec![fences_itself(), other],
        ..both("sleep 20")
    };
    let reset = |name: &str| {
        let exited = EventKind::QemuExited {
            status: "exited with 0".to_owned(),
            cause: Some("guest-reset".to_owned()),
            full: None,
            stderr: String::new(),
        };
        Notice::Event(FleetEvent::of(name, exited))
    };
    let ends = happens(vec![(3, reset("vix0")), (5, reset("vix1"))]);
    let played = play_with(vec![both_end], |backend| backend, sleeps, ends).await;
    assert_eq!(played.outcome, Outcome::Passed);
}
