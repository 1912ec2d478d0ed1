use super::*;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

const SECOND: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(20);

fn budget(cpus: u64) -> (tempfile::TempDir, Registry, Budget) {
    let dir = tempfile::tempdir().unwrap();
    let (registry, _) = Registry::at(dir.path().join("runs")).unwrap();
    let budget = Budget::with_capacity(
        &registry,
        Need {
            memory_mib: 1000,
            cpus,
        },
    );
    (dir, registry, budget)
}

fn need(memory_mib: u64, cpus: u64) -> Need {
    Need { memory_mib, cpus }
}

#[tokio::test]
async fn what_fits_is_granted_at_once_and_the_rest_waits() {
    let (_dir, registry, budget) = budget(4);
    let runs = [
        registry.create_run().unwrap(),
        registry.create_run().unwrap(),
        registry.create_run().unwrap(),
    ];
    let first = budget
        .acquire(&runs[0], need(400, 2), SECOND, |_| panic!("there is room"))
        .await
        .unwrap();
    let _second = budget
        .acquire(&runs[1], need(400, 1), SECOND, |_| panic!("there is room"))
        .await
        .unwrap();

    let heard = Mutex::new(Vec::new());
    let on_wait = |waiting: &WaitingFor| heard.lock().unwrap().push(waiting.to_string());
    let error = budget
        .acquire(&runs[2], need(300, 1), SECOND / 2, on_wait)
        .await
        .unwrap_err()
        .to_string();
    let hide = |text: &str| {
        let names = [
            (runs[0].name(), "FIRST"),
            (runs[1].name(), "SECOND"),
            (std::process::id().to_string(), "PID"),
        ];
        names
            .iter()
            .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
    };
    // Holders are listed by folder name, which is random.
    let error = hide(&error);
    assert!(error.starts_with("get a place for the fleet within 0 s: waiting for 300 MiB and 1 CPU; free: 200 MiB and 1 CPU; held by run "), "{error}");
    assert!(
        error.contains("run FIRST (process PID): 400 MiB and 2 CPUs"),
        "{error}"
    );
    assert_eq!(heard.into_inner().unwrap().len(), 1);

    drop(first);
    budget
        .acquire(&runs[2], need(300, 1), SECOND, |_| panic!("there is room"))
        .await
        .unwrap();
}

#[tokio::test]
async fn who_measures_has_the_machine_for_itself() {
    let (_dir, registry, mine) = budget(4);
    let others = Budget {
        me: mine.me + 1,
        ..mine.clone()
    };
    let new = || registry.create_run().unwrap();
    let (running, measuring, own, late) = (new(), new(), new(), new());
    let silent = |_: &WaitingFor| ();
    let permit = others
        .acquire(&running, need(100, 1), SECOND, silent)
        .await
        .unwrap();
    let said = |waiting: &WaitingFor| {
        assert!(
            waiting
                .to_string()
                .starts_with("the machine without other fleets; held by run "),
            "{waiting}"
        );
    };
    let early = mine.acquire_alone(&measuring, SECOND / 2, said).await;
    assert!(matches!(early, Err(FleetError::NoRoom { .. })), "{early:?}");
    drop(permit);
    let alone = mine
        .acquire_alone(&measuring, SECOND, silent)
        .await
        .unwrap();
    let permit = mine.acquire(&own, need(100, 1), SECOND, silent).await;
    drop(permit.unwrap());
    let said = |waiting: &WaitingFor| {
        let who = format!("(process {}), which measures", mine.me);
        assert!(waiting.to_string().contains(&who), "{waiting}");
    };
    let refused = others.acquire(&late, need(100, 1), SECOND / 2, said).await;
    assert!(
        matches!(refused, Err(FleetError::NoRoom { .. })),
        "{refused:?}"
    );
    drop(alone);
    others
        .acquire(&late, need(100, 1), SECOND, silent)
        .await
        .unwrap();
}

#[tokio::test]
async fn larger_than_the_machine_is_an_error_at_once() {
    let (_dir, registry, budget) = budget(2);
    let (small, large) = (
        registry.create_run().unwrap(),
        registry.create_run().unwrap(),
    );
    let _permit = budget
        .acquire(&small, need(900, 2), LONG, |_| {})
        .await
        .unwrap();
    let error = budget
        .acquire(&large, need(1001, 1), LONG, |_| {})
        .await
        .unwrap_err()
        .to_string();
    insta::assert_snapshot!(error, @"start a fleet that needs 1001 MiB and 1 CPU: this machine has 1000 MiB and 2 CPUs to give");
}

/// A machine whose other programs leave what is in the cell.
fn beside_others(registry: &Registry, memory_mib: Arc<AtomicU64>) -> Budget {
    let look = move || {
        Ok(Capacity {
            most: need(1000, 2),
            available: need(memory_mib.load(Ordering::SeqCst), 2),
        })
    };
    Budget::looking(registry, look)
}

