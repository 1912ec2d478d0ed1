//! How far up a run begins, and whether it takes the layers down.

use super::checkpoints::kept_of;
use super::*;

#[tokio::test(start_paused = true)]
async fn layers_end_with_their_guests_unless_taking_down_is_tested() {
    let plan = Plan {
        take_down: false,
        ..plan(vec![step("hello", run("vix0", "echo hello"))])
    };
    let played = play_plan(plan, |backend| backend, |_, _| None, |_, _| ()).await;
    assert_eq!(played.outcome, Outcome::Passed);
    assert!(
        played
            .phases()
            .ends_with(&["step hello", "end check", "teardown"]),
        "{:?}",
        played.phases()
    );
}

#[tokio::test(start_paused = true)]
async fn a_fork_of_the_first_layers_brings_up_the_others() {
    let whole = plan(vec![step("hello", run("vix0", "echo hello"))]);
    let mut lower = plan(Vec::new());
    lower.layers.truncate(2);
    let kept = kept_of(lower, |_, _| None).await;
    let played = play_plan(whole, |backend| backend.kept(kept), |_, _| None, |_, _| ()).await;
    assert_eq!(played.outcome, Outcome::Passed);
    let phases = played.logged.phases.iter();
    let built = phases
        .filter(|phase| !matches!(phase.origin, sanlab_record::Origin::Forked { .. }))
        .map(|phase| phase.name.to_string());
    assert_eq!(
        built.collect::<Vec<_>>(),
        [
            "prepare",
            "fork",
            "layer o2cb",
            "layer ocfs2",
            "layer mount",
            "keep layers",
            "step hello",
            "end check",
            "take down",
            "teardown",
        ]
    );
}
