//! What a run needs beside its plan.

use std::collections::BTreeMap;
use std::path::PathBuf;

use sanlab_fleet::{Image, Store};
use sanlab_plan::NodeName;

use crate::engine::options::RunOptions;

/// What a run needs beside its plan.
#[derive(Debug, Clone)]
pub struct Environment {
    /// What each node boots.
    pub images: BTreeMap<NodeName, Image>,
    /// Where consoles, captures and what is collected go. Made if it does not exist.
    pub out_dir: PathBuf,
    /// Where templates and checkpoints are kept.
    pub store: Store,
    /// What is wanted of the run.
    pub options: RunOptions,
}
