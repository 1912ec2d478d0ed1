//! Failures that a scenario names as known, and what of a failure that name is compared with.

use sanlab_plan::{Action, Known, Run};

use super::evidence::{lasting, says, sleeps};
use super::*;
use crate::backend::fake_fleet::node;

/// Two nodes whose runs fail in that way.
fn known(pattern: &str, steps: Vec<Step>) -> Plan {
    Plan {
        known: Some(Known {
            pattern: pattern.to_owned(),
            because: "it is not mended".to_owned(),
            source: "https://example.org/1".to_owned(),
        }),
        ..plan(steps)
    }
}

async fn ended(
    pattern: &str,
    steps: Vec<Step>,
    actor: impl Fn(&str, &str) -> Option<Act> + Send + Sync + 'static,
) -> &'static str {
    let played = play_plan(known(pattern, steps), |it| it, actor, |_, _| ()).await;
    played.outcome.as_str()
}

#[tokio::test(start_paused = true)]
async fn a_known_failure_is_told_from_others() {
    let known = |pattern: &str| known(pattern, vec![lasting("a while", 5)]);
    let bug = || happens(vec![(2, says("vix0", "[ 5.0] kernel BUG at fs/x.c:1!"))]);
    let played = play_plan(known(r"BUG at fs/x\.c"), |backend| backend, sleeps, bug()).await;
    let Outcome::KnownFailure { failure, known: by } = &played.outcome else {
        panic!("{:?}", played.outcome);
    };
    assert_eq!(failure.kind, FailureKind::KernelComplaint);
    assert_eq!(by.because, "it is not mended");
    let said = |played: &Played, known: bool| {
        let mut events = played.logged.events.iter();
        events.any(|event| match &event.kind {
            EventKind::KnownFailure { .. } => known,
            EventKind::Failed { .. } => !known,
            _ => false,
        })
    };
    assert!(said(&played, true) && !said(&played, false));
    let played = play_plan(known("fs/y"), |backend| backend, sleeps, bug()).await;
    assert_eq!(played.failure().0, "failed");
    assert_eq!(played.kind().0, FailureKind::KernelComplaint);
    assert!(said(&played, false) && !said(&played, true));
    let played = play_plan(known("fs/x"), |backend| backend, sleeps, |_, _| ()).await;
    assert_eq!(played.kind().0, FailureKind::ExpectationNotMet);
    let message = played.failure().2;
    assert!(message.contains("remove `known`"), "{message}");
    let dead = |_: &str, script: &str| (script == "sleep 5").then_some(Act::Dead);
    let played = play_plan(known("agent"), |backend| backend, dead, |_, _| ()).await;
    assert_eq!(played.failure().0, "broken");
}

#[tokio::test(start_paused = true)]
async fn a_pattern_that_describes_findings_alone_is_no_name_of_a_failure_beside_them() {
    let fail = |_: &str, script: &str| {
        let fails = Act::Say(1, String::new(), "no".to_owned());
        (script == "fail").then(|| Act::After(Duration::from_secs(2), Box::new(fails)))
    };
    let lost = "[ 9.0] I/O error, dev nbd1, sector 8 op 0x1:(WRITE)";
    for (pattern, outcome) in [
        ("I/O error", "failed"),
        ("must exit with 0", "failed"),
        ("I/O error|must exit with 0", "known failure"),
    ] {
        let steps = vec![step("try", run("vix0", "fail"))];
        // It is heard when the step has failed.
        let hears = |notify: UnboundedSender<Notice>, _| {
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(2200)).await;
                let _ = notify.send(says("vix0", lost));
            });
        };
        let played = play_plan(known(pattern, steps), |it| it, fail, hears).await;
        assert_eq!(played.outcome.as_str(), outcome, "{pattern}");
        let message = &played.recorded().message;
        assert!(
            message.contains("I/O error") && message.contains("must exit"),
            "{message}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_pattern_is_found_in_reasons_not_in_what_is_quoted_beside_them() {
    let refuse = |_: &str, script: &str| {
        let (out, reason) = ("the kernel said something", "mkfs.ocfs2: no room");
        script
            .contains("mkfs")
            .then(|| Act::Say(1, out.to_owned(), reason.to_owned()))
    };
    for (pattern, outcome) in [
        ("the kernel said", "failed"),
        ("its whole output|output/", "failed"),
        ("no room", "known failure"),
        ("vix0: exited with 1$", "known failure"),
    ] {
        assert_eq!(
            ended(pattern, Vec::new(), refuse).await,
            outcome,
            "{pattern}"
        );
    }
    // All that a command of the scenario prints is its own.
    let differs = |_: &str, script: &str| {
        let lines: Vec<String> = (0..50).map(|number| format!("block {number}")).collect();
        (script == "compare").then(|| Act::Say(1, lines.join("\n"), String::new()))
    };
    for (pattern, outcome) in [("block 25", "known failure"), ("block 50", "failed")] {
        let steps = vec![step("compare", run("vix0", "compare"))];
        assert_eq!(ended(pattern, steps, differs).await, outcome, "{pattern}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_node_that_fails_must_fail_as_known() {
    let fail = |name: &str, script: &str| {
        let said = format!("{name} differs");
        (script == "compare").then(|| Act::Say(1, said, String::new()))
    };
    for (pattern, outcome) in [
        ("vix0 differs", "failed"),
        ("vix[01] differs", "known failure"),
    ] {
        let both = Action::Run(Run {
            on: vec![node("vix0"), node("vix1")],
            command: "compare".to_owned(),
            exit: 0,
            output: None,
            same: false,
        });
        let steps = vec![step("compare", both)];
        assert_eq!(ended(pattern, steps, fail).await, outcome, "{pattern}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_a_panic_the_kernels_own_word_counts() {
    let panic = || {
        let tail = "EXT4-fs (vda): mounted\n[ 5.0] Kernel panic - not syncing: softlockup";
        happens(vec![(
            2,
            lost(EventKind::Panicked {
                console_tail: tail.to_owned(),
            }),
        )])
    };
    for (pattern, outcome) in [("EXT4-fs", "failed"), ("syncing: soft", "known failure")] {
        let plan = known(pattern, vec![lasting("a while", 9)]);
        let played = play_plan(plan, |it| it, sleeps, panic()).await;
        assert_eq!(played.outcome.as_str(), outcome, "{pattern}");
        assert_eq!(played.kind(), (FailureKind::GuestPanicked, Some("vix1")));
    }
}
