//! Device-mapper's `linear` target: the devices below one after another.

use sanlab_plan::Linear;

use crate::mapping::Mapping;

/// Concatenates all that lies below.
pub(crate) fn linear(plan: &Linear) -> Mapping {
    let mut begin = 0;
    let table = plan.below.iter().map(|device| {
        let line = format!("{begin} {} linear {} 0", device.sectors, device.path);
        begin += device.sectors;
        line
    });
    Mapping {
        kind: "linear",
        name: plan.name.clone(),
        table: table.collect(),
        below: plan.below.clone(),
        device: plan.device.clone(),
    }
}
