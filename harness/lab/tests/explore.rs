//! `sanlab explore` on real guests: what goes wrong at some moments is found although nobody named them, and narrowed.
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
    let race = lab.clone();
    suite.guests("a_race_of_50_ms_is_found", Tier::Nightly, move || {
        is_found(&race, nocapture, "race", "step look: unexpected result")
    });
    suite.guests("a_missing_flush_is_found", Tier::Nightly, move || {
        let failure = "step it is there: unexpected result";
        is_found(&lab, nocapture, "missing-flush", failure)
    });
    suite.run()
}

/// That scenario fails at some of at most 200 moments, and in that way.
fn is_found(lab: &Lab, nocapture: bool, scenario: &str, failure: &str) -> Result<(), Failed> {
    let folder = tempfile::Builder::new()
        .prefix("explore-")
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let runs = folder.path().join("runs");
    let file = format!("fixtures/explore/{scenario}.toml");
    let arguments = ["explore", &file, "--runs=200", "--seed=1"];
    let (code, said) = sanlab(lab, &runs, nocapture, &arguments, DEADLINE)?;
    let wrong = |why: &str| -> Failed { format!("{why}\nexit code {code:?}\n{said}").into() };
    if code != Some(1) {
        return Err(wrong("nothing was found"));
    }
    if !said.contains(failure) {
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
