//! OCFS2, the cluster file system.

use super::file_system::{Below, FileSystem, Journals, Mounts, mount_options};
use super::{Building, LayerKind, LayerTable, Planned, Property, show};
use crate::diagnostic::{Diagnostic, Mistakes, Span};
use crate::document::read::At;
use crate::document::table::table;
use crate::plan::Device;
use crate::values::names::{ClusterName, GuestPath, NodeName};
use crate::values::units::ByteSize;

/// mkfs.ocfs2 refuses less.
const LEAST_JOURNAL: ByteSize = ByteSize::from_mib(4);

table! {
    /// The cluster file system on the topmost device.
    Written, "`ocfs2`", r#"{ slots = 4, at = "/mnt/nbdsan" }"# {
        /// Nodes that can mount at the same time, 1 to 255.
        slots: u8, required "4";
        /// Where it is mounted.
        at: GuestPath, required r#""/mnt/nbdsan""#;
        /// `--fs-features` of mkfs.ocfs2.
        features: Vec<At<String>>, default Vec::new();
        /// Size of each slot's journal, at least 4MiB.
        journal: ByteSize, default ByteSize::from_mib(8);
        /// Whether all nodes mount it before the first step, or leave that to `mount` steps.
        mount: bool, default true;
        /// Options of every mount, as mount's `-o` has them: `coherency=buffered`, `data=writeback`, ...
        mount_options: Vec<At<String>>, default Vec::new();
    }
}

/// mkfs.ocfs2 on the topmost device, and the mount on every node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ocfs2 {
    /// Nodes that can mount at the same time.
    pub slots: u8,
    /// Where it is mounted.
    pub at: GuestPath,
    /// `--fs-features`, as mkfs.ocfs2 spells them.
    pub features: Vec<String>,
    /// Size of each slot's journal.
    pub journal: ByteSize,
    /// Whether the layer mounts it on every node, or leaves that to `mount` steps.
    pub mount: bool,
    /// Options of every mount, as mount's `-o` has them.
    pub mount_options: Vec<String>,
    /// The device that it is made on.
    pub device: Device,
    /// What guards it.
    pub cluster_stack: ClusterStack,
    /// The cluster of `o2cb`, or of `membership` below `dlm`.
    pub cluster: ClusterName,
}

/// What keeps the nodes of OCFS2 from each other's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClusterStack {
    /// Its own: membership and locks of `o2cb`.
    O2cb,
    /// The kernel's lock manager with corosync, which OCFS2 calls by the name of Pacemaker.
    Pcmk,
}

impl ClusterStack {
    /// As mkfs.ocfs2 and the kernel spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::O2cb => "o2cb",
            Self::Pcmk => "pcmk",
        }
    }
}

impl Planned for Ocfs2 {
    fn parameters(&self) -> Vec<(&'static str, String)> {
        vec![
            ("slots", show(&self.slots)),
            ("at", show(&self.at)),
            ("features", self.features.join(",")),
            ("journal", show(&self.journal)),
            ("mount", show(&self.mount)),
            ("mount_options", self.mount_options.join(",")),
        ]
    }

    fn file_system(&self) -> Option<FileSystem> {
        Some(FileSystem {
            kind: LayerKind::Ocfs2,
            at: self.at.clone(),
            device: self.device.clone(),
            options: self.mount_options.clone(),
            mount: self.mount,
            mounts: Mounts {
                most: self.slots,
                key: "slots",
                refusal: "no free slots",
            },
        })
    }
}

impl LayerTable for Written {
    type Planned = Ocfs2;
    const PROPERTIES: &'static [Property] = &[
        Property::FileSystem,
        Property::NeedsDevice,
        Property::Needs(&[LayerKind::O2cb, LayerKind::Dlm]),
    ];

    fn lower(
        &self,
        span: &Span,
        building: &mut Building<'_>,
        mistakes: &mut Mistakes,
    ) -> Option<(Vec<NodeName>, Ocfs2)> {
        let below = Below::find(LayerKind::Ocfs2, span, &building.device_map, mistakes);
        let journals = Journals {
            count: self.slots.as_ref(),
            size: self.journal.as_ref(),
            least: LEAST_JOURNAL,
            key: "slots",
        };
        journals.check(below.size, mistakes);
        check_features(self, mistakes);
        // A `dlm` may be there for LVM alone.
        let guard = match building.cluster.clone() {
            Some(cluster) => Some((ClusterStack::O2cb, cluster)),
            None => building
                .locks_for(LayerKind::Ocfs2, span, &below.on, mistakes)
                .map(|cluster| (ClusterStack::Pcmk, cluster)),
        };
        let options = self.mount_options.as_ref();
        let options = options.map(|options| mount_options(options, mistakes));
        let lowered = planned(self, options, below.device, guard);
        let slots = self.slots.as_ref().map(|slots| &slots.span);
        let file_system = lowered.as_ref().and_then(Planned::file_system);
        let file_system = file_system.map(|value| At {
            value,
            span: span.clone(),
        });
        building.has_file_system(slots, below.size, file_system);
        Some((below.on, lowered?))
    }
}

fn check_features(layer: &Written, mistakes: &mut Mistakes) {
    for feature in layer.features.iter().flat_map(|features| features.iter()) {
        let word = feature
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if !word {
            mistakes.note(
                Diagnostic::at(
                    &feature.span,
                    format!("`{}` is not a feature", feature.value),
                )
                .label("lower-case letters, digits and hyphens")
                .help(r#"write each as mkfs.ocfs2 spells it, such as `["xattr", "norefcount"]`"#),
            );
        }
    }
}

/// `device` and `guard` are those below.
fn planned(
    layer: &Written,
    mount_options: Option<Vec<String>>,
    device: Option<Device>,
    guard: Option<(ClusterStack, ClusterName)>,
) -> Option<Ocfs2> {
    let (cluster_stack, cluster) = guard?;
    Some(Ocfs2 {
        slots: layer.slots.as_ref()?.value,
        at: layer.at.clone()?.value,
        features: layer
            .features
            .as_ref()?
            .iter()
            .map(|feature| feature.value.clone())
            .collect(),
        journal: layer.journal.as_ref()?.value,
        mount: layer.mount.as_ref()?.value,
        mount_options: mount_options?,
        device: device?,
        cluster_stack,
        cluster,
    })
}
