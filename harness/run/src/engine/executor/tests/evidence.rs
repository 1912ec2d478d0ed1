//! What kernels and layers show in a run, what steps expect, and how the run ends by it.

use sanlab_plan::{
    Action, CrashKind, Expectation, LayerKind, Signal, Start, StepFailure, StopProcess,
};
use sanlab_record::{Excuse, FindingKind, PhaseName};

use super::*;
use crate::backend::fake_fleet::{LAYERS, crash, mount, node, planned, restart, wait};

pub(super) const LOST: &str = "[   33.0] I/O error, dev nbd1, sector 8 op 0x1:(WRITE)";

/// Commands `sleep N` take their time.
pub(super) fn sleeps(name: &str, script: &str) -> Option<Act> {
    let seconds = script.strip_prefix("sleep ").and_then(|it| it.parse().ok());
    seconds
        .map(|seconds| Act::Sleep(Duration::from_secs(seconds)))
        .or(well(name, script))
}

pub(super) fn says(name: &str, line: &str) -> Notice {
    Notice::Console {
        node: name.to_owned(),
        at: Instant::now(),
        line: line.to_owned(),
        room: Room::default(),
    }
}

/// vix0's kernel writes the line at that second.
async fn hears(steps: Vec<Step>, second: u64, line: &str) -> Played {
    let direct = happens(vec![(second, says("vix0", line))]);
    play_with(steps, |backend| backend, sleeps, direct).await
}

pub(super) fn expecting(step: Step, expectation: Expectation) -> Step {
    Step {
        expect: vec![expectation],
        ..step
    }
}

pub(super) fn lasting(label: &str, seconds: u64) -> Step {
    step(label, run("vix0", &format!("sleep {seconds}")))
}

pub(super) fn fails(kind: StepFailure) -> Expectation {
    Expectation::Fails { kind }
}

fn signal(label: &str, signal: Signal) -> Step {
    let stop = StopProcess {
        on: vec![node("vix1")],
        process: "nbdkit".to_owned(),
        signal,
    };
    step(label, Action::StopProcess(stop))
}

/// A crash of vix1 from second 5 on.
fn with_crash() -> Vec<Step> {
    vec![
        lasting("before", 5),
        step("crash", crash("vix1", CrashKind::Power, 0)),
        lasting("after", 5),
    ]
}

#[tokio::test(start_paused = true)]
async fn what_follows_from_a_fault_is_excused_and_told() {
    let played = hears(with_crash(), 7, LOST).await;
    assert_eq!(played.outcome, Outcome::Passed);
    let [finding] = &played.findings[..] else {
        panic!("{:?}", played.findings);
    };
    assert_eq!(finding.kind, FindingKind::DeviceError);
    assert_eq!(finding.about.as_deref(), Some("nbd1"));
    assert_eq!(finding.phase, Some(PhaseName::step("after")));
    let excuse = Excuse::Fault {
        step: "crash".to_owned(),
        node: "vix1".to_owned(),
    };
    assert_eq!(finding.excuse, Some(excuse));
}

