//! `sanlab-agent PORT`; see the crate's documentation.

use std::io::Write as _;
use std::process::ExitCode;

use rustix::fs::{Mode, OFlags, open};
use sanlab_agent::{Agent, protect};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(port), None) = (arguments.next(), arguments.next()) else {
        return fail("usage: sanlab-agent PORT");
    };
    for trouble in protect() {
        // It runs without that, too.
        fail(&trouble);
    }
    let opened = open(&port, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
    let served = opened
        .map_err(std::io::Error::from)
        .and_then(|port| Agent::new(port)?.serve());
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!(
            "failed to serve {}: {error}",
            port.to_string_lossy()
        )),
    }
}

fn fail(text: &str) -> ExitCode {
    // Nobody is left to tell where standard error is gone.
    let _ = writeln!(std::io::stderr(), "sanlab-agent: {text}");
    ExitCode::FAILURE
}
