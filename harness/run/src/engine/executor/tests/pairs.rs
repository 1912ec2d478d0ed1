//! Pairs of DRBD whose node comes back.

use std::sync::atomic::{AtomicUsize, Ordering};

use sanlab_plan::CrashKind;

use super::*;
use crate::backend::fake_fleet::{crash, planned, restart};

/// vix0 is crashed and comes back; then it sees what `states` say, one look after another, the last one for ever.
async fn comes_back(states: &'static [&'static str]) -> Played {
    let steps = [
        step("crash", crash("vix0", CrashKind::Power, 0)),
        step("back", restart("vix0")),
    ];
    let patient = steps.map(|step| Step {
        deadline: Duration::from_secs(600),
        ..step
    });
    let drbd = "[[layer]]\ndrbd = { resource = \"r\", on = \"vix[0-1]\", disk = \"64MiB\", primaries = \"first\" }\n";
    let looks = AtomicUsize::new(0);
    let actor = move |_: &str, script: &str| {
        script.contains("cs:* | ds:*)").then(|| {
            let at = looks.fetch_add(1, Ordering::Relaxed).min(states.len() - 1);
            Act::Say(0, format!("{}\n130992\n", states[at]), String::new())
        })
    };
    let plan = planned(drbd, patient.to_vec());
    play_plan(plan, |backend| backend, actor, |_, _| ()).await
}

#[tokio::test(start_paused = true)]
async fn a_pair_that_does_not_agree_is_given_up_before_the_deadline() {
    let played = comes_back(&["cs:StandAlone ds:UpToDate/DUnknown"]).await;
    let (word, phase, message) = played.failure();
    assert_eq!((word, phase), ("failed", "step back"));
    assert!(message.contains("not so after 60 s"), "{message}");
    assert!(message.contains("saw `cs:StandAlone"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn roles_are_what_the_steps_made_of_them() {
    let played = comes_back(&[
        "cs:SyncTarget ds:Inconsistent/UpToDate finish: 0:00:01",
        "cs:Connected ds:UpToDate/UpToDate",
    ])
    .await;
    assert_eq!(played.outcome, Outcome::Passed);
}
