//! The folder of pid files and sockets, mode 0700.

use std::env;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, mkdir};
use rustix::io::Errno;

/// Where it is unless [`VARIABLE`] says otherwise.
pub const RUN_DIR: &str = "/var/run/gnbd";

/// The environment variable with another folder: for tests, and for more than one server on a machine.
pub const VARIABLE: &str = "GNBD_RUN_DIR";

/// The folder.
pub fn run_dir() -> PathBuf {
    env::var_os(VARIABLE)
        .filter(|folder| !folder.is_empty())
        .map_or_else(|| PathBuf::from(RUN_DIR), PathBuf::from)
}

/// Makes the folder where it does not exist.
pub fn make(folder: &Path) -> io::Result<()> {
    match mkdir(folder, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
