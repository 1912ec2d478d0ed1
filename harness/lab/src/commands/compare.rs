//! `sanlab compare`: two sides of a scenario, run in turns until the verdict is clear.

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use sanlab_fleet::{Budget, Permit, Registry, RunDir, WaitingFor};
use sanlab_record::Outcome;
use sanlab_report::comparison::{Comparison, FEWEST_PAIRS, Rules};
use sanlab_report::history::{History, Learnt};
use sanlab_report::load;
use sanlab_report::measure::Measure;
use sanlab_report::report::Report;
use sanlab_report::terminal::comparison_table;
use sanlab_report::{moment, number};

use tokio_util::sync::CancellationToken;

use super::history;
use super::pages::Pages;
use crate::commands::cli::Accel;
use crate::commands::time::parse_time;
use crate::compare::calibration::Calibration;
use crate::compare::course::{self, Bounds, Course, End, Turn};
use crate::compare::guests::Guests;
use crate::compare::progress;
use crate::compare::side::Side;
use crate::compare::verdicts::{HostClass, Verdicts, conclude};
use crate::lab::overrides::Given;
use crate::lab::runs::{shown, since_1970, write_comparison};
use crate::lab::seed;
use crate::terminal::interrupt;
use crate::terminal::summary::why;
use crate::terminal::{Terminal, print};
use crate::{Exit, Lab, LabError};

/// What the command line says of it.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Scenario file
    #[arg(value_name = "SCENARIO", required_unless_present_any = ["a", "b"])]
    scenario: Option<PathBuf>,
    /// Value of side A, in place of the file's
    #[arg(long, value_name = "KEY=VALUE", num_args = 1..)]
    a: Vec<String>,
    /// Value of side B; a verdict says how B differs from A
    #[arg(long, value_name = "KEY=VALUE", num_args = 1..)]
    b: Vec<String>,
    /// Value of both sides
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Compare the scenario with itself in N pairs of runs, and keep the result as this host's noise floor. At least 5; 20
    /// or more are advisable
    #[arg(long, value_name = "N", value_parser = parse_aa,
        conflicts_with_all = ["a", "b", "pairs", "budget", "margin", "Pages"])]
    aa: Option<usize>,
    /// Minimum and maximum of pairs, or exact number
    #[arg(long, value_name = "MIN..MAX", default_value = "4..20", value_parser = parse_pairs)]
    pairs: RangeInclusive<usize>,
    /// Start no pair that would end later than this, such as `20m`
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    budget: Option<Duration>,
    /// Equivalence margin of a measure, the smallest difference of interest, such as `throughput=5%`; repeatable. Measures:
    /// throughput, `cpu_normalised_throughput`, `guest_throughput`, instructions, `host_cpu`, `switch_bytes`, `instructions_p60`,
    /// `switch_bytes_p60`, `latency_p99`
    #[arg(long, value_name = "MEASURE=SHARE", value_parser = parse_margin)]
    margin: Vec<(Measure, f64)>,
    /// Compare beside other fleets of yours, which disturb the figures; without this, they wait until the comparison has ended
    #[arg(long)]
    share: bool,
    /// Read back what each side has written, also where an earlier run of the same scenario on the same guests has proved it
    #[arg(long)]
    prove: bool,
    /// Seed of random moments, permutations and the bootstrap [default: `$SANLAB_SEED`, else random]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Accelerator
    #[arg(long, value_enum, default_value_t)]
    accel: Accel,
    #[command(flatten)]
    pages: Pages,
}

