//! Whole comparisons of a scenario with two measured steps and all measures, run as `sanlab compare` runs them: how often any measure
//! of any step reports a difference that does not exist, and how often one that does is found.
//!
//! A run is made up from what its figures really depend on, repetition by repetition: the host's pace, which has the noise of
//! each kind, instructions, waiting and the network. So measures go up and down together as far as they have that in common.
//!
//! `SANLAB_TIER=nightly` plays as many of each kind as the table in `docs/reference/throughput.md` is of; else it is a few.

use std::collections::BTreeMap;

use fastrand::Rng;
use sanlab_report::comparison::{self, Rules};
use sanlab_report::measure::Measure;
use sanlab_report::series::Figures;
use sanlab_report::verdict::Verdict;

use crate::noise::{Noise, normal};
use crate::play::{self, MOST_PAIRS};

const STEPS: [&str; 2] = ["one writer", "four writers"];
const REPETITIONS: usize = 4;

/// What B costs by what A costs.
#[derive(Debug, Clone, Copy)]
struct Cost {
    instructions: f64,
    waiting: f64,
}

const SAME: Cost = Cost {
    instructions: 1.0,
    waiting: 1.0,
};

/// Whether the host counts the guests' instructions: under KVM, and with a QEMU that has no plugins, it does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Host {
    Counts,
    CountsNothing,
}

impl Host {
    fn has(self, measure: Measure) -> bool {
        let counted = [Measure::Instructions, Measure::CpuNormalisedThroughput];
        self == Host::Counts || !counted.contains(&measure)
    }
}

/// Both sides' runs.
fn runs(host: Host, noise: Noise, spread: f64, cost: Cost, seed: u64) -> [Vec<Vec<Figures>>; 2] {
    let mut rng = Rng::with_seed(seed);
    let pace = noise.factors(spread, 2 * MOST_PAIRS, &mut rng);
    let mut sides = [Vec::new(), Vec::new()];
    for (run, pace) in pace.into_iter().enumerate() {
        // AB BA AB ...
        let is_b = (run % 4 == 1) || (run % 4 == 2);
        let cost = if is_b { cost } else { SAME };
        let steps = STEPS.map(|step| figures(host, step, 1.0 / pace, cost, &mut rng));
        sides[usize::from(is_b)].push(steps.into());
    }
    sides
}

/// One step of one run. `pace` is the CPU time of an instruction.
fn figures(host: Host, step: &str, pace: f64, cost: Cost, rng: &mut Rng) -> Figures {
    let mut repetitions: BTreeMap<Measure, Vec<f64>> = BTreeMap::new();
    // What differs from run to run and not from repetition to repetition, such as where things lie in memory.
    let (own_instructions, own_waiting) = (around(0.005, rng), around(0.02, rng));
    for _ in 0..REPETITIONS {
        let pace = pace * around(0.02, rng);
        // Now and then something is sent again.
        let again = if rng.u8(..10) == 0 {
            1.0 + 0.1 * rng.f64()
        } else {
            1.0
        };
        let instructions = cost.instructions * own_instructions * around(0.005, rng) * again;
        let waiting = cost.waiting * own_waiting * around(0.03, rng);
        let seconds = instructions * pace * waiting;
        let all = [
            (Measure::Throughput, 40.0 / seconds),
            (Measure::CpuNormalisedThroughput, 120.0 / (seconds / pace)),
            (Measure::GuestThroughput, 45.0 / seconds * around(0.02, rng)),
            (Measure::Instructions, 7e6 * instructions),
            (
                Measure::HostCpu,
                50.0 * instructions * pace * around(0.02, rng),
            ),
            (
                Measure::SwitchBytes,
                1.05 * around(0.0003, rng) * again.sqrt(),
            ),
            (Measure::LatencyP99, 900.0 * seconds * around(0.05, rng)),
        ];
        for (measure, figure) in all.into_iter().filter(|(measure, _)| host.has(*measure)) {
            repetitions.entry(measure).or_default().push(figure);
        }
    }
    let mut figures = play::figures(BTreeMap::new());
    step.clone_into(&mut figures.series.step);
    figures.repetitions = repetitions;
    figures
}

fn around(spread: f64, rng: &mut Rng) -> f64 {
    (spread * normal(rng)).exp()
}

/// What came of some comparisons.
#[derive(Debug, Default)]
struct Tally {
    by_verdict: BTreeMap<Verdict, usize>,
    /// In how many any measure of any step differed at the end.
    alarms: usize,
    pairs: Vec<usize>,
}

fn tally(host: Host, noise: Noise, spread: f64, cost: Cost, times: u64) -> Tally {
    let mut tally = Tally::default();
    for seed in 0..times {
        let [a, b] = runs(host, noise, spread, cost, seed);
        let (judgements, pairs) = play::until_enough(&Rules::new(seed), &a, &b);
        tally.alarms += usize::from(judgements.iter().any(|one| one.verdict.is_difference()));
        let verdict = comparison::overall(&judgements);
        *tally.by_verdict.entry(verdict).or_default() += 1;
        tally.pairs.push(pairs);
    }
    tally.pairs.sort_unstable();
    tally
}

