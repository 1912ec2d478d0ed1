//! Machines whose QEMU is a recording: what goes wrong, and that nothing is left behind. And, where the store has images,
//! guests that are saved and cloned.
//!
//! One program with three parts, chosen by its arguments: the trials; the fake QEMU that they start, so that it is
//! there whenever they are; and a harness to be killed.

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

mod bench;
mod clones;
mod costs;
mod crashes;
mod errors;
mod guests;
mod leaks;
mod states;
mod streams;
mod traps;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments
        .first()
        .is_some_and(|first| first == leaks::VICTIM)
    {
        return leaks::victim(&arguments[1..]);
    }
    if arguments.iter().any(|argument| argument == "-nodefaults") {
        return fake_qemu::run(&arguments);
    }
    let trials = [
        errors::trials(),
        traps::trials(),
        streams::trials(),
        leaks::trials(),
        states::trials(),
        clones::trials(),
        crashes::trials(),
        costs::trials(),
    ];
    libtest_mimic::run(
        &Arguments::from_args(),
        trials.into_iter().flatten().collect(),
    )
    .exit_code()
}

/// A trial in a runtime of its own.
fn trial<F: Future<Output = ()> + 'static>(name: &'static str, test: fn() -> F) -> Trial {
    Trial::test(name, move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build();
        runtime.map_err(Failed::from)?.block_on(test());
        Ok(())
    })
}