/// Compares, shows what came of it, and keeps it.
pub(crate) async fn execute(mut arguments: Arguments) -> Result<Exit, LabError> {
    let mut terminal = Terminal::new();
    let scenario = scenario(&mut arguments)?;
    let given = |side: &[String]| Given::parse(arguments.set.iter().chain(side));
    let (given_a, given_b) = (given(&arguments.a)?, given(&arguments.b)?);
    let mut a = Side::load(&scenario, given_a)?;
    let mut b = Side::load(&scenario, given_b)?;
    let lab = Lab::find(&std::env::current_dir()?)?;
    let seed = arguments.seed.map_or_else(seed::of_environment, Ok)?;
    lab.require_host()?;
    if a.plan.fresh || b.plan.fresh {
        terminal.line(&format!(
            "{} is built from nothing for every run, since it says `fresh = true`: this will be slow; with --set fresh=false \
             runs are forked",
            a.plan.id
        ));
    }
    let cancel = interrupt::cancel_on_signal(interrupt::ENDING_GUESTS)?;
    a.prepare(&lab, &cancel, &mut terminal).await?;
    b.prepare(&lab, &cancel, &mut terminal).await?;
    let _alone = if arguments.share {
        None
    } else {
        Some(alone(&cancel, &mut terminal).await?)
    };
    let folder = lab.new_run()?;
    let started = since_1970().as_secs_f64();
    terminal.line(&progress::sides(
        &a.given.for_people(),
        &b.given.for_people(),
    ));
    let floors = |class: &HostClass| history::noise_floors(&lab, class);
    let mut rules = Rules::new(seed);
    for &(measure, margin) in &arguments.margin {
        rules.ask(measure, margin);
    }
    let verdicts = Verdicts::new(rules, &floors);
    let bounds = Bounds {
        pairs: arguments
            .aa
            .map_or_else(|| arguments.pairs.clone(), |pairs| pairs..=pairs),
        budget: arguments.budget,
    };
    let mut lines = Terminal::new();
    let mut guests = Guests {
        a: &a,
        b: &b,
        folder: folder.clone(),
        accelerator: arguments.accel.into(),
        seed,
        prove: arguments.prove,
        terminal: &mut terminal,
        cancel,
    };
    let course = course::run(&mut guests, &verdicts, &bounds, |news| {
        lines.line(&progress::line(&news));
    })
    .await?;
    let comparison = conclude(&course, verdicts.rules(), &a, &b, &folder, started);
    if let Some(exit) = without_verdict(&course, &comparison)? {
        return Ok(exit);
    }
    let path = write_comparison(folder.path(), &comparison)?;
    if arguments.aa.is_some() {
        return calibrate(&course, &lab, seed);
    }
    print(&comparison_table(&comparison))?;
    for (measure, margin, floor) in comparison.rules.below_noise() {
        print(&format!(
            "\nwarning: a margin of {} was asked for {}, below this host's noise floor of {}: a difference between the two may be noise\n",
            number::share(margin),
            measure.title(),
            number::share(floor)
        ))?;
    }
    print(&format!(
        "\n{}\ncomparison: {}\n",
        why_it_ended(&course, &arguments),
        shown(&path).display()
    ))?;
    if arguments.pages.any() {
        let loaded = load::load(&[folder.path().to_owned()])?;
        let report = Report::new(
            &comparison.title,
            since_1970().as_secs_f64(),
            loaded,
            &[],
            None,
        );
        arguments.pages.write(&report)?;
    }
    Ok(comparison.verdict.into())
}

/// The scenario: an option that takes several values takes the file that follows them as well.
fn scenario(arguments: &mut Arguments) -> Result<PathBuf, LabError> {
    if let Some(scenario) = arguments.scenario.take() {
        return Ok(scenario);
    }
    let sides = [&mut arguments.b, &mut arguments.a];
    let taken = sides
        .into_iter()
        .find_map(|side| side.pop_if(|last| !last.contains('=')));
    taken.map(PathBuf::from).ok_or(LabError::NoScenario)
}

