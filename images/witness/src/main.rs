//! The program `sanlab-witness`; see the crate's documentation.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    ExitCode::from(sanlab_witness::run(
        &arguments,
        &mut std::io::stdout(),
        &mut std::io::stderr(),
    ))
}
