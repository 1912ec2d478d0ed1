//! Device-mapper's `striped` target: chunks on the devices below in turn.

use sanlab_plan::Striped;

use crate::legs::Place;
use crate::mapping::{Device, Mapping};

/// Stripes over `below`, which are taken to be as long as the shortest of them, cut to whole chunks.
pub(crate) fn striped(plan: &Striped, below: &[Device]) -> Mapping {
    let chunk = (plan.chunk.bytes() / 512).max(1);
    let count = below.len();
    let each = below.iter().map(|device| device.sectors).min().unwrap_or(0) / chunk * chunk;
    let sectors = each * count as u64;
    let devices: Vec<String> = below
        .iter()
        .map(|device| format!("{} 0", device.path))
        .collect();
    let parts: Option<Vec<Place>> = below.iter().map(|device| device.place.clone()).collect();
    Mapping {
        kind: "striped",
        name: plan.name.clone(),
        table: vec![format!(
            "0 {sectors} striped {count} {chunk} {}",
            devices.join(" ")
        )],
        below: below.to_vec(),
        sectors,
        place: parts.map(|parts| Place::Striped {
            chunk: chunk * 512,
            parts,
        }),
    }
}

#[cfg(test)]
mod tests {
    use sanlab_plan::{ByteSize, Striped, VolumeName};

    use super::{Device, striped};

    fn disk(n: u8, sectors: u64) -> Device {
        Device {
            path: format!("/dev/nbd{n}"),
            sectors,
            place: None,
        }
    }

    #[test]
    fn the_length_is_whole_chunks_of_the_shortest() {
        let plan = Striped {
            name: VolumeName::parse("raid").expect("valid"),
            chunk: ByteSize::from_bytes(64 << 10),
        };
        let mapping = striped(&plan, &[disk(0, 1000), disk(1, 2000)]);
        assert_eq!(
            mapping.table,
            ["0 1792 striped 2 128 /dev/nbd0 0 /dev/nbd1 0"]
        );
        assert_eq!(
            mapping.device(),
            Device {
                path: "/dev/mapper/raid".to_owned(),
                sectors: 1792,
                place: None,
            }
        );
    }
}
