use std::sync::Mutex;

use sanlab_plan::Range;

use super::*;

/// Acts as a server that loses blocks where the moment is within a window. Counts what it is asked, and how many at once.
pub(crate) struct Actor {
    /// Failing moments, ms.
    pub(crate) window: std::ops::Range<u64>,
    /// The lab cannot do the run of that number.
    pub(crate) breaks: Option<u32>,
    /// The run of that number leaves no record.
    pub(crate) fails_to_record: Option<u32>,
    /// The run of that number takes longer than the others.
    pub(crate) slow: Option<u32>,
    /// Without these steps nothing fails.
    pub(crate) needs: Vec<&'static str>,
    pub(crate) asked: Mutex<Vec<Trial>>,
    flying: Mutex<(usize, usize)>,
}

impl Actor {
    pub(crate) fn new(window: std::ops::Range<u64>) -> Arc<Self> {
        Arc::new(Self {
            window,
            breaks: None,
            fails_to_record: None,
            slow: None,
            needs: Vec::new(),
            asked: Mutex::default(),
            flying: Mutex::default(),
        })
    }

    /// The moment that the settings say, ms.
    fn moment(trial: &Trial) -> u64 {
        let setting = trial.settings.iter();
        let mut texts = setting.filter_map(|it| it.strip_prefix("step.crash.after="));
        let time = sanlab_plan::parse_duration(texts.next().unwrap()).unwrap();
        u64::try_from(time.as_millis()).unwrap()
    }
}

pub(crate) fn lost() -> Kind {
    Kind {
        phase: "step verify".to_owned(),
        what: "blocks lost: zeros".to_owned(),
        known: false,
    }
}

impl Runner for Actor {
    async fn run(&self, trial: Trial) -> Result<Ran, LabError> {
        {
            let mut flying = self.flying.lock().unwrap();
            flying.0 += 1;
            flying.1 = flying.1.max(flying.0);
        }
        let seconds = if self.slow == Some(trial.number) {
            6
        } else {
            5
        };
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        self.flying.lock().unwrap().0 -= 1;
        let left_out = |step: &str| trial.settings.contains(&format!("step.{step}.skip=true"));
        let fails = self.window.contains(&Self::moment(&trial));
        let ended = if self.breaks == Some(trial.number) {
            Ended::Broken("boot: no space left".to_owned())
        } else if fails && !self.needs.iter().any(|step| left_out(step)) {
            Ended::Failed(lost())
        } else {
            Ended::Passed
        };
        let path = PathBuf::from(format!("run-{}/record.json", trial.number));
        let fails_to_record = self.fails_to_record == Some(trial.number);
        self.asked.lock().unwrap().push(trial);
        if fails_to_record {
            return Err(std::io::Error::other("no space left").into());
        }
        Ok(Ran { ended, path })
    }

    fn is_cancelled(&self) -> bool {
        false
    }
}

/// Moments up to 3 s.
pub(crate) fn space() -> Space {
    Space {
        dimensions: vec![crate::explore::space::Dimension {
            key: "step.crash.after".to_owned(),
            range: Range::parse("0s..3s").unwrap(),
        }],
        ..Space::default()
    }
}

fn bounds(runs: u32) -> Bounds {
    Bounds {
        runs,
        budget: None,
        jobs: 4,
        all: true,
    }
}

async fn explored(actor: &Arc<Actor>, bounds: &Bounds) -> Exploration {
    explore(actor, &space(), 7, bounds, |_, _| ()).await
}

#[tokio::test(start_paused = true)]
async fn runs_go_side_by_side_and_are_folded_by_kind() {
    let actor = Actor::new(1000..1500);
    let exploration = explored(&actor, &bounds(60)).await;
    assert_eq!(exploration.end, End::Runs);
    assert_eq!(exploration.runs.len(), 60);
    assert_eq!(actor.flying.lock().unwrap().1, 4);
    let kinds = exploration.kinds();
    assert_eq!(kinds.keys().copied().collect::<Vec<_>>(), [&lost()]);
    // A sixth of the moments.
    let failed = kinds[&lost()].len();
    assert!((9..=11).contains(&failed), "{failed}");
    assert_eq!(exploration.passed(), 60 - failed);
    let mut seeds: Vec<u64> = exploration.runs.iter().map(|run| run.trial.seed).collect();
    seeds.sort_unstable();
    assert_eq!(seeds, (7..67).collect::<Vec<u64>>());
}

#[tokio::test(start_paused = true)]
async fn the_first_failure_ends_it_unless_all_are_wanted() {
    let actor = Actor::new(0..3001);
    let first = Bounds {
        all: false,
        ..bounds(60)
    };
    let exploration = explored(&actor, &first).await;
    assert_eq!(exploration.end, End::Failure);
    // Those that ran beside it are awaited.
    assert_eq!(exploration.runs.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn what_the_lab_cannot_do_ends_it() {
    let mut actor = Arc::into_inner(Actor::new(0..0)).unwrap();
    actor.breaks = Some(9);
    let exploration = explored(&Arc::new(actor), &bounds(60)).await;
    assert_eq!(exploration.end, End::Broken);
    let is_broken = |run: &&Explored| matches!(run.ran.ended, Ended::Broken(_));
    let broken = exploration.runs.iter().find(is_broken).unwrap();
    assert_eq!(broken.trial.number, 9);
    assert!(exploration.runs.len() <= 13);
}

#[tokio::test(start_paused = true)]
async fn a_run_without_a_record_takes_no_other_along() {
    let mut actor = Arc::into_inner(Actor::new(0..0)).unwrap();
    actor.fails_to_record = Some(9);
    let actor = Arc::new(actor);
    let exploration = explored(&actor, &bounds(60)).await;
    assert_eq!(exploration.end, End::Broken);
    assert_eq!(exploration.error.unwrap().to_string(), "no space left");
    // Those that ran beside it have landed.
    let asked = actor.asked.lock().unwrap().len();
    assert!((9..=16).contains(&asked), "{asked}");
    assert_eq!(exploration.runs.len(), asked - 1);
}

#[tokio::test(start_paused = true)]
async fn what_the_lab_cannot_do_after_a_failure_takes_nothing_from_it() {
    for fails_to_record in [false, true] {
        let mut actor = Arc::into_inner(Actor::new(0..3001)).unwrap();
        actor.slow = Some(2);
        if fails_to_record {
            actor.fails_to_record = Some(2);
        } else {
            actor.breaks = Some(2);
        }
        let first = Bounds {
            all: false,
            ..bounds(60)
        };
        let exploration = explored(&Arc::new(actor), &first).await;
        assert_eq!(exploration.end, End::Failure);
        assert_eq!(exploration.error.is_some(), fails_to_record);
        assert_eq!(exploration.kinds()[&lost()].len(), 3);
    }
}

#[tokio::test]
async fn no_run_is_begun_after_the_budget() {
    let none = Bounds {
        budget: Some(Duration::ZERO),
        ..bounds(60)
    };
    let exploration = explored(&Actor::new(0..0), &none).await;
    assert_eq!((exploration.end, exploration.runs.len()), (End::Budget, 0));
}
