//! `sanlab check`: scenario files against every rule that needs no guest.

use std::path::{Path, PathBuf};

use sanlab_plan::{Plan, Setting};

use crate::lab::scenario;
use crate::terminal::quantity::count;
use crate::terminal::{Terminal, print};
use crate::{Exit, LabError};

/// A scenario, each value of whose matrix can be set.
fn with_matrix(file: &Path) -> Result<Plan, LabError> {
    let plan = scenario::load(file)?;
    for (key, values) in &plan.matrix {
        for value in values {
            let (key, value) = (key.clone(), value.clone());
            scenario::load_with(file, &[Setting { key, value }])?;
        }
    }
    Ok(plan)
}

/// Says what is wrong with each file; all files are read, whatever the first ones hold.
pub(crate) fn execute(files: &[PathBuf]) -> Result<Exit, LabError> {
    let mut terminal = Terminal::new();
    let mut rejected = 0;
    for file in files {
        match with_matrix(file) {
            Ok(plan) => {
                print(&format!(
                    "{}: ok: {}, {}, {}\n",
                    file.display(),
                    count(plan.nodes.len(), "node"),
                    count(plan.layers.len(), "layer"),
                    count(plan.steps.len(), "step")
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
        count(files.len(), "file")
    ));
    Ok(Exit::BadInput)
}
