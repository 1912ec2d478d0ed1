//! GNBD's programs on real guests, as far as scenarios do not see it: what they leave behind, and what becomes of a
//! device whose server, relay or memory fails.
//!
//! `cargo test -p sanlab --test gnbd -- --ignored` holds its throughput against NBD's.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use sanlab::Lab;

mod ground;
mod leaks;
mod losses;
mod memory;
mod ratios;

use ground::Ground;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // They wait for time-outs, and other guests would use them up.
    arguments.test_threads = Some(1);
    let lab =
        Lab::find(Path::new(env!("CARGO_MANIFEST_DIR"))).expect("the tests run in a checkout");
    let ground = Arc::new(Ground::new(lab));
    let trials = vec![
        trial(
            &ground,
            "ten_thousand_logins_leave_nothing",
            leaks::of_the_server,
        ),
        trial(
            &ground,
            "a_thousand_reconnections_leave_nothing",
            leaks::of_the_relay,
        ),
        trial(
            &ground,
            "fail_fast_fails_in_time_and_comes_back",
            losses::of_patience,
        ),
        trial(
            &ground,
            "a_dead_process_fails_at_once_if_wished",
            losses::of_a_process,
        ),
        trial(
            &ground,
            "a_server_is_fenced_before_anything_fails",
            losses::of_a_server,
        ),
        trial(&ground, "a_killed_relay_is_replaced", losses::of_a_relay),
        trial(
            &ground,
            "a_client_short_of_memory_writes_out",
            memory::is_short,
        ),
        // Ignored unless asked for: what else runs on the host decides how it ends.
        trial(
            &ground,
            "gnbd_is_nearly_as_fast_as_nbd",
            ratios::of_gnbd_to_nbd,
        )
        .with_ignored_flag(true),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(
    ground: &Arc<Ground>,
    name: &str,
    attempt: impl AsyncFnOnce(&Ground) -> Result<(), Failed> + Send + 'static,
) -> Trial {
    let ground = Arc::clone(ground);
    Trial::ignorable_test(name, move || {
        if let Some(lacking) = ground.cannot_run_guests()? {
            return Ok(Completion::ignored_with(lacking));
        }
        let runtime = tokio::runtime::Runtime::new()?;
        runtime.block_on(attempt(&ground))?;
        Ok(Completion::Completed)
    })
}
