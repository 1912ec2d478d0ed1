//! Device-mapper's `striped` target: chunks on the devices below in turn.

use sanlab_plan::Striped;

use crate::mapping::Mapping;

/// Stripes over all that lies below.
pub(crate) fn striped(plan: &Striped) -> Mapping {
    let devices: Vec<String> = plan
        .below
        .iter()
        .map(|device| format!("{} 0", device.path))
        .collect();
    Mapping {
        kind: "striped",
        name: plan.name.clone(),
        table: vec![format!(
            "0 {} striped {} {} {}",
            plan.device.sectors,
            devices.len(),
            plan.chunk.bytes() / 512,
            devices.join(" ")
        )],
        below: plan.below.clone(),
        device: plan.device.clone(),
    }
}
