//! `sanlab check`: scenario files against every rule that needs no guest.

use std::path::PathBuf;

use crate::terminal::{Terminal, print};
use crate::{Exit, LabError, scenario};

/// Says what is wrong with each file; all files are read, whatever the first ones hold.
pub(crate) fn execute(files: &[PathBuf]) -> Result<Exit, LabError> {
    let mut terminal = Terminal::new();
    let mut rejected = 0;
    for file in files {
        match scenario::load(file) {
            Ok(plan) => print(&format!(
                "{}: ok: {} nodes, {} layers, {} steps\n",
                file.display(),
                plan.nodes.len(),
                plan.layers.len(),
                plan.steps.len()
            ))?,
            Err(error) => {
                rejected += 1;
                terminal.line(&error.show(terminal.is_coloured()));
            }
        }
    }
    if rejected == 0 {
        return Ok(Exit::Success);
    }
    let plural = if files.len() == 1 { "file" } else { "files" };
    terminal.line(&format!("{rejected} of {} {plural} rejected", files.len()));
    Ok(Exit::BadInput)
}
