//! Forks on real guests: what later runs begin with instead of building it is as good as what was built.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use guest_trials::{Failed, Suite, Tier};
use sanlab::Lab;

mod damage;
mod fixture;
mod prefix;
mod row;
mod told;
#[path = "../support/watched.rs"]
mod watched;

use fixture::Fixture;

fn main() -> ExitCode {
    let lab =
        Lab::find(Path::new(env!("CARGO_MANIFEST_DIR"))).expect("the tests run in a checkout");
    let mut suite = Suite::new(|| lab.require_host()).one_at_a_time();
    let fixture = Arc::new(Fixture::new(lab, suite.arguments.nocapture));
    let nightly = suite.is_nightly();
    let damage = async move |fixture: &Fixture| damage::is_rebuilt(fixture, nightly).await;
    add(
        &mut suite,
        &fixture,
        "twenty_forks",
        Tier::Nightly,
        row::twenty_forks,
    );
    add(
        &mut suite,
        &fixture,
        "a_common_prefix_is_forked",
        Tier::Nightly,
        prefix::is_shared,
    );
    add(
        &mut suite,
        &fixture,
        "a_damaged_checkpoint_is_rebuilt",
        Tier::Test,
        damage,
    );
    suite.run()
}

fn add(
    suite: &mut Suite,
    fixture: &Arc<Fixture>,
    name: &str,
    tier: Tier,
    test: impl AsyncFnOnce(&Fixture) -> Result<(), Failed> + Send + 'static,
) {
    let fixture = Arc::clone(fixture);
    suite.guests(name, tier, move || {
        tokio::runtime::Runtime::new()?.block_on(test(&fixture))
    });
}
