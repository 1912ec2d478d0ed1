//! Real guests: clones, saved fleets, forks.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::process::ExitCode;

use guest_trials::{Suite, Tier};

mod artefacts;
mod beside;
mod caches;
mod clones;
mod counted;
mod crashes;
mod damage;
mod fixture;
mod forks;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, word, folder] = &arguments[..]
        && word == beside::WORD
    {
        return run(beside::second(folder.as_ref()));
    }
    let mut suite = Suite::new(|| fixture::lacking().map_or(Ok(()), Err)).one_at_a_time();
    add(
        &mut suite,
        "five_clones_are_networked_and_named",
        Tier::Test,
        clones::five,
    );
    add(
        &mut suite,
        "a_module_that_does_not_load_is_refused",
        Tier::Test,
        artefacts::refused_module,
    );
    add(
        &mut suite,
        "a_fleet_goes_on_after_a_save",
        Tier::Nightly,
        forks::resumes,
    );
    add(
        &mut suite,
        "a_saved_fleet_is_forked_in_place",
        Tier::Nightly,
        forks::in_place,
    );
    add(
        &mut suite,
        "two_forks_side_by_side_are_apart",
        Tier::Test,
        beside::apart,
    );
    add(
        &mut suite,
        "a_fork_grows_and_is_saved_again",
        Tier::Nightly,
        forks::again,
    );
    add(
        &mut suite,
        "clones_crash_and_come_back",
        Tier::Nightly,
        crashes::clones,
    );
    add(
        &mut suite,
        "booted_members_crash_and_come_back",
        Tier::Nightly,
        crashes::booted,
    );
    add(
        &mut suite,
        "forks_crash_and_come_back",
        Tier::Nightly,
        crashes::forks,
    );
    add(
        &mut suite,
        "a_crash_ends_the_keeping",
        Tier::Nightly,
        crashes::kept,
    );
    add(
        &mut suite,
        "a_disk_loses_what_was_not_flushed",
        Tier::Test,
        caches::lost,
    );
    add(
        &mut suite,
        "what_was_flushed_is_never_lost",
        Tier::Nightly,
        caches::honest,
    );
    suite.guests_unless(
        "forks_are_counted_or_not",
        Tier::Nightly,
        || run(counted::not_counted()),
        || {
            run(counted::both_ways());
            Ok(())
        },
    );
    suite.guests_unless(
        "what_a_member_costs_never_falls",
        Tier::Nightly,
        || run(counted::not_counted()),
        || {
            run(counted::crashes());
            Ok(())
        },
    );
    add(
        &mut suite,
        "counting_is_in_no_key",
        Tier::Nightly,
        counted::keys,
    );
    add(
        &mut suite,
        "a_damaged_checkpoint_is_refused",
        Tier::Test,
        damage::checkpoint_is_refused,
    );
    let code = suite.run();
    fixture::clear();
    code
}

fn add<F: Future<Output = ()> + 'static>(
    suite: &mut Suite,
    name: &str,
    tier: Tier,
    test: fn() -> F,
) {
    suite.guests(name, tier, move || {
        run(test());
        Ok(())
    });
}

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(work)
}
