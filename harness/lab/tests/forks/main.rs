//! Forks on real guests: what later runs begin with instead of building it is as good as what was built.
//!
//! `cargo test --test forks -- --include-ignored soundness` compares. With `SANLAB_CHECK_ALL=1`, as `ci/check --all` sets
//! it, it does so for every scenario, and there are twenty forks in a row, not three.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use sanlab::{Lab, Terminal};

mod beside;
mod damage;
mod ground;
mod prefix;
mod row;
mod soundness;
mod told;
#[path = "../support/watched.rs"]
mod watched;

use ground::Ground;

/// Why `soundness` is ignored without `--include-ignored`.
const SOUNDNESS: &str = "a fleet is built from nothing, and all its files are read several times";

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Each needs the whole machine.
    arguments.test_threads = Some(1);
    let lab =
        Lab::find(Path::new(env!("CARGO_MANIFEST_DIR"))).expect("the tests run in a checkout");
    let scenarios = soundness::scenarios(&lab).expect("the checkout has scenarios");
    let ground = Arc::new(Ground::new(lab, arguments.nocapture));
    let long = arguments.include_ignored || arguments.ignored;
    let row = if soundness::wants_all() {
        trial(&ground, "twenty_forks", async |ground| {
            row::forks(ground, 20).await
        })
    } else {
        trial(&ground, "three_forks", async |ground| {
            row::forks(ground, 3).await
        })
    };
    let mut trials = vec![
        row,
        trial(&ground, "two_forks_side_by_side", beside::apart),
        trial(&ground, "a_common_prefix_is_forked", prefix::is_shared),
        trial(
            &ground,
            "a_damaged_checkpoint_is_rebuilt",
            damage::is_rebuilt,
        ),
    ];
    for scenario in scenarios {
        let name = format!("soundness_{}", scenario.name);
        let compare = async move |ground: &Ground| soundness::compare(ground, &scenario).await;
        trials.push(trial(&ground, &name, compare).with_ignored_flag(true));
    }
    if !arguments.list && !long {
        Terminal::plain().line(&format!(
            "soundness is ignored without --include-ignored: {SOUNDNESS}"
        ));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// `None`: it was done. `Some`: it was not, and why.
type Attempted = Result<Option<String>, Failed>;

fn trial(
    ground: &Arc<Ground>,
    name: &str,
    attempt: impl AsyncFnOnce(&Ground) -> Attempted + Send + 'static,
) -> Trial {
    let ground = Arc::clone(ground);
    Trial::ignorable_test(name, move || {
        if let Some(lacking) = ground.lab.cannot_run_guests()? {
            return Ok(Completion::ignored_with(lacking));
        }
        let runtime = tokio::runtime::Runtime::new()?;
        let done = runtime.block_on(attempt(&ground))?;
        Ok(done.map_or(Completion::Completed, Completion::ignored_with))
    })
}
