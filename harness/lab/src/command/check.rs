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
            Ok(plan) => {
                print(&format!(
                    "{}: ok: {}, {}, {}\n",
                    file.display(),
                    counted(plan.nodes.len(), "node"),
                    counted(plan.layers.len(), "layer"),
                    counted(plan.steps.len(), "step")
                ))?;
                for warning in &plan.warnings {
                    print(&format!("  wrong on purpose: {warning}\n"))?;
                }
            }
            Err(error) => {
                rejected += 1;
                terminal.line(&error.show(terminal.is_coloured()));
            }
        }
    }
    if rejected == 0 {
        return Ok(Exit::Success);
    }
    terminal.line(&format!(
        "{rejected} of {} rejected",
        counted(files.len(), "file")
    ));
    Ok(Exit::BadInput)
}

fn counted(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}
