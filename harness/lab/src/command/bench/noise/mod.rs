//! `sanlab bench noise`: how far figures differ that should not, and which slowdowns are found.
//!
//! Everything is compared as `sanlab compare` does it. First the same with the same, so often that the noise floors of this
//! class of host are known; they are kept in the history, where later comparisons find them. Then with what is known to cost
//! something: nbdkit's delay filter, which only waits, and its blocksize filter, which only computes.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Instant;

use sanlab_record::Outcome;
use sanlab_report::comparison::{self, Rules};
use sanlab_report::history::History;
use sanlab_report::measure::Measure;
use sanlab_report::series::Figures;
use sanlab_vm::AcceleratorWish;
use tokio_util::sync::CancellationToken;

use crate::command::history;
use crate::comparing::course::{self, Bounds, End};
use crate::comparing::given::Given;
use crate::comparing::guests::Guests;
use crate::comparing::side::{self, Side};
use crate::comparing::told;
use crate::comparing::verdicts::{HostClass, Verdicts, conclude};
use crate::quantity::took;
use crate::runs::{since_1970, write_comparison};
use crate::terminal::{Terminal, print};
use crate::{Exit, Lab, LabError, RunFolder, interrupt, seed};

mod calibration;
mod groups;
mod spread;
mod table;

use table::{Compared, Searched};

/// Comparisons of the same with the same that noise floors are learnt from, where none are known yet.
const LESSONS: usize = 5;
/// Pairs of each of them: all alike, for what differs is to be seen, not decided.
const LESSON_PAIRS: RangeInclusive<usize> = 6..=6;
/// As `sanlab compare` has it.
const PAIRS: RangeInclusive<usize> = 4..=20;
/// The same, with `--quick`.
const QUICK_PAIRS: RangeInclusive<usize> = 4..=8;
/// A cost in instructions is to be found with so many runs of each side.
const COUNTED_PAIRS: RangeInclusive<usize> = 4..=4;
/// Pairs that a cost is calibrated with.
const CALIBRATION_PAIRS: RangeInclusive<usize> = 6..=6;
/// By how much the known slowdowns slow down.
const SLOWDOWNS: [f64; 2] = [0.2, 0.1];
/// By how much the known cost in instructions costs more.
const COST: f64 = 0.04;
/// Comparisons by instructions between groups of runs of the same.
const GROUPS: usize = 100;

/// What the command line says of it.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Comparisons of the same with the same
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    comparisons: u32,
    /// Comparisons with each known slowdown, and with the known cost in instructions
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=1000))]
    slowdowns: u32,
    /// Few of each: to see that it works, no figures to believe
    #[arg(long)]
    quick: bool,
    /// What is run: a scenario with a `throughput` step over an `nbd` layer
    #[arg(long, value_name = "FILE")]
    scenario: Option<PathBuf>,
    /// What permutations, the bootstrap and the groups draw from
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
}

/// What a comparison is for.
struct Wish<'a> {
    /// The name of its folder.
    name: String,
    b: &'a Side,
    pairs: RangeInclusive<usize>,
    awaited: &'a [Measure],
    floors: bool,
}

/// What all comparisons share.
struct Noise {
    lab: Lab,
    folder: RunFolder,
    plain: Side,
    seed: u64,
    /// Settings that runs were proved whole with; by their words.
    proved: Vec<BTreeMap<String, String>>,
    /// Learnt in this bench.
    floors: BTreeMap<Measure, f64>,
    /// Every counted run of the scenario as it is.
    pool: Vec<Vec<Figures>>,
    runs: usize,
    pairs: RangeInclusive<usize>,
    cancel: CancellationToken,
}

