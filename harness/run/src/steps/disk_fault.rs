//! `disk_fault`: another table of device-mapper below the layers of nodes, by which their disks fail or are slow.

use sanlab_plan::{DiskFault, DiskFaultKind};

use super::Doing;
use crate::Failure;
use crate::engine::faults::nodes::NodeFault;
use crate::engine::faults::open::Mend;

pub(super) async fn perform(doing: Doing<'_>, disk: &DiskFault) -> Result<(), Failure> {
    let stack = &doing.context.stack;
    let whole = stack.whole_disk();
    let mend = Mend::new(move |_| whole.clone());
    let fault = NodeFault {
        // What is only slow is done in the end, and excuses nothing.
        fails_disks: disk.kind == DiskFaultKind::Error,
        ..NodeFault::of(doing.step, &disk.on, mend, disk.lasts)
    };
    doing.break_nodes(fault, &stack.disk_fault(disk)).await
}
