//! The program `nbd-persist`; see the crate's documentation.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    ExitCode::from(nbd_persist::run(
        arguments,
        &mut std::io::stdout(),
        &mut std::io::stderr(),
    ))
}
