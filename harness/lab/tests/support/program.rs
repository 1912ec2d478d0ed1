//! The program, run as a user runs it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use fs_err as fs;
use guest_trials::Failed;
use sanlab::{Lab, Terminal};

#[path = "child.rs"]
mod child;

use child::ended;

/// The program, with a folder of runs and a history of its own; ended when it takes too long.
pub(crate) fn sanlab(
    lab: &Lab,
    runs: &Path,
    nocapture: bool,
    arguments: &[&str],
    deadline: Duration,
) -> Result<(Option<i32>, String), Failed> {
    fs::create_dir_all(runs)?;
    let said: PathBuf = runs.join("said.txt");
    let output = fs::File::create(&said)?.into_parts().0;
    let mut child = Command::new(env!("CARGO_BIN_EXE_sanlab"))
        .args(arguments)
        .current_dir(lab.project())
        .env("SANLAB_RUNS", runs)
        .env("SANLAB_HISTORY", runs.join("history.sqlite"))
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()?;
    let status = ended(&mut child, deadline)?;
    if status.is_none() {
        child.kill()?;
        child.wait()?;
    }
    let said = fs::read_to_string(&said)?;
    let Some(status) = status else {
        return Err(format!("it did not end within {deadline:?}:\n{said}").into());
    };
    if nocapture {
        Terminal::plain().line(&said);
    }
    Ok((status.code(), said))
}
