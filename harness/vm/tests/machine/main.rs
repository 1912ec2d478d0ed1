//! Machines whose QEMU is a recording: what goes wrong, and that nothing is left behind. And, where the store has images,
//! guests that are saved and cloned.
//!
//! One program with four parts, chosen by its arguments: the trials; the fake QEMU that they start, so that it is
//! there whenever they are; a harness to be killed; and one whose tmpfs is full.

use std::process::ExitCode;
use std::time::Duration;

use guest_trials::{Failed, Suite};
use libtest_mimic::Trial;

mod bench;
mod clones;
mod costs;
mod crashes;
mod errors;
mod guests;
mod hangs;
mod lab_agent;
mod leaks;
mod space;
mod states;
mod streams;
mod traps;

/// A boot under TCG on a busy host.
const BOOTED: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments
        .first()
        .is_some_and(|first| first == leaks::VICTIM)
    {
        return leaks::victim(&arguments[1..]);
    }
    if arguments.first().is_some_and(|first| first == space::FULL) {
        return space::on_a_full_tmpfs(&arguments[1..]);
    }
    if arguments.iter().any(|argument| argument == "-nodefaults") {
        return fake_qemu::run(&arguments);
    }
    let trials = [
        errors::trials(),
        hangs::trials(),
        traps::trials(),
        streams::trials(),
        leaks::trials(),
        states::trials(),
        crashes::trials(),
        costs::trials(),
        space::trials(),
    ];
    let mut suite = Suite::new(guests::lacking);
    for trial in trials.into_iter().flatten() {
        suite.add(trial);
    }
    clones::add_to(&mut suite);
    costs::add_to(&mut suite);
    lab_agent::add_to(&mut suite);
    suite.run()
}

/// A trial in a runtime of its own.
fn trial<F: Future<Output = ()> + 'static>(name: &'static str, test: fn() -> F) -> Trial {
    Trial::test(name, move || run(test))
}

fn run<F: Future<Output = ()>>(test: impl FnOnce() -> F) -> Result<(), Failed> {
    in_runtime(test())
}

fn in_runtime<T>(work: impl Future<Output = T>) -> Result<T, Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    Ok(runtime.block_on(work))
}