/// Compares, and prints the tables.
pub(crate) async fn execute(arguments: Arguments) -> Result<Exit, LabError> {
    let mut terminal = Terminal::new();
    let begin = Instant::now();
    let lab = Lab::find(&std::env::current_dir()?)?;
    let default = lab.project().join("scenarios/throughput/two-nodes.toml");
    let scenario = arguments.scenario.clone().unwrap_or(default);
    let mut plain = Side::load(&scenario, Given::default())?;
    // Mistakes before anything runs: the filters must fit the scenario.
    calibration::delayed(&scenario, 1)?;
    calibration::split(&scenario, 4)?;
    let seed = arguments.seed.map_or_else(seed::of_environment, Ok)?;
    lab.require_host()?;
    let cancel = interrupt::cancel_on_signal()?;
    plain.prepare(&lab, &cancel, &mut terminal).await?;
    let folder = lab.new_run()?;
    let mut noise = Noise {
        lab,
        folder,
        plain,
        seed,
        proved: Vec::new(),
        floors: BTreeMap::new(),
        pool: Vec::new(),
        runs: 0,
        pairs: if arguments.quick { QUICK_PAIRS } else { PAIRS },
        cancel,
    };
    let done = noise.everything(&arguments, &scenario, &mut terminal).await;
    match done {
        Err(LabError::Interrupted) => Ok(Exit::Interrupted),
        Err(error) => Err(error),
        Ok(()) => {
            print(&format!(
                "\n{} runs in {}; records: {}\n",
                noise.runs,
                took(begin.elapsed().as_secs_f64()),
                noise.folder.path().display()
            ))?;
            Ok(Exit::Success)
        }
    }
}

impl Noise {
    async fn everything(
        &mut self,
        arguments: &Arguments,
        scenario: &Path,
        terminal: &mut Terminal,
    ) -> Result<(), LabError> {
        let few = |number: u32, quick: usize| match number as usize {
            number if arguments.quick => number.min(quick),
            number => number,
        };
        let (comparisons, slowdowns) = (few(arguments.comparisons, 2), few(arguments.slowdowns, 1));
        self.learn(if arguments.quick { 2 } else { LESSONS }, terminal)
            .await?;
        let same = self.same(comparisons, terminal).await?;
        print(&table::verdicts("The same with the same", &same))?;
        print(&spread::table(&self.pool))?;
        self.keep_floors(&same)?;
        self.by_groups()?;
        if slowdowns > 0 {
            self.slowdowns(slowdowns, scenario, terminal).await?;
            self.instructions(slowdowns, scenario, terminal).await?;
        }
        Ok(())
    }

    /// Noise floors for a host of which none are known: from comparisons of their own, so that those that are counted below
    /// are not judged by what they say themselves.
    async fn learn(&mut self, lessons: usize, terminal: &mut Terminal) -> Result<(), LabError> {
        let mut compared = Vec::new();
        for number in 1..=lessons {
            let wish = Wish {
                name: format!("learn-{number}"),
                b: &side::twin(&self.plain),
                pairs: LESSON_PAIRS,
                awaited: &[],
                floors: false,
            };
            let one = self.compare(wish, terminal).await?;
            compared.push(one.judgements);
            let class = self.class();
            if number == 1
                && let Some(class) = class
            {
                let known = history::noise_floors(&self.lab, &class)?;
                if !known.is_empty() {
                    self.floors = known;
                    print(&table::floors(
                        "Noise floors that the history knows",
                        &self.floors,
                    ))?;
                    return Ok(());
                }
            }
        }
        self.floors = comparison::noise_floors(&compared);
        let title = format!(
            "Noise floors from {lessons} comparisons of {} pairs",
            LESSON_PAIRS.end()
        );
        print(&table::floors(&title, &self.floors))?;
        Ok(())
    }

    /// Comparisons of the same with the same, as a user would do them.
    async fn same(
        &mut self,
        comparisons: usize,
        terminal: &mut Terminal,
    ) -> Result<Vec<Compared>, LabError> {
        let mut all = Vec::new();
        for number in 1..=comparisons {
            let wish = Wish {
                name: format!("same-{number}"),
                b: &side::twin(&self.plain),
                pairs: self.pairs.clone(),
                awaited: &[],
                floors: true,
            };
            let compared = self.compare(wish, terminal).await?;
            terminal.line(&format!("{number} of {comparisons}: {}", compared.line()));
            all.push(compared);
        }
        Ok(all)
    }

