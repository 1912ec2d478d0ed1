//! How a plan's layer becomes a description, and what steps ask of particular layers later.

use sanlab_plan::{BlockMap, PlacedLayer, Plan};

use crate::description::layer::LayerCommands;
use crate::layers::drbd::Resource;
use crate::layers::membership::Cluster;
use crate::layers::volume::{Sharing, Volume};

/// A layer of a plan that can be described.
pub(crate) trait Describe {
    /// What it reads of the root image.
    const HOT: Hot = Hot::NONE;

    /// As it stands on `placed`'s nodes in `plan`. What steps ask of it later is left in `watched`.
    fn describe(
        &self,
        placed: &PlacedLayer,
        plan: &Plan,
        watched: &mut Watched,
    ) -> Box<dyn LayerCommands>;
}

/// Files of the root image that a layer uses; having read them changes nothing but a guest's page cache.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hot {
    /// Kernel modules, with those that they need. They are read, not loaded: loading is the layer's own work.
    pub(crate) modules: &'static [&'static str],
    /// Programs with arguments by which they do nothing but load themselves and their libraries.
    pub(crate) commands: &'static [(&'static str, &'static str)],
}

impl Hot {
    /// None that would be worth it.
    pub(crate) const NONE: Self = Self {
        modules: &[],
        commands: &[],
    };
}

/// What `mount`, `wait_for` and `verify` ask of particular layers.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    pub(crate) volume: Option<Volume>,
    pub(crate) clusters: Vec<Cluster>,
    pub(crate) resources: Vec<Resource>,
    /// Where the volume's bytes are.
    pub(crate) blocks: Option<BlockMap>,
}

impl Watched {
    /// A layer's file system is what steps mount.
    pub(crate) fn mounts(&mut self, placed: &PlacedLayer, sharing: Box<dyn Sharing>) {
        if let Some(file_system) = placed.layer.file_system() {
            self.blocks = Some(file_system.device.blocks.clone());
            self.volume = Some(Volume::new(file_system, &placed.on, sharing));
        }
    }
}
