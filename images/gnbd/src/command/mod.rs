//! The programs, a file each. Their command lines and outputs are those of the historic programs.

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

mod console;
pub mod export;
mod export_lists;
pub mod fence;
mod get_uid;
pub mod import;
mod import_device;
pub mod load;
pub mod options;
pub mod serv;
mod server_socket;

pub use console::{Console, ExitStatus, strerror, strerror_of};

/// Runs a program as its `main` does: with the process's arguments and standard streams.
pub fn main(
    program: &'static str,
    run: fn(Vec<OsString>, &mut Console<'_>) -> ExitStatus,
) -> ExitCode {
    let (mut out, mut err) = (io::stdout(), io::stderr());
    let mut console = Console::new(program, &mut out, &mut err);
    ExitCode::from(run(std::env::args_os().skip(1).collect(), &mut console))
}

/// For fuzz targets.
pub(crate) fn fuzz_uid_command(text: &str) {
    get_uid::fuzz_words(text);
}
