//! The process group of a run's machines.

use sanlab_vm::ProcessGroup;

use crate::error::FleetError;
use crate::host::run_dir::RunDir;

/// The group of a run's machines.
pub(crate) fn open(run_dir: &RunDir) -> Result<ProcessGroup, FleetError> {
    ProcessGroup::new(run_dir.path()).map_err(|source| FleetError::Processes {
        doing: "make",
        source: Box::new(source),
    })
}

/// The orderly end of a group whose machines were ended.
pub(crate) async fn close(group: &ProcessGroup) -> Result<(), FleetError> {
    group.close().await.map_err(|source| FleetError::Processes {
        doing: "end",
        source: Box::new(source),
    })
}
