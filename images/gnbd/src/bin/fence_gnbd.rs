//! The program `fence_gnbd`; see [`gnbd::command::fence`].

use std::process::ExitCode;

fn main() -> ExitCode {
    gnbd::command::main("fence_gnbd", gnbd::command::fence::run)
}
