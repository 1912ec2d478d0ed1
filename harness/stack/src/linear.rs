//! Device-mapper's `linear` target: the devices below one after another.

use sanlab_plan::Linear;

use crate::legs::Place;
use crate::mapping::{Device, Mapping};

/// Concatenates `below`.
pub(crate) fn linear(plan: &Linear, below: &[Device]) -> Mapping {
    let mut sectors = 0;
    let mut table = Vec::new();
    let mut parts = Vec::new();
    for device in below {
        table.push(format!(
            "{sectors} {} linear {} 0",
            device.sectors, device.path
        ));
        sectors += device.sectors;
        parts.push(
            device
                .place
                .clone()
                .map(|place| (device.sectors * 512, place)),
        );
    }
    Mapping {
        kind: "linear",
        name: plan.name.clone(),
        table,
        below: below.to_vec(),
        sectors,
        place: parts.into_iter().collect::<Option<_>>().map(Place::Linear),
    }
}

#[cfg(test)]
mod tests {
    use sanlab_plan::{Linear, VolumeName};

    use super::{Device, linear};

    #[test]
    fn each_begins_where_the_last_ended() {
        let plan = Linear {
            name: VolumeName::parse("long").expect("valid"),
        };
        let disk = |n: u8, sectors| Device {
            path: format!("/dev/nbd{n}"),
            sectors,
            place: None,
        };
        let mapping = linear(&plan, &[disk(0, 100), disk(1, 50)]);
        assert_eq!(
            mapping.table,
            ["0 100 linear /dev/nbd0 0", "100 50 linear /dev/nbd1 0"]
        );
        assert_eq!(mapping.sectors, 150);
    }
}
