//! The program `gnbd_serv`; see [`gnbd::command::serv`].

use std::process::ExitCode;

fn main() -> ExitCode {
    gnbd::command::main("gnbd_serv", gnbd::command::serv::run)
}
