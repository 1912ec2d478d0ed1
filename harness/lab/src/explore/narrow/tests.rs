use std::path::Path;

use sanlab_plan::parse_with;

use super::*;
use crate::explore::course::tests::{Actor, lost, space};
use crate::explore::course::{Bounds, explore};

async fn narrowed(actor: &Arc<Actor>, groups: &[Vec<String>], runs: u32) -> Option<Narrowed> {
    let space = space();
    let bounds = Bounds {
        runs,
        budget: None,
        jobs: 4,
        all: true,
    };
    let exploration = explore(actor, &space, 7, &bounds, |_, _| ()).await;
    let kinds = exploration.kinds();
    let mut narrower = Narrower {
        runner: actor,
        space: &space,
        jobs: 4,
        runs: &exploration.runs,
        next: runs + 1,
    };
    let failed = kinds[&lost()][0];
    narrower.narrow(failed, &lost(), groups).await.unwrap()
}

fn milliseconds(text: &str) -> u128 {
    sanlab_plan::parse_duration(text).unwrap().as_millis()
}

#[tokio::test(start_paused = true)]
async fn the_edges_of_a_window_are_found() {
    for window in [1000..1050, 0..40, 2900..3001, 200..2000] {
        let actor = Actor::new(window.clone());
        let found = narrowed(&actor, &[], 200).await.unwrap();
        assert_eq!(found.again, (5, 5));
        let [edge] = &found.edges[..] else {
            panic!("{found:?}");
        };
        let (from, to) = (milliseconds(&edge.from), milliseconds(&edge.to));
        // A sixty-fourth of 3 s.
        let near = |place: u128, edge: u64| place.abs_diff(u128::from(edge)) < 48;
        assert!(
            near(from, window.start) && near(to, window.end),
            "{window:?}: {edge:?}"
        );
        assert!(
            window.contains(&u64::try_from(from).unwrap()),
            "it was seen to fail there"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn faults_that_a_failure_does_not_need_are_left_out() {
    let mut actor = Arc::into_inner(Actor::new(0..3001)).unwrap();
    actor.needs = vec!["crash"];
    let groups = [
        vec!["crash".to_owned(), "restart".to_owned()],
        vec!["cut".to_owned()],
    ];
    let found = narrowed(&Arc::new(actor), &groups, 8).await.unwrap();
    assert_eq!(found.needless, [["cut"]]);
    assert!(
        found
            .trial
            .settings
            .contains(&"step.cut.skip=true".to_owned())
    );
    assert!(
        !found
            .trial
            .settings
            .contains(&"step.crash.skip=true".to_owned())
    );
}

#[test]
fn a_fault_is_left_out_with_what_mends_it() {
    let text = r#"
        name = "faults"
        nodes = { vix0 = { arch = "x86" }, vix1 = { arch = "x86" } }
        [[step]]
        label = "cut"
        partition = { groups = ["vix0", "vix1"] }
        [[step]]
        heal = { step = "cut" }
        [[step]]
        crash = { node = "vix1" }
        [[step]]
        restart = { node = "vix1" }
    "#;
    let load = |skipped: &[String]| {
        let set = |label: &String| {
            sanlab_plan::Setting::parse(&format!("step.{label}.skip=true")).unwrap()
        };
        let settings: Vec<_> = skipped.iter().map(set).collect();
        let none = |_: &Path| Err(std::io::ErrorKind::NotFound.into());
        parse_with(Path::new("a.toml"), text, &settings, &none)
    };
    let plan = load(&[]).unwrap();
    assert_eq!(
        groups(&plan, |skipped| load(skipped).is_ok()),
        [vec!["cut", "heal"], vec!["crash", "restart"]]
    );
}

#[tokio::test(start_paused = true)]
async fn what_does_not_come_again_is_sought_near_by() {
    let space = space();
    let failed = Explored {
        trial: Trial {
            number: 3,
            seed: 7,
            settings: space.settings(&[0.5]),
        },
        point: vec![0.5],
        ran: crate::explore::course::Ran {
            ended: crate::explore::kind::Ended::Failed(lost()),
            path: "run-3/record.json".into(),
        },
    };
    let narrow = async |window| {
        let actor = Actor::new(window);
        let mut narrower = Narrower {
            runner: &actor,
            space: &space,
            jobs: 4,
            runs: std::slice::from_ref(&failed),
            next: 4,
        };
        narrower.narrow(&failed, &lost(), &[]).await.unwrap()
    };
    // 1500 ms fails no more, but 100 ms later does.
    let found = narrow(1600..1650).await.unwrap();
    let [edge] = &found.edges[..] else {
        panic!("{found:?}");
    };
    assert!((1600..1650).contains(&milliseconds(&edge.from)), "{edge:?}");
    assert_eq!(narrow(2000..2050).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_the_lab_could_not_do_tells_nothing_of_the_failure() {
    let space = space();
    let mut actor = Arc::into_inner(Actor::new(0..3001)).unwrap();
    actor.breaks = Some(5);
    let actor = Arc::new(actor);
    let bounds = Bounds {
        runs: 3,
        budget: None,
        jobs: 4,
        all: true,
    };
    let exploration = explore(&actor, &space, 7, &bounds, |_, _| ()).await;
    let mut narrower = Narrower {
        runner: &actor,
        space: &space,
        jobs: 4,
        runs: &exploration.runs,
        next: 4,
    };
    let error = narrower
        .narrow(&exploration.runs[0], &lost(), &[])
        .await
        .unwrap_err();
    assert_eq!(error.exit(), crate::Exit::Broken);
    assert_eq!(
        error.to_string(),
        "narrow a failure: run 5 is broken: boot: no space left; record: run-5/record.json"
    );
}

#[tokio::test(start_paused = true)]
async fn a_run_without_a_record_ends_the_narrowing_and_takes_no_other_along() {
    let space = space();
    let mut actor = Arc::into_inner(Actor::new(0..3001)).unwrap();
    actor.fails_to_record = Some(5);
    actor.slow = Some(6);
    let actor = Arc::new(actor);
    let bounds = Bounds {
        runs: 3,
        budget: None,
        jobs: 4,
        all: true,
    };
    let exploration = explore(&actor, &space, 7, &bounds, |_, _| ()).await;
    let mut narrower = Narrower {
        runner: &actor,
        space: &space,
        jobs: 4,
        runs: &exploration.runs,
        next: 4,
    };
    let failed = &exploration.runs[0];
    let error = narrower.narrow(failed, &lost(), &[]).await.unwrap_err();
    assert_eq!(error.to_string(), "no space left");
    let asked = actor.asked.lock().unwrap();
    let mut numbers: Vec<u32> = asked.iter().map(|trial| trial.number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
}
