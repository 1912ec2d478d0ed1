//! Forks on real guests: what later runs begin with instead of building it is as good as what was built.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use guest_trials::{Failed, Suite, Tier};
use sanlab::Lab;

mod damage;
mod ground;
mod prefix;
mod row;
mod told;
#[path = "../support/watched.rs"]
mod watched;

use ground::Ground;

fn main() -> ExitCode {
    let lab =
        Lab::find(Path::new(env!("CARGO_MANIFEST_DIR"))).expect("the tests run in a checkout");
    let mut suite = Suite::new(|| lab.require_host()).one_at_a_time();
    let ground = Arc::new(Ground::new(lab, suite.arguments.nocapture));
    let nightly = suite.is_nightly();
    let damage = async move |ground: &Ground| damage::is_rebuilt(ground, nightly).await;
    add(
        &mut suite,
        &ground,
        "twenty_forks",
        Tier::Nightly,
        row::twenty_forks,
    );
    add(
        &mut suite,
        &ground,
        "a_common_prefix_is_forked",
        Tier::Nightly,
        prefix::is_shared,
    );
    add(
        &mut suite,
        &ground,
        "a_damaged_checkpoint_is_rebuilt",
        Tier::Test,
        damage,
    );
    suite.run()
}

fn add(
    suite: &mut Suite,
    ground: &Arc<Ground>,
    name: &str,
    tier: Tier,
    test: impl AsyncFnOnce(&Ground) -> Result<(), Failed> + Send + 'static,
) {
    let ground = Arc::clone(ground);
    suite.guests(name, tier, move || {
        tokio::runtime::Runtime::new()?.block_on(test(&ground))
    });
}