    /// Writes to the history what the comparisons of the same with the same were seen to differ by.
    fn keep_floors(&mut self, same: &[Compared]) -> Result<(), LabError> {
        let judgements: Vec<_> = same.iter().map(|one| one.judgements.clone()).collect();
        let floors = comparison::noise_floors(&judgements);
        let Some(class) = self.class() else {
            return Ok(());
        };
        let path = history::default_path(&self.lab);
        let mut history = History::open(&path)?;
        let count = u32::try_from(same.len()).unwrap_or(u32::MAX);
        let now = since_1970().as_secs_f64();
        history.learn_noise(&class.host, &class.accelerator, &floors, count, now)?;
        let title = format!("Noise floors, kept in {}", path.display());
        print(&table::floors(&title, &floors))?;
        Ok(())
    }

    /// Many comparisons by instructions, of groups of runs that have been done anyway.
    fn by_groups(&self) -> Result<(), LabError> {
        let groups = groups::draw(self.pool.len(), *COUNTED_PAIRS.end(), GROUPS, self.seed);
        let mut rules = Rules::new(self.seed);
        rules.noise_floors.clear();
        let mut judgements = Vec::new();
        for (number, group) in groups.drawn.iter().enumerate() {
            rules.seed = self.seed.wrapping_add(number as u64);
            let side = |runs: &[usize]| -> Vec<Vec<Figures>> {
                runs.iter().map(|&run| self.pool[run].clone()).collect()
            };
            judgements.push(comparison::judge(&rules, &side(&group.a), &side(&group.b))?);
        }
        print(&table::groups(&groups, self.pool.len(), &judgements))?;
        Ok(())
    }

    /// Slowdowns of which it is known how much they cost.
    async fn slowdowns(
        &mut self,
        times: usize,
        scenario: &Path,
        terminal: &mut Terminal,
    ) -> Result<(), LabError> {
        let probe = calibration::PROBE_DELAY;
        terminal.line(&format!("calibrating: {probe} ms a request"));
        let delayed = self.side(calibration::delayed(scenario, probe)?);
        let wish = Wish {
            name: "calibrate-delay".to_owned(),
            b: &delayed,
            pairs: CALIBRATION_PAIRS,
            awaited: &[],
            floors: false,
        };
        let seen = self.compare(wish, terminal).await?;
        let measure = self.throughput();
        let slope = calibration::slope(&seen.judgements, measure, probe)?;
        let mut rows = Vec::new();
        for wanted in SLOWDOWNS {
            let delay = calibration::delay(slope, wanted);
            let delayed = self.side(calibration::delayed(scenario, delay)?);
            let mut searched = Searched::new(
                &format!("{:.0} % slower", wanted * 100.0),
                &format!("delay {delay} ms"),
            );
            for number in 1..=times {
                let wish = Wish {
                    name: format!("slower-{:.0}-{number}", wanted * 100.0),
                    b: &delayed,
                    pairs: self.pairs.clone(),
                    awaited: &[measure],
                    floors: true,
                };
                let compared = self.compare(wish, terminal).await?;
                terminal.line(&format!("{number} of {times}: {}", compared.line()));
                searched.comparisons.push(compared);
            }
            rows.push(searched);
        }
        // What the others say after the pairs that this one took.
        let others = [Measure::Throughput]
            .into_iter()
            .filter(|other| *other != measure);
        for measure in std::iter::once(measure).chain(others) {
            let title = format!("Known slowdowns, by {}", measure.title());
            print(&table::found(&title, &rows, measure))?;
        }
        Ok(())
    }

    /// The throughput that says most here: that at even pace, where instructions are counted.
    fn throughput(&self) -> Measure {
        let paced = |figures: &Figures| figures.figure(Measure::CpuNormalisedThroughput).is_some();
        if self.pool.iter().flatten().any(paced) {
            Measure::CpuNormalisedThroughput
        } else {
            Measure::Throughput
        }
    }

