//! What guests print is kept, and shown where it matters.

use sanlab_plan::{Action, Run};
use sanlab_record::PhaseName;

use super::*;
use crate::backend::fake_fleet::node;

fn run_on(on: &[&str], command: &str, same: bool) -> Action {
    Action::Run(Run {
        on: on.iter().map(|name| node(name)).collect(),
        command: command.to_owned(),
        exit: 0,
        output: None,
        same,
    })
}

fn said(code: i32, stdout: &str, stderr: &str) -> Act {
    Act::Say(code, stdout.to_owned(), stderr.to_owned())
}

#[tokio::test(start_paused = true)]
async fn what_a_passing_command_printed_is_kept_and_listed() {
    let speak = |_: &str, script: &str| match script {
        "say a needle" => Some(said(0, "needle\n", "")),
        _ => None,
    };
    let steps = vec![
        step("a b", run("vix0", "say a needle")),
        step("a_b", run("vix1", "say a needle")),
        step("silent", run("vix1", "true")),
    ];
    let played = play(steps, speak).await;
    assert_eq!(played.outcome, Outcome::Passed);
    let listed = |event: &&Event| matches!(&event.kind, EventKind::Printed { command, .. } if command == "say a needle");
    let listed: Vec<_> = played.logged.events.iter().filter(listed).collect();
    let phases = listed.iter().map(|event| event.phase.clone());
    assert_eq!(
        phases.collect::<Vec<_>>(),
        [Some(PhaseName::step("a b")), Some(PhaseName::step("a_b"))]
    );
    assert_eq!(
        listed[0].kind,
        EventKind::Printed {
            file: "output/step-a-b/vix0.txt".to_owned(),
            command: "say a needle".to_owned(),
            status: "exited with 0".to_owned(),
            stdout_bytes: 7,
            stderr_bytes: 0,
        }
    );
    let text = &played.printed["output/step-a-b/vix0.txt"];
    assert!(text.contains("\nneedle\n"), "{text}");
    assert!(played.printed.contains_key("output/step-a_5fb/vix1.txt"));
    assert!(!played.printed.contains_key("output/step-silent/vix1.txt"));
}

#[tokio::test(start_paused = true)]
async fn a_failure_shows_the_first_and_the_last_lines_and_names_the_file() {
    let fail = |_: &str, script: &str| {
        let numbers: Vec<String> = (1..=20).map(|number| number.to_string()).collect();
        let out = format!("needle-at-the-top\n{}\n", numbers.join("\n"));
        (script == "fail").then(|| Act::Say(3, out, String::new()))
    };
    let played = play(vec![step("words", run("vix0", "fail"))], fail).await;
    insta::assert_snapshot!(played.failure().2, @r"
    `fail` on vix0 exited with 3, but must exit with 0: needle-at-the-top
    1
    2
    ... 12 lines ...
    15
    16
    17
    18
    19
    20
    its whole output: output/step-words/vix0.txt
    ");
    assert_eq!(played.kind(), (FailureKind::UnexpectedResult, Some("vix0")));
    let text = &played.printed["output/step-words/vix0.txt"];
    assert!(
        text.contains("\n5\n") && text.contains(": exited with 3\n"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_layers_task_printed_is_kept() {
    let refuse = |_: &str, script: &str| match script {
        script if script.contains("mkfs") => {
            Some(said(1, "the kernel since then:\n[ 1.0] no\n", "mkfs: no\n"))
        }
        _ => None,
    };
    let played = play(Vec::new(), refuse).await;
    let message = played.failure().2;
    assert!(
        message.ends_with(
            ": exited with 1: mkfs: no\n\
             and on standard output:\n\
             the kernel since then:\n\
             [ 1.0] no\n\
             its whole output: output/layer-ocfs2/vix0.txt"
        ),
        "{message}"
    );
    let text = &played.printed["output/layer-ocfs2/vix0.txt"];
    assert!(text.contains("\nmkfs: no\n"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn what_a_command_printed_before_its_deadline_is_kept() {
    let hang = |_: &str, script: &str| (script == "sync").then_some(Act::Hang);
    let played = play(vec![step("flush", run("vix0", "sync"))], hang).await;
    let text = &played.printed["output/step-flush/vix0.txt"];
    assert!(
        text.contains(": had not ended after 30 s\n") && text.contains("\nso far\n"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn nodes_that_must_print_the_same_are_compared() {
    let speak = |node: &str, script: &str| match (node, script) {
        (_, "agree") => Some(said(0, "one\ntwo\n", node)),
        ("vix0", "differ") => Some(said(0, "one\ntwo\n", "")),
        (_, "differ") => Some(said(0, "one\nthree\n", "")),
        _ => None,
    };
    let both = ["vix0", "vix1"];
    let played = play(vec![step("same", run_on(&both, "agree", true))], speak).await;
    assert_eq!(played.outcome, Outcome::Passed);
    let played = play(vec![step("same", run_on(&both, "differ", false))], speak).await;
    assert_eq!(played.outcome, Outcome::Passed);
    let played = play(vec![step("same", run_on(&both, "differ", true))], speak).await;
    assert_eq!(played.kind(), (FailureKind::Differences, None));
    insta::assert_snapshot!(played.failure().2, @r"
    `differ` did not print the same everywhere, first of all in line 2:
    vix0: `two\n`
    vix1: `three\n`
    its whole output: output/step-same/vix0.txt, output/step-same/vix1.txt
    ");
}
