//! The program `gnbd_load`; see [`gnbd::command::load`].

use std::process::ExitCode;

fn main() -> ExitCode {
    gnbd::command::main("gnbd_load", gnbd::command::load::run)
}
