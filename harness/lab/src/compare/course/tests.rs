use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};

use sanlab_record::{
    AcceleratorUse, Cost, Failure, FailureKind, HostUse, KnownBy, Measurement, Work,
};
use sanlab_report::comparison::Rules;
use sanlab_report::measure::Measure;
use sanlab_report::verdict::Verdict;
use tokio::time::sleep;

use super::*;
use crate::compare::verdicts::{HostClass, Verdicts};

/// Acts runs out.
#[derive(Default)]
struct Actor {
    asked: Vec<Turn>,
    /// Instructions by MiB on each side; B's last.
    instructions: [u64; 2],
    takes: Duration,
    /// The outcome of the run of that number, from 0.
    outcomes: BTreeMap<usize, Outcome>,
    cancel_at: Option<usize>,
}

impl Runner for Actor {
    async fn run(&mut self, turn: Turn) -> Result<Ran, LabError> {
        let number = self.asked.len();
        self.asked.push(turn);
        sleep(self.takes).await;
        // No two runs are quite the same.
        let jitter = (number * 7 % 5) as u64;
        let mut record = record(self.instructions[turn.side as usize] + jitter);
        if let Some(outcome) = self.outcomes.get(&number) {
            record.outcome = outcome.clone();
        }
        let path = PathBuf::from(turn.folder()).join("record.json");
        Ok(Ran { record, path })
    }

    fn is_cancelled(&self) -> bool {
        self.cancel_at.is_some_and(|at| self.asked.len() > at)
    }
}

/// A run that measured 1 MiB.
fn record(instructions: u64) -> RunRecord {
    let text = "name = \"acted\"\nnodes = { n = { arch = \"x86\" } }\nstep = [{ run = { command = \"true\" } }]";
    let plan = sanlab_plan::parse(std::path::Path::new("acted.toml"), text).unwrap();
    let mut record = crate::lab::runs::not_run(&plan, 0, "");
    record.outcome = Outcome::Passed;
    record.host = HostUse {
        cpu: "Acted CPU".to_owned(),
        cpus: 2,
        memory_mib: 4096,
        kernel: "6.1".to_owned(),
    };
    let translator = AcceleratorUse {
        name: "tcg".to_owned(),
        reason: "acted".to_owned(),
    };
    record.accelerator.insert("x86".to_owned(), translator);
    let cost = Cost {
        instructions: Some(instructions),
        host_cpu_seconds: 0.1,
        sent_bytes: 1 << 20,
        received_bytes: 0,
    };
    record.measurements.push(Measurement {
        step: "write".to_owned(),
        repetition: 1,
        warm_up: false,
        work: Work {
            tool: "dd".to_owned(),
            rw: "write".to_owned(),
            on: vec!["n".to_owned()],
            block_bytes: 1 << 20,
            bytes_each: 1 << 20,
            runtime_seconds: None,
            queue_depth: 1,
            direct: true,
            sync: "never".to_owned(),
        },
        at: 1.0,
        seconds: 0.1,
        bytes: 1 << 20,
        nodes: BTreeMap::from([("n".to_owned(), cost)]),
    });
    record
}

/// Says that it is firm when it is asked for the so-manieth time.
struct Acted {
    asked: Cell<usize>,
    firm_at: usize,
    /// How many figures of both sides there were each time.
    seen: std::cell::RefCell<VecDeque<(usize, usize)>>,
}

impl Acted {
    fn firm_at(firm_at: usize) -> Self {
        Self {
            asked: Cell::new(0),
            firm_at,
            seen: std::cell::RefCell::default(),
        }
    }
}

impl Judge for Acted {
    fn judge(&self, sides: &Sides) -> Result<Vec<Judgement>, LabError> {
        self.asked.set(self.asked.get() + 1);
        self.seen
            .borrow_mut()
            .push_back((sides.a.len(), sides.b.len()));
        Ok(Vec::new())
    }

    fn is_enough(&self, _: &[Judgement], pairs: usize, fewest: usize) -> bool {
        pairs >= fewest && self.asked.get() >= self.firm_at
    }
}

fn bounds(pairs: RangeInclusive<usize>) -> Bounds {
    Bounds {
        pairs,
        budget: None,
    }
}

async fn acted(actor: &mut Actor, judge: &impl Judge, bounds: &Bounds) -> Course {
    run(actor, judge, bounds, |_| ()).await.unwrap()
}