#[tokio::test]
async fn memory_that_other_programs_have_is_awaited() {
    let (_dir, registry, _) = budget(2);
    let run = registry.create_run().unwrap();
    let free = Arc::new(AtomicU64::new(300));
    let budget = beside_others(&registry, Arc::clone(&free));
    let heard = Mutex::new(Vec::new());
    // A little more is given back each time that is looked, and nobody is told of that.
    let given_back = {
        let (free, look) = (Arc::clone(&free), Arc::clone(&budget.look));
        move || {
            free.fetch_add(100, Ordering::SeqCst);
            look()
        }
    };
    let budget = Budget {
        look: Arc::new(given_back),
        ..budget
    };
    let on_wait = |waiting: &WaitingFor| heard.lock().unwrap().push(waiting.to_string());
    budget
        .acquire(&run, need(600, 1), LONG, on_wait)
        .await
        .unwrap();
    let heard = heard.into_inner().unwrap();
    assert_eq!(
        heard,
        ["600 MiB and 1 CPU; free: 400 MiB and 2 CPUs; other programs use the rest"]
    );
    assert_eq!(free.load(Ordering::SeqCst), 600);
}

#[tokio::test]
async fn memory_that_other_programs_keep_is_not_awaited_for_ever() {
    let (_dir, registry, _) = budget(2);
    let run = registry.create_run().unwrap();
    let budget = Budget {
        other_programs: SECOND / 4,
        ..beside_others(&registry, Arc::new(AtomicU64::new(300)))
    };
    let asked = budget.acquire(&run, need(600, 1), LONG, |_| ()).await;
    assert!(matches!(asked, Err(FleetError::NoRoom { .. })), "{asked:?}");
    let asked = budget.acquire(&run, need(1001, 1), LONG, |_| ()).await;
    assert!(
        matches!(asked, Err(FleetError::TooLarge { .. })),
        "{asked:?}"
    );
}

#[tokio::test]
async fn a_small_fleet_does_not_overtake_a_large_one() {
    let (_dir, registry, budget) = budget(4);
    let runs: Vec<_> = (0..3).map(|_| registry.create_run().unwrap()).collect();
    let holder = budget
        .acquire(&runs[0], need(600, 1), LONG, |_| {})
        .await
        .unwrap();
    let order = Mutex::new(Vec::new());
    let (queued, is_queued) = tokio::sync::oneshot::channel();
    let queued = Mutex::new(Some(queued));
    let large = async {
        let on_wait = |_: &WaitingFor| {
            if let Some(queued) = queued.lock().unwrap().take() {
                queued.send(()).unwrap();
            }
        };
        let permit = budget
            .acquire(&runs[1], need(900, 1), LONG, on_wait)
            .await
            .unwrap();
        order.lock().unwrap().push("large");
        drop(permit);
    };
    let small = async {
        is_queued.await.unwrap();
        let held = Mutex::new(Some(holder));
        let on_wait = |waiting: &WaitingFor| {
            // It would fit beside the holder, but somebody is before it; now the holder may go.
            assert!(need(100, 1).fits(waiting.free) && waiting.ahead.len() <= 1);
            drop(held.lock().unwrap().take());
        };
        let permit = budget
            .acquire(&runs[2], need(101, 1), LONG, on_wait)
            .await
            .unwrap();
        order.lock().unwrap().push("small");
        drop(permit);
    };
    tokio::join!(large, small);
    assert_eq!(order.into_inner().unwrap(), ["large", "small"]);
}

#[tokio::test]
async fn claims_of_the_dead_do_not_count() {
    let (_dir, registry, budget) = budget(2);
    let dead = registry.path().join("dead00");
    fs_err::create_dir(&dead).unwrap();
    fs_err::write(dead.join("lock"), "").unwrap();
    Claim {
        ticket: 0,
        granted: true,
        pid: 1,
        need: need(1000, 2),
        alone: false,
    }
    .write(&dead.join(CLAIM))
    .unwrap();
    let run = registry.create_run().unwrap();
    budget
        .acquire(&run, need(1000, 2), SECOND, |_| panic!("nobody lives"))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_cancelled_wait_leaves_the_queue() {
    let (_dir, registry, budget) = budget(2);
    let (holder, waiter) = (
        registry.create_run().unwrap(),
        registry.create_run().unwrap(),
    );
    let _permit = budget
        .acquire(&holder, need(1, 2), SECOND, |_| {})
        .await
        .unwrap();
    let waiting = budget.acquire(&waiter, need(1, 1), LONG, |_| {});
    assert!(tokio::time::timeout(SECOND / 4, waiting).await.is_err());
    assert!(!waiter.path().join(CLAIM).exists());
}
