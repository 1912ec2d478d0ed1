//! `sanlab explore` on real guests: a race is found by moments that nobody named, and narrowed.
//!
//! `cargo test --test explore`.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use guest_trials::{Failed, Suite, Tier};
use sanlab::Lab;
use sanlab_record::{Outcome, RunRecord};
use sanlab_report::load;

#[path = "support/program.rs"]
mod program;

use program::sanlab;

/// For 200 forks of one guest at most, and those that narrow a failure.
const DEADLINE: Duration = Duration::from_secs(900);

fn main() -> ExitCode {
    let lab =
        Lab::find(Path::new(env!("CARGO_MANIFEST_DIR"))).expect("the tests run in a checkout");
    let mut suite = Suite::new(|| lab.require_host()).one_at_a_time();
    let nocapture = suite.arguments.nocapture;
    suite.guests("a_race_of_50_ms_is_found", Tier::Nightly, move || {
        a_race_is_found(&lab, nocapture)
    });
    suite.run()
}

/// Somebody kills a server at one of 200 moments of 3 s; it is without its index for 50 ms of them.
fn a_race_is_found(lab: &Lab, nocapture: bool) -> Result<(), Failed> {
    let folder = tempfile::Builder::new()
        .prefix("explore-")
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let runs = folder.path().join("runs");
    let file = "fixtures/explore/race.toml";
    let arguments = ["explore", file, "--runs=200", "--seed=1"];
    let (code, said) = sanlab(lab, &runs, nocapture, &arguments, DEADLINE)?;
    let wrong = |why: &str| -> Failed { format!("{why}\nexit code {code:?}\n{said}").into() };
    if code != Some(1) {
        return Err(wrong("the race was not found"));
    }
    if !said.contains("step look: unexpected result") {
        return Err(wrong("what failed is not told"));
    }
    if !said.contains(&format!("sanlab run {file} --seed ")) {
        return Err(wrong("the command that repeats it is not told"));
    }
    let loaded = load::load(&[runs])?;
    let records = loaded.runs.iter().map(|run| &run.record);
    let is_numbered = |record: &&RunRecord| record.exploration.is_some();
    if records.clone().count() != records.clone().filter(is_numbered).count() {
        return Err(wrong("a run is not told from those whose figures count"));
    }
    if load::counted(&loaded.runs, &loaded.comparisons).count() > 0 {
        return Err(wrong("figures of an exploration count"));
    }
    let mut broken = records.filter(|record| matches!(record.outcome, Outcome::Broken(_)));
    broken.next().map_or(Ok(()), |record| {
        Err(wrong(&format!("a run is broken: {:?}", record.outcome)))
    })
}
