//! The cluster file system.

use super::{Building, LayerKind, LayerTable, Planned, Property, impossible, show};
use crate::devices::device_map::DeviceMap;
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
    /// The cluster of `o2cb` that guards it.
    pub cluster: ClusterName,
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
}

impl LayerTable for Written {
    type Planned = Ocfs2;
    const PROPERTIES: &'static [Property] =
        &[Property::NeedsDevice, Property::Needs(LayerKind::O2cb)];

    fn lower(
        &self,
        span: &Span,
        building: &mut Building<'_>,
        mistakes: &mut Mistakes,
    ) -> Option<(Vec<NodeName>, Ocfs2)> {
        let on = building.device_map.holders();
        check_device(&building.device_map, &on, span, mistakes);
        let device = building.device_map.first_devices().first().cloned();
        let sized = building.device_map.sure && building.device_map.sized;
        let volume = match building.device_map.first_devices() {
            [device] if sized => Some(device.size()),
            _ => None,
        };
        let lowered = planned(self, volume, device, building.cluster.clone(), mistakes);
        building.resolved_stack.slots = self.slots.as_ref().map(|slots| slots.span.clone());
        building.resolved_stack.volume = volume;
        building.resolved_stack.file_system = lowered.clone().map(|value| At {
            value,
            span: span.clone(),
        });
        Some((on, lowered?))
    }
}

/// `volume`: its size, when it is known. `device` and `cluster` are those below.
fn planned(
    layer: &Written,
    volume: Option<ByteSize>,
    device: Option<Device>,
    cluster: Option<ClusterName>,
    mistakes: &mut Mistakes,
) -> Option<Ocfs2> {
    if let Some(slots) = &layer.slots
        && slots.value == 0
    {
        mistakes.note(
            Diagnostic::at(&slots.span, "impossible number of slots: 0")
                .label("no node could mount")
                .help("give as many slots as nodes mount at the same time"),
        );
    }
    if let Some(journal) = &layer.journal {
        let all = journal.bytes().saturating_mul(
            layer
                .slots
                .as_ref()
                .map_or(1, |slots| u64::from(slots.value)),
        );
        if journal.value < LEAST_JOURNAL {
            mistakes.note(
                impossible(journal, "journal").help(format!("give at least {LEAST_JOURNAL}")),
            );
        } else if let Some(volume) = volume
            && all > volume.bytes() / 2
        {
            let slots = layer
                .slots
                .as_ref()
                .map_or(&journal.span, |slots| &slots.span);
            mistakes.note(
                Diagnostic::at(
                    slots,
                    format!(
                        "the journals do not fit: {} in all",
                        ByteSize::from_bytes(all)
                    ),
                )
                .label(format!("one journal of {} for each", journal.value))
                .help(format!(
                    "the volume has {volume}: give larger disks, smaller journals or fewer slots"
                )),
            );
        }
    }
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
    check_options(layer, mistakes);
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
        mount_options: layer
            .mount_options
            .as_ref()?
            .iter()
            .map(|option| option.value.clone())
            .collect(),
        device: device?,
        cluster: cluster?,
    })
}

/// They stand in the command line as they are.
fn check_options(layer: &Written, mistakes: &mut Mistakes) {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_=".contains(c);
    let is_option =
        |text: &str| text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(plain);
    let options = layer
        .mount_options
        .iter()
        .flat_map(|options| options.iter());
    for option in options.filter(|option| !is_option(option)) {
        mistakes.note(
            Diagnostic::at(
                &option.span,
                format!("`{}` is not an option of mount", option.value),
            )
            .label("lower-case letters, digits, hyphens, `_` and `=`")
            .help(
                r#"write each as mount's `-o` spells it, such as `["data=writeback", "noatime"]`"#,
            ),
        );
    }
}

/// A file system is made on one device, the same on all nodes.
fn check_device(device_map: &DeviceMap<'_>, on: &[NodeName], span: &Span, mistakes: &mut Mistakes) {
    if !device_map.sure || !device_map.check_paths(LayerKind::Ocfs2, span, mistakes) {
        return;
    }
    let devices = device_map.first_devices();
    if devices.len() > 1 {
        mistakes.note(
            Diagnostic::at(span, format!("`ocfs2` on {} disks", devices.len()))
                .label("needs one device below")
                .help(r#"join them with a layer `striped = { name = "san" }` or `linear = { name = "san" }`"#),
        );
    } else {
        device_map.check_same(LayerKind::Ocfs2, on, span, mistakes);
    }
}
