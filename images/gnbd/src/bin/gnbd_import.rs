//! The program `gnbd_import`; see [`gnbd::command::import`].

use std::process::ExitCode;

fn main() -> ExitCode {
    gnbd::command::main("gnbd_import", gnbd::command::import::run)
}