impl Tally {
    fn of(&self, verdict: Verdict) -> usize {
        self.by_verdict.get(&verdict).copied().unwrap_or(0)
    }

    fn line(&self, cost: &str, noise: Noise, spread: f64) -> String {
        let count = self.pairs.len();
        let percent = |part: usize| 100.0 * part as f64 / count as f64;
        let (low, high) = limits(self.alarms, count);
        format!(
            "{cost:<17} {:<10} {:4.0} % {count:6} {:5.1} ({low:3.1} to {high:3.1}) {:9.1} {:9.1} {:9.1} {:9.1} {:7} {:6}\n",
            format!("{noise:?}"),
            100.0 * spread,
            percent(self.alarms),
            percent(self.of(Verdict::Regressed)),
            percent(self.of(Verdict::Improved)),
            percent(self.of(Verdict::NoChange)),
            percent(self.of(Verdict::Undecided)),
            self.pairs[count / 2],
            self.pairs[count * 9 / 10],
        )
    }
}

/// The line above them. `differs`: any measure of any step, in percent, and within what that lies at 95 %.
const HEAD: &str = "B costs           noise      spread  times  differs            regressed  improved no change undecided  median 9 of 10\n";

/// The limits of a share at 95 %, in percent (E. B. Wilson, Probable Inference, the Law of Succession, and Statistical Inference,
/// 1927).
fn limits(part: usize, of: usize) -> (f64, f64) {
    const Z: f64 = 1.96;
    let (n, share) = (of as f64, part as f64 / of as f64);
    let middle = share + Z * Z / (2.0 * n);
    let reach = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    let percent = |x: f64| 100.0 * x / (1.0 + Z * Z / n);
    (percent(middle - reach).max(0.0), percent(middle + reach))
}

/// In `ci/nightly` as many comparisons of each kind as the published tables are of.
struct Times {
    tier: &'static str,
    same: u64,
    costs: u64,
}

fn times() -> Times {
    let nightly = std::env::var("SANLAB_TIER").is_ok_and(|tier| tier == "nightly");
    let (tier, same, costs) = if nightly {
        ("nightly", 1000, 200)
    } else {
        ("test", 20, 10)
    };
    Times { tier, same, costs }
}

/// Plays each cost with each kind and size of noise, `times` times: a line for each, which `holds` must accept.
fn table(
    host: Host,
    costs: &[(&str, Cost)],
    spreads: &[f64],
    times: u64,
    holds: impl Fn(&str, &Tally) -> bool,
) -> String {
    let mut table = HEAD.to_owned();
    for &(title, cost) in costs {
        for &spread in spreads {
            for noise in Noise::ALL {
                let tally = tally(host, noise, spread, cost, times);
                table += &tally.line(title, noise, spread);
                assert!(holds(title, &tally), "{table}");
            }
        }
    }
    table
}

/// What differs in a comparison of a thing with itself is a false alarm: at most one in a hundred comparisons has any, and one of fewer
/// says nothing yet.
fn few_alarms(_: &str, tally: &Tally) -> bool {
    100 * tally.alarms <= tally.pairs.len().max(100)
}

const fn cost(instructions: f64, waiting: f64) -> Cost {
    Cost {
        instructions,
        waiting,
    }
}

#[test]
fn false_alarms_of_all_measures_and_steps() {
    let times = times();
    let same = [("the same", SAME)];
    let table = table(Host::Counts, &same, &[0.03, 0.10], times.same, few_alarms);
    insta::assert_snapshot!(format!("false_alarms_{}", times.tier), table);
}

#[test]
fn costs_of_a_step_are_found() {
    let times = times();
    let costs = [
        ("instructions 5 %", cost(1.05, 1.0)),
        ("instructions 10 %", cost(1.10, 1.0)),
        ("waiting 5 %", cost(1.0, 1.05)),
        ("waiting 10 %", cost(1.0, 1.10)),
    ];
    // A cost as great as the equivalence margin lies within it half of the time.
    let found = |title: &str, tally: &Tally| {
        title == "waiting 5 %"
            || tally.of(Verdict::NoChange) == 0
                && 100 * tally.of(Verdict::Regressed) >= 95 * tally.pairs.len()
    };
    let table = table(Host::Counts, &costs, &[0.03, 0.10], times.costs, found);
    insta::assert_snapshot!(format!("costs_{}", times.tier), table);
}

/// Where nothing is counted, what is timed has to do: as few false alarms, but the more the host varies, the more is left undecided.
#[test]
fn hosts_that_count_nothing() {
    let (times, spreads) = (times(), [0.01, 0.03, 0.10]);
    let same = [("the same", SAME)];
    let alarms = table(Host::CountsNothing, &same, &spreads, times.same, few_alarms);
    let costs = [
        ("waiting 10 %", cost(1.0, 1.10)),
        ("waiting 20 %", cost(1.0, 1.20)),
    ];
    let not_hidden = |_: &str, tally: &Tally| tally.of(Verdict::NoChange) == 0;
    let costs = table(
        Host::CountsNothing,
        &costs,
        &spreads,
        times.costs,
        not_hidden,
    );
    insta::assert_snapshot!(
        format!("nothing_counted_{}", times.tier),
        format!("{alarms}\n{costs}")
    );
}
