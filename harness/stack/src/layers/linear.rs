//! Device-mapper's `linear` target: the devices below one after another.

use sanlab_plan::{LayerKind, Linear, PlacedLayer, Plan};

use crate::description::layer::LayerCommands;
use crate::layers::describe::{Describe, Hot, Watched};
use crate::layers::mapping::{self, Mapping};

impl Describe for Linear {
    const HOT: Hot = mapping::HOT;

    fn describe(
        &self,
        _placed: &PlacedLayer,
        _plan: &Plan,
        _watched: &mut Watched,
    ) -> Box<dyn LayerCommands> {
        let mut begin = 0;
        let table = self.below.iter().map(|device| {
            let line = format!("{begin} {} linear {} 0", device.sectors, device.path);
            begin += device.sectors;
            line
        });
        Box::new(Mapping {
            kind: LayerKind::Linear,
            name: self.name.clone(),
            table: table.collect(),
            below: self.below.clone(),
            device: self.device.clone(),
        })
    }
}
