//! Device-mapper's `striped` target: chunks on the devices below in turn.

use sanlab_plan::{LayerKind, PlacedLayer, Plan, Striped};

use crate::description::layer::LayerCommands;
use crate::layers::describe::{Describe, Hot, Watched};
use crate::layers::mapping::{self, Mapping};

impl Describe for Striped {
    const HOT: Hot = mapping::HOT;

    fn describe(
        &self,
        _placed: &PlacedLayer,
        _plan: &Plan,
        _watched: &mut Watched,
    ) -> Box<dyn LayerCommands> {
        let devices: Vec<String> = self
            .below
            .iter()
            .map(|device| format!("{} 0", device.path))
            .collect();
        Box::new(Mapping {
            kind: LayerKind::Striped,
            name: self.name.clone(),
            table: vec![format!(
                "0 {} striped {} {} {}",
                self.device.sectors,
                devices.len(),
                self.chunk.bytes() / 512,
                devices.join(" ")
            )],
            below: self.below.clone(),
            device: self.device.clone(),
        })
    }
}
