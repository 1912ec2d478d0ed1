//! `sanlab schema`: the JSON Schema of scenario files, for editors.

use crate::terminal::print;
use crate::{Exit, LabError};

/// The schema.
pub(crate) const SCHEMA: &str = include_str!("../../../../scenarios/schema.json");

/// Prints it.
pub(crate) fn execute() -> Result<Exit, LabError> {
    print(SCHEMA)?;
    Ok(Exit::Success)
}
