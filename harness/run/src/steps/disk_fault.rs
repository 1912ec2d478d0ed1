//! `disk_fault`: another table of device-mapper below the layers of nodes, by which their disks fail or are slow.

use sanlab_plan::{DiskFault, DiskFaultKind};

use super::Doing;
use crate::Failure;
use crate::engine::faults::nodes::{self, NodeFault};
use crate::engine::faults::open::Mend;

pub(super) async fn perform(doing: Doing<'_>, fault: &DiskFault) -> Result<(), Failure> {
    let context = doing.context;
    let whole = context.stack.whole_disk();
    let begun = NodeFault {
        step: doing.step.label.as_str(),
        what: doing.step.action.describe(),
        on: &fault.on,
        mend: Mend::new(move |_| whole.clone()),
        // What is only slow is done in the end, and excuses nothing.
        fails_disks: fault.kind == DiskFaultKind::Error,
        lasts: fault.lasts,
    };
    let script = &context.stack.disk_fault(fault);
    nodes::begin(context, begun, async |node| doing.exec(&node, script).await).await
}