/// How long other fleets are awaited.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Waits until no other fleet of this user runs. As long as what it gives is kept, none starts but this process's own.
async fn alone(
    cancel: &CancellationToken,
    terminal: &mut Terminal,
) -> Result<(Permit, RunDir), LabError> {
    let (registry, _) = Registry::open()?;
    let folder = registry.create_run()?;
    let budget = Budget::new(&registry);
    let said = RefCell::new(terminal);
    let waiting = |waiting: &WaitingFor| {
        said.borrow_mut()
            .line(&format!("waiting for {waiting}; --share does not wait"));
    };
    let permit = tokio::select! {
        biased;
        () = cancel.cancelled() => return Err(LabError::Interrupted),
        permit = budget.acquire_alone(&folder, PATIENCE, waiting) => permit?,
    };
    Ok((permit, folder))
}

/// Learns the noise floors of this class of host from a comparison of a scenario with itself.
fn calibrate(course: &Course, lab: &Lab, seed: u64) -> Result<Exit, LabError> {
    let calibration = Calibration::of(&course.sides, seed)?;
    print(&calibration.table(&course.sides))?;
    let figures = course.sides.a.iter().flatten().next();
    let class = figures
        .and_then(HostClass::of)
        .ok_or(LabError::UnknownHost)?;
    let path = history::default_path(lab)?;
    let learnt = Learnt {
        at: since_1970().as_secs_f64(),
        pairs: u32::try_from(course.pairs()).unwrap_or(u32::MAX),
        comparisons: Calibration::COMPARISONS,
    };
    let known = History::open(&path)?.learn_noise(
        &class.host,
        &class.accelerator,
        &calibration.noise_floors,
        learnt,
    )?;
    let path = shown(&path).display();
    let HostClass { host, accelerator } = class;
    print(&match known {
        None => format!("noise floors of {host}, {accelerator}: {path}\n"),
        Some(Learnt { at, pairs, .. }) => format!(
            "not kept: {path} has noise floors of {host}, {accelerator}, from {pairs} pairs ({}); take as many or more to replace them\n",
            moment::utc(at)
        ),
    })?;
    Ok(Exit::Success)
}

/// Of a comparison that did not come to its end: what there is to be said, and how the program ends.
fn without_verdict(course: &Course, comparison: &Comparison) -> Result<Option<Exit>, LabError> {
    let (turn, ran) = match &course.end {
        End::Firm | End::Pairs | End::Budget => return Ok(None),
        End::Interrupted => {
            if course.pairs() > 0 {
                print(&comparison_table(comparison))?;
            }
            print("\ninterrupted: the comparison is not kept\n")?;
            return Ok(Some(Exit::Interrupted));
        }
        End::Stopped { turn, ran } => (turn, ran),
    };
    let outcome = &ran.record.outcome;
    let exit = match outcome {
        // What fails, known or not, has no figures to compare.
        Outcome::Failed(_) | Outcome::KnownFailure { .. } => Exit::SideFailed,
        Outcome::Broken(_) | Outcome::Passed | Outcome::Skipped { .. } => Exit::Broken,
    };
    let before = match course.pairs() {
        0 => String::new(),
        pairs => {
            print(&comparison_table(comparison))?;
            let pairs = crate::terminal::quantity::count(pairs, "pair");
            format!("\nthe result of the {pairs} before it is shown above, and not kept")
        }
    };
    print(&format!(
        "{}record: {}{before}\n",
        stopped(*turn, outcome),
        shown(&ran.path).display()
    ))?;
    Ok(Some(exit))
}

/// Why there is no verdict.
fn stopped(turn: Turn, outcome: &Outcome) -> String {
    let why = why(outcome).unwrap_or_default();
    let side = turn.side.as_str();
    format!("\nno verdict: {side}'s run of pair {}: {why}\n", turn.pair)
}

fn why_it_ended(course: &Course, arguments: &Arguments) -> String {
    let pairs = crate::terminal::quantity::count(course.pairs(), "pair");
    match &course.end {
        End::Firm => format!("the verdict is clear after {pairs}"),
        End::Budget => {
            format!("the budget is spent after {pairs}; a larger --budget may decide more")
        }
        _ if *arguments.pairs.start() == *arguments.pairs.end() => format!("{pairs} as asked"),
        _ => format!("{pairs}, the most that were allowed; --pairs allows more"),
    }
}