fn words(actor: &Actor) -> String {
    let words = actor.asked.iter().map(|turn| {
        let whole = if turn.extent(false) == Extent::Measures {
            ""
        } else {
            "!"
        };
        format!("{}{whole}", turn.folder())
    });
    words.collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn sides_are_prepared_and_take_turns_of_which_the_first_is_whole() {
    let mut actor = Actor::default();
    let judge = Acted::firm_at(3);
    let course = acted(&mut actor, &judge, &bounds(1..=20)).await;
    assert!(matches!(course.end, End::Firm), "{:?}", course.end);
    assert_eq!(words(&actor), "a-0! b-0! b-1! a-1! a-2 b-2 b-3 a-3");
    assert_eq!(course.pairs(), 3);
    // The record of the preparation is named, its figures are not there.
    assert_eq!(course.records.a.len(), 4);
    assert_eq!(course.records.b[0], PathBuf::from("b-0/record.json"));
    assert_eq!(*judge.seen.borrow(), [(1, 1), (2, 2), (3, 3)]);
}

#[tokio::test]
async fn it_ends_neither_before_the_least_nor_after_the_most_pairs() {
    let mut actor = Actor::default();
    let course = acted(&mut actor, &Acted::firm_at(0), &bounds(4..=20)).await;
    assert!(matches!(course.end, End::Firm));
    assert_eq!(course.pairs(), 4);
    let mut actor = Actor::default();
    let course = acted(&mut actor, &Acted::firm_at(99), &bounds(1..=5)).await;
    assert!(matches!(course.end, End::Pairs));
    assert_eq!(course.pairs(), 5);
    assert_eq!(actor.asked.len(), 12);
}

#[tokio::test]
async fn no_pair_is_begun_that_the_budget_does_not_allow() {
    let mut actor = Actor {
        takes: Duration::from_millis(40),
        ..Actor::default()
    };
    let limited = |budget| Bounds {
        budget: Some(budget),
        ..bounds(1..=1000)
    };
    let course = acted(
        &mut actor,
        &Acted::firm_at(9999),
        &limited(Duration::from_millis(480)),
    )
    .await;
    assert!(matches!(course.end, End::Budget));
    assert!((1..=5).contains(&course.pairs()), "{}", course.pairs());
    let mut actor = Actor::default();
    let course = acted(&mut actor, &Acted::firm_at(0), &limited(Duration::ZERO)).await;
    assert!(matches!(course.end, End::Budget));
    assert_eq!((actor.asked.len(), course.pairs()), (0, 0));
}

#[tokio::test]
async fn a_run_that_does_not_pass_ends_it_and_is_named() {
    let failure = Failure::new(
        "step write",
        FailureKind::CommandFailed,
        "dd: No space left on device",
    );
    let known = Outcome::KnownFailure {
        failure: failure.clone(),
        known: KnownBy {
            because: "the bitmap fills the disk".to_owned(),
            source: "https://example.org/bugs/17".to_owned(),
        },
    };
    for outcome in [Outcome::Failed(failure), known] {
        let mut actor = Actor {
            outcomes: BTreeMap::from([(4, outcome.clone())]),
            ..Actor::default()
        };
        let course = acted(&mut actor, &Acted::firm_at(99), &bounds(1..=20)).await;
        let End::Stopped { turn, ran } = &course.end else {
            panic!("{:?}", course.end);
        };
        assert_eq!(turn.folder(), "a-2");
        assert_eq!(ran.path, PathBuf::from("a-2/record.json"));
        assert_eq!(ran.record.outcome, outcome);
        assert_eq!(actor.asked.len(), 5);
        // The pair that was broken off does not count.
        assert_eq!(course.pairs(), 1);
    }
}

#[tokio::test]
async fn an_interruption_is_no_failure_of_a_run() {
    let broken = Outcome::Broken(Failure::new(
        "step write",
        FailureKind::Interrupted,
        "interrupted",
    ));
    let mut actor = Actor {
        outcomes: BTreeMap::from([(3, broken)]),
        cancel_at: Some(3),
        ..Actor::default()
    };
    let course = acted(&mut actor, &Acted::firm_at(99), &bounds(1..=20)).await;
    assert!(matches!(course.end, End::Interrupted));
    // Between two runs as well.
    let mut actor = Actor {
        cancel_at: Some(1),
        ..Actor::default()
    };
    let course = acted(&mut actor, &Acted::firm_at(99), &bounds(1..=20)).await;
    assert!(matches!(course.end, End::Interrupted));
    assert_eq!(actor.asked.len(), 2);
}

#[tokio::test]
async fn a_tenth_more_instructions_is_found_in_four_pairs_and_the_same_is_no_change() {
    for (b, expected) in [
        (1_100_000, Verdict::Regressed),
        (1_000_000, Verdict::NoChange),
    ] {
        let mut actor = Actor {
            instructions: [1_000_000, b],
            ..Actor::default()
        };
        let verdicts = Verdicts::new(Rules::new(7), &|_| Ok(BTreeMap::new()));
        let course = acted(&mut actor, &verdicts, &bounds(4..=20)).await;
        assert!(matches!(course.end, End::Firm), "{:?}", course.end);
        assert!(course.pairs() <= 6, "{}", course.pairs());
        let of = |it: &&Judgement| it.measure == Measure::Instructions;
        let judgement = course.judgements.iter().find(of).unwrap();
        assert_eq!(judgement.verdict, expected, "{judgement:?}");
    }
}

#[tokio::test]
async fn noise_floors_of_the_host_that_the_runs_were_on_are_asked_for_once() {
    let asked = std::cell::RefCell::new(Vec::new());
    let floors = |class: &HostClass| {
        asked.borrow_mut().push(class.clone());
        Ok(BTreeMap::from([(Measure::Instructions, 0.5)]))
    };
    let mut actor = Actor {
        instructions: [1_000_000, 1_100_000],
        ..Actor::default()
    };
    let verdicts = Verdicts::new(Rules::new(7), &floors);
    let course = acted(&mut actor, &verdicts, &bounds(6..=6)).await;
    assert_eq!(asked.borrow().len(), 1, "{asked:?}");
    // A tenth is nothing where halves come by chance.
    let of = |it: &&Judgement| it.measure == Measure::Instructions;
    let judgement = course.judgements.iter().find(of).unwrap();
    assert_ne!(judgement.verdict, Verdict::Regressed, "{judgement:?}");
    assert_eq!(judgement.noise_floor, Some(0.5));
}
