//! The program `gnbd_export`; see [`gnbd::command::export`].

use std::process::ExitCode;

fn main() -> ExitCode {
    gnbd::command::main("gnbd_export", gnbd::command::export::run)
}
