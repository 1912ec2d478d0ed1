//! The fleet of a run that has failed is saved, and its verdict stands whatever becomes of that.

use super::*;

/// What a run of one step with `command` has to say of saving, and its outcome.
async fn saved(command: &str, dress: impl FnOnce(FakeFleet) -> FakeFleet) -> (Outcome, String) {
    let plan = plan(vec![step("try", run("vix0", command))]);
    let stack = sanlab_stack::compose(&plan);
    let (notify, notices) = unbounded_channel();
    let backend = dress(FakeFleet::new(&plan, &stack, well).heard_by(notify));
    let event_log = EventLog::new(unbounded_channel().0);
    let options = RunOptions {
        save_failed: Some(Enclosure {
            name: "scenario.json",
            text: b"{}".to_vec(),
        }),
        ..RunOptions::default()
    };
    let context = RunContext::new(plan, stack, Arc::new(backend), event_log.clone(), options);
    let folder = tempfile::tempdir().unwrap();
    let finished = run_plan(context, notices, folder.path()).await;
    let events = event_log.take().events.into_iter();
    let told = events.filter(|event| event.phase == Some(PhaseName::Save));
    let told: Vec<String> = told.map(|event| event.to_string()).collect();
    let told = told.join("\n");
    let enclosed = folder.path().join("saved/scenario.json").is_file();
    assert_eq!(enclosed, told.contains("the fleet was saved in"), "{told}");
    let folder = folder.path().display().to_string();
    (finished.outcome, told.replace(&folder, "[run]"))
}

#[tokio::test(start_paused = true)]
async fn a_fleet_that_has_failed_is_saved_where_it_can_be() {
    let (outcome, told) = saved("false", |fleet| fleet).await;
    assert_eq!(outcome.as_str(), "failed");
    let words = ", 3 MiB on disk: saved; without vix1: it hangs";
    assert!(told.contains(words), "{told}");
    let words = "FAILED: failed to resume node vix0: QEMU is silent";
    assert!(told.contains(words), "{told}");
    let (without, told) = saved("false", FakeFleet::keeps_nothing).await;
    assert_eq!(without, outcome);
    assert!(told.contains("the fleet was not saved: "), "{told}");
    assert!(told.contains("[run]/saved is full"), "{told}");
    let (outcome, told) = saved("true", |fleet| fleet).await;
    assert_eq!((outcome, told.as_str()), (Outcome::Passed, ""));
}
