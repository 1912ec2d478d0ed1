//! What a run keeps of its fleet, and what a later one makes of it.

use sanlab_plan::CheckpointName;

use super::*;

/// What a first run of these steps kept.
async fn kept_by(steps: Vec<Step>) -> Option<StartPoint> {
    kept(steps, well).await
}

/// The same with an actor of the caller's choice.
pub(super) async fn kept(
    steps: Vec<Step>,
    actor: impl Fn(&str, &str) -> Option<Act> + Send + Sync + 'static,
) -> Option<StartPoint> {
    kept_of(plan(steps), actor).await
}

/// What a first run of a plan kept last.
pub(super) async fn kept_of(
    plan: Plan,
    actor: impl Fn(&str, &str) -> Option<Act> + Send + Sync + 'static,
) -> Option<StartPoint> {
    let stack = sanlab_stack::compose(&plan);
    let (notify, notices) = unbounded_channel();
    let backend = Arc::new(FakeFleet::new(&plan, &stack, actor).heard_by(notify));
    let context = RunContext::new(
        plan,
        stack,
        Arc::clone(&backend) as Arc<dyn FleetBackend>,
        EventLog::new(unbounded_channel().0),
        RunOptions::default(),
    );
    let folder = tempfile::tempdir().unwrap();
    let finished = run_plan(context, notices, folder.path()).await;
    assert_eq!(finished.outcome, Outcome::Passed);
    backend.kept.lock().unwrap().take()
}

fn writes_then_compares() -> Vec<Step> {
    vec![
        Step {
            checkpoint: Some(CheckpointName::parse("written").unwrap()),
            ..step("load", dd(&["vix0", "vix1"], false))
        },
        step("compare", same_tree(&["vix0", "vix1"])),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_fork_does_the_rest_and_knows_what_was_acknowledged() {
    let kept = kept_by(writes_then_compares()).await;
    // The second node has lost a byte since.
    let lost = |node: &str, script: &str| {
        if node == "vix1" && script.contains("drop_caches") {
            let listed = format!(
                "{LISTED}{ZEROS}  ./vix0.img\0{}  ./vix1.img\0",
                "0".repeat(64)
            );
            return Some(Act::Say(0, listed, String::new()));
        }
        well(node, script)
    };
    let fork = |backend: FakeFleet| backend.kept(kept.clone());
    let played = play_with(writes_then_compares(), fork, well, |_, _| ()).await;
    assert_eq!(played.outcome, Outcome::Passed);
    let names = played.phases().into_iter();
    let origins = names.zip(&played.logged.phases).map(|(name, phase)| {
        let forked = matches!(phase.origin, sanlab_record::Origin::Forked { .. });
        (name, forked)
    });
    assert_eq!(
        origins.collect::<Vec<_>>(),
        [
            ("prepare", false),
            ("fork", false),
            ("boot", true),
            ("layer nbd", true),
            ("layer linear", true),
            ("layer o2cb", true),
            ("layer ocfs2", true),
            ("layer mount", true),
            ("step load", true),
            ("step compare", false),
            ("end check", false),
            ("take down", false),
            ("teardown", false),
        ]
    );
    let played = play_with(writes_then_compares(), fork, lost, |_, _| ()).await;
    let (outcome, phase, message) = played.failure();
    assert_eq!((outcome, phase), ("failed", "step compare"));
    assert!(
        message.contains("acknowledged by step load on vix1"),
        "{message}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_damaged_checkpoint_is_told_and_built_anew() {
    let kept = kept_by(writes_then_compares()).await;
    let damaged = |backend: FakeFleet| backend.kept(kept).damaged();
    let played = play_with(writes_then_compares(), damaged, well, |_, _| ()).await;
    assert_eq!(played.outcome, Outcome::Passed);
    let discarded = |event: &Event| matches!(event.kind, EventKind::Discarded { .. });
    assert!(played.logged.events.iter().any(discarded));
    assert!(played.phases().contains(&"layer nbd"));
    assert!(played.phases().contains(&"keep written"));
}

#[tokio::test(start_paused = true)]
async fn a_fleet_that_cannot_be_kept_goes_on() {
    let full = |backend: FakeFleet| backend.keeps_nothing();
    let played = play_with(writes_then_compares(), full, well, |_, _| ()).await;
    assert_eq!(played.outcome, Outcome::Passed);
    let not_kept = |event: &Event| matches!(&event.kind, EventKind::NotKept { reason, .. } if reason == "the store is full");
    assert!(played.logged.events.iter().any(not_kept));
}

#[tokio::test(start_paused = true)]
async fn a_kernel_in_trouble_is_never_kept() {
    let oops =
        |backend: FakeFleet| backend.console("[    9.0] BUG: kernel NULL pointer dereference\n");
    let played = play_with(writes_then_compares(), oops, well, |_, _| ()).await;
    let (outcome, phase, _) = played.failure();
    assert_eq!((outcome, phase), ("failed", "keep layers"));
}