    /// A cost in instructions of which it is known how much it is.
    async fn instructions(
        &mut self,
        times: usize,
        scenario: &Path,
        terminal: &mut Terminal,
    ) -> Result<(), LabError> {
        let probe = calibration::PROBE_KIB;
        terminal.line(&format!("calibrating: requests split to {probe} KiB"));
        let split = self.side(calibration::split(scenario, probe)?);
        let wish = Wish {
            name: "calibrate-split".to_owned(),
            b: &split,
            pairs: CALIBRATION_PAIRS,
            awaited: &[Measure::Instructions],
            floors: false,
        };
        let seen = self.compare(wish, terminal).await?;
        let Some(cost) = calibration::cost(&seen.judgements) else {
            print(
                "\nKnown cost in instructions: not measured, nothing counts instructions here\n",
            )?;
            return Ok(());
        };
        let kib = calibration::kib(cost, COST);
        let split = self.side(calibration::split(scenario, kib)?);
        let mut searched = Searched::new(
            &format!("{:.0} % more instructions", COST * 100.0),
            &format!("requests split to {kib} KiB"),
        );
        for number in 1..=times {
            let wish = Wish {
                name: format!("split-{number}"),
                b: &split,
                pairs: COUNTED_PAIRS,
                awaited: &[Measure::Instructions],
                floors: true,
            };
            let compared = self.compare(wish, terminal).await?;
            terminal.line(&format!("{number} of {times}: {}", compared.line()));
            searched.comparisons.push(compared);
        }
        print(&table::found(
            "A known cost, by instructions",
            &[searched],
            Measure::Instructions,
        ))?;
        Ok(())
    }

    /// A side that boots what the plain one does.
    fn side(&self, mut side: Side) -> Side {
        side.images = self.plain.images.clone();
        side
    }

    /// One comparison of the plain scenario with something.
    async fn compare(
        &mut self,
        wish: Wish<'_>,
        terminal: &mut Terminal,
    ) -> Result<Compared, LabError> {
        let folder = self.folder.within(&wish.name);
        let started = since_1970().as_secs_f64();
        let words = &wish.b.given.words;
        let prove = !self.proved.contains(words);
        let known = if wish.floors {
            self.floors.clone()
        } else {
            BTreeMap::new()
        };
        let floors = |_: &HostClass| Ok(known.clone());
        let mut rules = Rules::new(self.seed.wrapping_add(self.runs as u64));
        rules.noise_floors.clear();
        let verdicts = Verdicts::new(rules, &floors).awaiting(wish.awaited);
        let bounds = Bounds {
            pairs: wish.pairs,
            budget: None,
            prove,
        };
        let mut lines = Terminal::new();
        let mut guests = Guests {
            a: &self.plain,
            b: wish.b,
            folder: folder.clone(),
            accelerator: AcceleratorWish::Auto,
            seed: self.seed,
            terminal,
            cancel: self.cancel.clone(),
        };
        let name = &wish.name;
        let course = course::run(&mut guests, &verdicts, &bounds, |news| {
            lines.line(&format!("{name}: {}", told::line(&news)));
        })
        .await?;
        self.runs += course.records.a.len() + course.records.b.len();
        match &course.end {
            End::Firm | End::Pairs | End::Budget => {}
            End::Interrupted => return Err(LabError::Interrupted),
            End::Stopped { ran, .. } => {
                if let Outcome::Failed(failure) | Outcome::Broken(failure) = &ran.record.outcome {
                    lines.line(&format!("{}: {}", failure.phase, failure.message));
                }
                return Err(LabError::Bench {
                    outcome: ran.record.outcome.as_str(),
                    record: ran.path.clone(),
                });
            }
        }
        if prove {
            self.proved.push(words.clone());
        }
        let comparison = conclude(
            &course,
            verdicts.rules(),
            &self.plain,
            wish.b,
            &folder,
            started,
        );
        write_comparison(folder.path(), &comparison)?;
        // Those of the other side too, where it is the same.
        let same = *words == self.plain.given.words;
        let (pairs, seconds) = (course.pairs(), course.seconds);
        let b = course.sides.b.into_iter().filter(|_| same);
        for (a, b) in course
            .sides
            .a
            .into_iter()
            .zip(b.map(Some).chain(std::iter::repeat(None)))
        {
            self.pool.push(a);
            self.pool.extend(b);
        }
        Ok(Compared {
            verdict: comparison.verdict,
            judgements: comparison.judgements,
            pairs,
            seconds,
        })
    }

    /// Where the runs ran.
    fn class(&self) -> Option<HostClass> {
        HostClass::of(self.pool.first()?.first()?)
    }
}