#[tokio::test(start_paused = true)]
async fn an_error_before_the_fault_or_of_others_fails() {
    let other = LOST.replace("nbd1", "nbd0");
    for (second, line) in [(2, LOST), (7, &*other)] {
        let played = hears(with_crash(), second, line).await;
        assert_eq!(played.failure().0, "failed", "{line} at {second} s");
        assert_eq!(played.kind(), (FailureKind::KernelComplaint, Some("vix0")));
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_after_the_mend_fails() {
    let steps = || {
        vec![
            signal("stop", Signal::Stop),
            lasting("a while", 5),
            signal("go on", Signal::Cont),
            lasting("then", 10),
        ]
    };
    assert_eq!(hears(steps(), 3, LOST).await.outcome, Outcome::Passed);
    let played = hears(steps(), 10, LOST).await;
    let (word, phase, message) = played.failure();
    assert_eq!((word, phase), ("failed", "step then"));
    assert_eq!(
        message,
        "1 device error about nbd1 on vix0, at 10.0 s: I/O error, dev nbd1, sector 8 op 0x1:(WRITE)"
    );
}

#[tokio::test(start_paused = true)]
async fn a_signal_that_changes_nothing_is_no_fault() {
    let steps = vec![signal("go on", Signal::Cont), lasting("then", 5)];
    let played = hears(steps, 2, LOST).await;
    assert_eq!(played.kind(), (FailureKind::KernelComplaint, Some("vix0")));
}

/// vix0's kernel misses the disk of vix1 at that second.
async fn hears_as(
    actor: impl Fn(&str, &str) -> Option<Act> + Send + Sync + 'static,
    steps: Vec<Step>,
    second: u64,
) -> Played {
    let lost = happens(vec![(second, says("vix0", LOST))]);
    play_with(steps, |backend| backend, actor, lost).await
}

/// What is to be killed does not run.
fn finds_none(name: &str, script: &str) -> Option<Act> {
    script
        .contains("kill -KILL $pids")
        .then(|| Act::Say(1, String::new(), "no nbdkit runs\n".to_owned()))
        .or(sleeps(name, script))
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_fails_as_expected_is_no_fault() {
    let try_it = |kind| expecting(signal("kill", Signal::Kill), fails(kind));
    let steps = vec![try_it(StepFailure::CommandFailed), lasting("then", 9)];
    let played = hears_as(finds_none, steps, 5).await;
    assert_eq!(played.failure().1, "step then");
    assert_eq!(played.kind(), (FailureKind::KernelComplaint, Some("vix0")));
    // What an earlier step has stopped stays so.
    let steps = vec![
        signal("pause", Signal::Stop),
        try_it(StepFailure::CommandFailed),
        lasting("then", 9),
    ];
    let played = hears_as(finds_none, steps, 5).await;
    assert_eq!(played.outcome, Outcome::Passed, "{:?}", played.findings);
    let pause = "pause".to_owned();
    let node = "vix1".to_owned();
    let excuse = Excuse::Fault { step: pause, node };
    assert_eq!(played.findings[0].excuse, Some(excuse));
    // A process that does not end by its deadline of 30 s.
    let lingers = |name: &str, script: &str| {
        script
            .ends_with("echo $pids\n")
            .then(|| Act::Say(0, "4711\n".to_owned(), String::new()))
            .or(sleeps(name, script))
    };
    let steps = vec![try_it(StepFailure::ConditionNotMet), lasting("then", 9)];
    let played = hears_as(lingers, steps, 35).await;
    assert_eq!(played.kind(), (FailureKind::KernelComplaint, Some("vix0")));
}

#[tokio::test(start_paused = true)]
async fn a_start_that_fails_on_one_node_mends_the_other() {
    let both = || vec![node("vix0"), node("vix1")];
    let stop = StopProcess {
        on: both(),
        process: "nbdkit".to_owned(),
        signal: Signal::Kill,
    };
    let start = Start {
        on: both(),
        layer: LayerKind::Nbd,
    };
    let steps = || {
        let start = step("start", Action::Start(start.clone()));
        vec![
            step("stop", Action::StopProcess(stop.clone())),
            expecting(start, fails(StepFailure::CommandFailed)),
            lasting("then", 9),
        ]
    };
    // What must come first to be told from the start of the layer.
    let stopped = std::sync::atomic::AtomicBool::new(false);
    let refuses = move |name: &str, script: &str| {
        use std::sync::atomic::Ordering;
        stopped.fetch_or(script.contains("kill -KILL "), Ordering::Relaxed);
        let serves = script.contains("nbdkit -") && stopped.load(Ordering::Relaxed);
        (name == "vix1" && serves)
            .then(|| Act::Say(1, String::new(), "no port\n".to_owned()))
            .or(sleeps(name, script))
    };
    let other = LOST.replace("nbd1", "nbd0");
    let lost = happens(vec![(4, says("vix0", LOST)), (5, says("vix1", &other))]);
    let plan = planned("[[layer]]\nnbd = { disk = \"1GiB\" }\n", steps());
    let played = play_plan(plan, |backend| backend, refuses, lost).await;
    assert_eq!(played.kind(), (FailureKind::KernelComplaint, Some("vix1")));
    let message = played.failure().2;
    assert!(
        message.starts_with("1 device error about nbd0"),
        "{message}"
    );
}

#[tokio::test(start_paused = true)]
async fn expected_errors_must_come() {
    let errors_of = || Expectation::ErrorsOf {
        nodes: vec![node("vix1")],
    };
    let steps = || {
        vec![
            expecting(lasting("kill", 1), errors_of()),
            lasting("then", 5),
        ]
    };
    let played = hears(steps(), 3, LOST).await;
    assert_eq!(played.outcome, Outcome::Passed);
    let step = "kill".to_owned();
    assert_eq!(played.findings[0].excuse, Some(Excuse::Expected { step }));
    let played = play(steps(), sleeps).await;
    assert_eq!(
        played.failure(),
        (
            "failed",
            "end check",
            "step kill expects errors of devices that need vix1: there was none"
        )
    );
    assert_eq!(played.kind(), (FailureKind::ExpectationNotMet, None));
}

#[tokio::test(start_paused = true)]
async fn an_expected_line_excuses_itself_alone() {
    let pattern = "blocked for more than".to_owned();
    let on = vec![node("vix0"), node("vix1")];
    let steps = || {
        let (pattern, on) = (pattern.clone(), on.clone());
        let hang = Expectation::KernelLog { pattern, on };
        vec![expecting(lasting("hang", 5), hang)]
    };
    let hung = "[ 3.0] INFO: task dd:812 blocked for more than 120 seconds.";
    assert_eq!(hears(steps(), 3, hung).await.outcome, Outcome::Passed);
    let played = hears(steps(), 3, "[ 3.0] kernel BUG at fs/x.c:1!").await;
    assert_eq!(played.kind(), (FailureKind::KernelComplaint, Some("vix0")));
    let played = play(steps(), sleeps).await;
    assert_eq!(played.kind(), (FailureKind::ExpectationNotMet, None));
}

#[tokio::test(start_paused = true)]
async fn a_step_may_fail_as_it_is_expected_to() {
    let refused = |name: &str, script: &str| match script {
        "false" => Some(Act::Say(1, String::new(), "no".to_owned())),
        _ => sleeps(name, script),
    };
    let try_it = |command: &str, kind| {
        vec![
            expecting(step("try", run("vix0", command)), fails(kind)),
            lasting("then", 1),
        ]
    };
    let played = play(try_it("false", StepFailure::UnexpectedResult), refused).await;
    assert_eq!(played.outcome, Outcome::Passed);
    assert!(played.phases().contains(&"step then"));
    let played = play(try_it("true", StepFailure::UnexpectedResult), refused).await;
    assert_eq!(
        played.failure(),
        (
            "failed",
            "step try",
            "step try expects to fail with unexpected_result: it passed"
        )
    );
    assert_eq!(played.kind().0, FailureKind::ExpectationNotMet);
    let played = play(try_it("false", StepFailure::WriteFailed), refused).await;
    assert_eq!(played.kind().0, FailureKind::UnexpectedResult);
}

#[tokio::test(start_paused = true)]
async fn a_step_in_the_background_may_fail_as_it_is_expected_to() {
    let full = |name: &str, script: &str| {
        let said = "/bin/dd: error writing: No space left on device\n".to_owned();
        script
            .contains("cat report")
            .then(|| Act::Say(1, String::new(), said))
            .or(sleeps(name, script))
    };
    let steps = |expected| {
        let load = step("load", dd(&["vix0"], true));
        let load = match expected {
            Some(kind) => expecting(load, fails(kind)),
            None => load,
        };
        vec![load, lasting("meanwhile", 2)]
    };
    let played = play(steps(None), full).await;
    let kind = played.kind().0;
    assert_eq!(kind, FailureKind::CommandFailed);
    let expected = || Some(StepFailure::CommandFailed);
    assert_eq!(play(steps(expected()), full).await.outcome, Outcome::Passed);
    let mut waited = steps(expected());
    waited.push(step("join", wait("load")));
    assert_eq!(play(waited, full).await.outcome, Outcome::Passed);
    let played = play(steps(expected()), sleeps).await;
    assert_eq!(played.kind().0, FailureKind::ExpectationNotMet);
}

pub(super) fn fences_itself() -> Expectation {
    Expectation::FencesItself { node: node("vix1") }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_fences_itself_as_expected_is_down_then() {
    let sorry = "[ 3.0] *** ocfs2 is very sorry to be fencing this system by restarting ***";
    let ends = || {
        happens(vec![
            (3, says("vix1", sorry)),
            (3, exited("exited with 0", Some("guest-reset"), None)),
            (
                4,
                says(
                    "vix0",
                    "[ 9.0] o2cb: o2dlm has evicted node 1 from domain ADA600",
                ),
            ),
        ])
    };
    // On another node or on itself, where the command ends with the node.
    for command in [run("vix0", "sleep 1"), run("vix1", "sleep 20")] {
        let steps = vec![
            expecting(step("cut off", command), fences_itself()),
            lasting("then", 2),
            step("restart", restart("vix1")),
        ];
        let played = play_with(steps, |backend| backend, sleeps, ends()).await;
        assert_eq!(played.outcome, Outcome::Passed);
        let crashes = played
            .asked
            .iter()
            .filter(|(_, what)| what == "crash Power");
        assert_eq!(crashes.count(), 1, "what is left of it is ended");
        let kinds: Vec<_> = played.findings.iter().map(|it| it.kind).collect();
        assert_eq!(kinds, [FindingKind::Fencing, FindingKind::Eviction]);
    }
    // Without the expectation, or with a panic that is one.
    let played = play_with(
        vec![lasting("cut off", 9)],
        |backend| backend,
        sleeps,
        ends(),
    )
    .await;
    assert_eq!(played.failure().0, "failed");
    let panic = lost(EventKind::Panicked {
        console_tail: String::new(),
    });
    let steps = vec![expecting(lasting("cut off", 1), fences_itself())];
    let ends = happens(vec![
        (3, panic),
        (4, exited("exited with 0", Some("guest-reset"), None)),
    ]);
    let played = play_with(steps, |backend| backend, sleeps, ends).await;
    assert_eq!(played.outcome, Outcome::Passed);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_does_not_fence_itself_in_time_fails_the_step() {
    let steps = vec![expecting(lasting("cut off", 1), fences_itself())];
    let began = Instant::now();
    let played = play(steps, sleeps).await;
    assert_eq!(
        played.failure(),
        (
            "failed",
            "step cut off",
            "step cut off expects that vix1 fences itself: it did not within 30 s"
        )
    );
    assert_eq!(
        played.kind(),
        (FailureKind::ExpectationNotMet, Some("vix1"))
    );
    assert!(began.elapsed() < Duration::from_secs(60));
    // Another end than that by itself is none.
    let steps = vec![expecting(lasting("cut off", 9), fences_itself())];
    let ends = happens(vec![(3, exited("was ended by SIGKILL", None, None))]);
    let played = play_with(steps, |backend| backend, sleeps, ends).await;
    assert_eq!(played.failure().0, "broken");
}

#[tokio::test(start_paused = true)]
async fn layers_are_looked_at_again_at_the_end() {
    let gone = |name: &str, script: &str| {
        let at_end = name == "vix1" && script.contains("sanlab: probe ");
        let again = name == "vix1" && script.contains("/proc/mounts");
        match () {
            () if at_end => Some(Act::Say(0, String::new(), String::new())),
            () if again => Some(Act::Say(0, "not there\n".to_owned(), String::new())),
            () => sleeps(name, script),
        }
    };
    // The volume is mounted by a step.
    let layers = &LAYERS.replace("slots = 2", "slots = 2, mount = false");
    let steps = vec![step("mount", mount(&["vix0", "vix1"]))];
    let played = play_plan(planned(layers, steps), |backend| backend, sleeps, |_, _| ()).await;
    assert_eq!(played.outcome, Outcome::Passed);
    let mounted = std::sync::atomic::AtomicBool::new(false);
    let gone = move |name: &str, script: &str| {
        use std::sync::atomic::Ordering;
        if script.contains("sanlab: probe ") {
            mounted.store(true, Ordering::Relaxed);
        }
        let ended = mounted.load(Ordering::Relaxed);
        if ended {
            gone(name, script)
        } else {
            sleeps(name, script)
        }
    };
    let steps = vec![step("mount", mount(&["vix0", "vix1"]))];
    let began = Instant::now();
    let played = play_plan(planned(layers, steps), |backend| backend, gone, |_, _| ()).await;
    let (word, phase, message) = played.failure();
    assert_eq!((word, phase), ("failed", "end check"));
    assert!(
        message.contains("1 wrong layer state on vix1") && message.contains("layer ocfs2: "),
        "{message}"
    );
    assert!(message.contains("saw `not there`"), "{message}");
    assert_eq!(played.kind(), (FailureKind::ConditionNotMet, Some("vix1")));
    assert!(
        began.elapsed() < Duration::from_secs(90),
        "{:?}",
        began.elapsed()
    );
    assert!(!played.phases().contains(&"take down"));
}

#[tokio::test(start_paused = true)]
async fn a_kernel_that_cannot_be_heard_is_not_taken_for_a_silent_one() {
    let deaf = |backend: FakeFleet| backend.heard_by(unbounded_channel().0);
    let steps = vec![step("look", same_tree(&["vix0"]))];
    let played = play_with(steps, deaf, well, |_, _| ()).await;
    let (word, _, message) = played.failure();
    assert_eq!(word, "failed");
    assert!(message.starts_with("hear the kernel of vix"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn what_follows_from_a_lost_machine_does_not_change_the_blame() {
    let ends = happens(vec![
        (2, exited("was ended by SIGKILL", None, None)),
        (3, says("vix0", LOST)),
    ]);
    let hang = |_: &str, script: &str| (script == "sync").then_some(Act::Hang);
    let steps = vec![step("flush", run("vix0", "sync"))];
    let played = play_with(steps, |backend| backend, hang, ends).await;
    assert_eq!(played.failure().0, "broken");
    assert_eq!(played.kind(), (FailureKind::QemuDead, Some("vix1")));
}
