//! The devices below one after another.

use super::{
    Building, KernelName, LayerKind, LayerTable, Planned, Property, Provided, over_all, show,
};
use crate::diagnostic::{Mistakes, Span};
use crate::document::table::table;
use crate::plan::{BlockMap, Device};
use crate::values::names::{NodeName, VolumeName};

table! {
    /// The devices below one after another, by device-mapper.
    Written, "`linear`", r#"{ name = "nbdsan" }"# {
        /// Name under `/dev/mapper`.
        name: VolumeName, required r#""nbdsan""#;
    }
}

/// `dmsetup create` with the `linear` target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linear {
    /// Name under `/dev/mapper`.
    pub name: VolumeName,
    /// What it stands on.
    pub below: Vec<Device>,
    /// What it makes of that.
    pub device: Device,
}

impl Planned for Linear {
    fn parameters(&self) -> Vec<(&'static str, String)> {
        vec![("name", show(&self.name))]
    }

    fn provided(&self, on: &[NodeName]) -> Vec<Provided> {
        over_all(on, &self.below, &self.device, KernelName::MAPPER)
    }
}

impl LayerTable for Written {
    type Planned = Linear;
    const PROPERTIES: &'static [Property] =
        &[Property::OnDevices, Property::Joins, Property::NeedsDevice];

    fn lower(
        &self,
        span: &Span,
        building: &mut Building<'_>,
        mistakes: &mut Mistakes,
    ) -> Option<(Vec<NodeName>, Linear)> {
        let name = self.name.as_ref();
        let layer = (LayerKind::Linear, span);
        let (on, below, device) = building.device_map.join(layer, mistakes, |below| {
            let part = |device: &Device| (device.sectors * 512, device.blocks.clone());
            Some(Device {
                path: format!("/dev/mapper/{}", name?.value),
                sectors: below.iter().map(|device| device.sectors).sum(),
                uid: None,
                blocks: BlockMap::Linear(below.iter().map(part).collect()),
            })
        })?;
        let linear = Linear {
            name: name?.value.clone(),
            below,
            device,
        };
        Some((on, linear))
    }
}