fn parse_pairs(text: &str) -> Result<RangeInclusive<usize>, String> {
    let wrong =
        || format!("write MIN..MAX such as 4..20, or one number, from {FEWEST_PAIRS} to 1000");
    let number = |text: &str| text.parse::<usize>().map_err(|_| wrong());
    let (low, high) = match text.split_once("..") {
        Some((low, high)) => (number(low)?, number(high)?),
        None => (number(text)?, number(text)?),
    };
    if low < 1 || low > high || high > 1000 {
        return Err(wrong());
    }
    if high < FEWEST_PAIRS {
        return Err(format!(
            "what is timed is undecided with fewer than {FEWEST_PAIRS} pairs, so that no comparison could end with `no change`; {}",
            wrong()
        ));
    }
    Ok(low..=high)
}

fn parse_aa(text: &str) -> Result<usize, String> {
    let pairs = text.parse().ok();
    pairs
        .filter(|pairs| (FEWEST_PAIRS..=1000).contains(pairs))
        .ok_or_else(|| format!("write a number of pairs from {FEWEST_PAIRS} to 1000"))
}

fn parse_margin(text: &str) -> Result<(Measure, f64), String> {
    let wrong = |why: String| format!("{why}; write it like throughput=5%");
    let (word, share) = text
        .split_once('=')
        .ok_or_else(|| wrong("no `=` in it".to_owned()))?;
    let measure = Measure::parse(word.trim()).ok_or_else(|| {
        let known = Measure::ALL.map(Measure::as_str).join(", ");
        wrong(format!("no measure `{word}`: there are {known}"))
    })?;
    let percent = share.trim().strip_suffix('%');
    let percent: Option<f64> = percent.and_then(|number| number.trim().parse().ok());
    match percent {
        Some(percent) if percent > 0.0 && percent <= 100.0 => Ok((measure, percent / 100.0)),
        _ => Err(wrong(format!("`{share}` is no share from 0 % to 100 %"))),
    }
}

#[cfg(test)]
mod tests {
    use sanlab_record::{Failure, FailureKind, KnownBy};

    use super::*;
    use crate::compare::course::Letter;

    #[test]
    fn a_run_that_stops_a_comparison_says_why() {
        let turn = Turn {
            side: Letter::B,
            pair: 3,
        };
        let failure = Failure::new("step verify", FailureKind::BlocksLost, "2 of 158 are lost");
        let known = KnownBy {
            because: "a flush does not wait".to_owned(),
            source: "https://example.org/bugs/17".to_owned(),
        };
        let told = [
            Outcome::Broken(failure.clone()),
            Outcome::KnownFailure { failure, known },
        ]
        .map(|outcome| stopped(turn, &outcome));
        insta::assert_snapshot!(told.join(""), @r"

        no verdict: B's run of pair 3: broken in step verify: 2 of 158 are lost

        no verdict: B's run of pair 3: known failure in step verify: 2 of 158 are lost
        because: a flush does not wait
        source: https://example.org/bugs/17
        ");
    }

    #[test]
    fn pairs_are_a_range_or_a_number() {
        assert_eq!(parse_pairs("4..20"), Ok(4..=20));
        assert_eq!(parse_pairs("6"), Ok(6..=6));
        for wrong in ["0", "4", "1..4", "5..4", "4..2000", "many", "..", "-1"] {
            let refused = parse_pairs(wrong).unwrap_err();
            assert!(refused.contains("MIN..MAX"), "{wrong}: {refused}");
        }
    }

    #[test]
    fn a_margin_is_a_measure_and_a_share() {
        assert_eq!(
            parse_margin("instructions=1.5%"),
            Ok((Measure::Instructions, 0.015))
        );
        let refused = [
            "throughput",
            "speed=5%",
            "throughput=5",
            "throughput=0%",
            "throughput=nan%",
        ]
        .map(|text| parse_margin(text).unwrap_err());
        insta::assert_snapshot!(refused.join("\n"));
    }
}
