//! Real guests: clones, saved fleets, forks. Without QEMU or what builds images here, they are ignored, unless
//! `SANLAB_REQUIRE_VMS` is 1.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

mod beside;
mod clones;
mod counted;
mod crashes;
mod damage;
mod forks;
mod ground;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, word, folder] = &arguments[..]
        && word == beside::WORD
    {
        return run(beside::second(folder.as_ref()));
    }
    let mut arguments = Arguments::from_args();
    // Each needs the whole machine.
    arguments.test_threads = Some(1);
    let trials = vec![
        trial("five_clones_are_networked_and_named", clones::five),
        trial("a_fleet_goes_on_after_a_save", forks::resumes),
        trial("a_saved_fleet_is_forked_in_place", forks::in_place),
        trial("two_forks_side_by_side_are_apart", beside::apart),
        trial("a_fork_grows_and_is_saved_again", forks::again),
        trial("a_damaged_template_is_made_anew", damage::template),
        trial("clones_crash_and_come_back", crashes::clones),
        trial("booted_members_crash_and_come_back", crashes::booted),
        trial("forks_crash_and_come_back", crashes::forks),
        trial("a_crash_ends_the_keeping", crashes::kept),
        trial("forks_are_counted_or_not", counted::both_ways),
        trial("what_a_member_costs_never_falls", counted::crashes),
        trial("counting_is_in_no_key", counted::keys),
        trial(
            "a_damaged_checkpoint_is_refused",
            damage::checkpoint_is_refused,
        ),
    ];
    let conclusion = libtest_mimic::run(&arguments, trials);
    ground::clear();
    conclusion.exit_code()
}

fn trial<F: Future<Output = ()> + 'static>(name: &'static str, test: fn() -> F) -> Trial {
    Trial::ignorable_test(name, move || {
        if let Some(lacking) = ground::lacking() {
            if std::env::var("SANLAB_REQUIRE_VMS").is_ok_and(|value| value == "1") {
                return Err(Failed::from(lacking));
            }
            return Ok(Completion::ignored_with(lacking));
        }
        run(test());
        Ok(Completion::Completed)
    })
}

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(work)
}
