//! GNBD's programs on real guests, as far as scenarios do not see it: what they leave behind, and what becomes of a
//! device whose server, relay or memory fails.
//!
//! `cargo test -p sanlab --test gnbd -- --ignored` holds its throughput against NBD's.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use guest_trials::{Failed, Suite, Tier};
use libtest_mimic::Trial;
use sanlab::Lab;

mod ground;
mod leaks;
mod losses;
mod memory;
mod ratios;

use ground::Ground;

fn main() -> ExitCode {
    let lab =
        Lab::find(Path::new(env!("CARGO_MANIFEST_DIR"))).expect("the tests run in a checkout");
    // They wait for time-outs, and other guests would use them up.
    let mut suite = Suite::new(|| lab.require_host()).one_at_a_time();
    let ground = Arc::new(Ground::new(lab));
    add(
        &mut suite,
        &ground,
        "ten_thousand_logins_leave_nothing",
        Tier::Nightly,
        leaks::of_the_server,
    );
    add(
        &mut suite,
        &ground,
        "a_thousand_reconnections_leave_nothing",
        Tier::Nightly,
        leaks::of_the_relay,
    );
    add(
        &mut suite,
        &ground,
        "fail_fast_fails_in_time_and_comes_back",
        Tier::Nightly,
        losses::of_patience,
    );
    add(
        &mut suite,
        &ground,
        "a_dead_process_fails_at_once_if_wished",
        Tier::Nightly,
        losses::of_a_process,
    );
    add(
        &mut suite,
        &ground,
        "a_server_is_fenced_before_anything_fails",
        Tier::Nightly,
        losses::of_a_server,
    );
    add(
        &mut suite,
        &ground,
        "a_killed_relay_is_replaced",
        Tier::Test,
        losses::of_a_relay,
    );
    add(
        &mut suite,
        &ground,
        "a_client_short_of_memory_writes_out",
        Tier::Nightly,
        memory::is_short,
    );
    // Ignored unless asked for: what else runs on the host decides how it ends.
    let trial = Trial::test("gnbd_is_nearly_as_fast_as_nbd", move || {
        tokio::runtime::Runtime::new()?.block_on(ratios::of_gnbd_to_nbd(&ground))
    });
    suite.add(trial.with_ignored_flag(true));
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
