//! What every cluster file system has in common: one device below, nodes that mount it, a journal for each of them.

use super::{Building, LayerKind, impossible};
use crate::devices::device_map::DeviceMap;
use crate::diagnostic::{Diagnostic, Mistakes, Span};
use crate::document::read::At;
use crate::plan::Device;
use crate::values::names::{GuestPath, NodeName};
use crate::values::units::ByteSize;

/// A cluster file system as steps use it, whichever it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSystem {
    /// Its layer.
    pub kind: LayerKind,
    /// Where nodes mount it, the same everywhere.
    pub at: GuestPath,
    /// The device that it is made on.
    pub device: Device,
    /// Options of every mount, as mount's `-o` has them.
    pub options: Vec<String>,
    /// Whether the layer mounts it on every node, or leaves that to `mount` steps.
    pub mount: bool,
    /// How many nodes can have it mounted at the same time.
    pub mounts: Mounts,
}

/// How many nodes can mount a file system, and the words for that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mounts {
    /// At the same time.
    pub most: u8,
    /// The layer's key that says so: `slots`.
    pub key: &'static str,
    /// What mount or the kernel says to one node more.
    pub refusal: &'static str,
}

/// Options of mount as written. They stand in the command line as they are.
pub(crate) fn mount_options(list: &[At<String>], mistakes: &mut Mistakes) -> Vec<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=.".contains(c);
    let is_option =
        |text: &str| text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(plain);
    for option in list.iter().filter(|option| !is_option(option)) {
        mistakes.note(
            Diagnostic::at(
                &option.span,
                format!("`{}` is not an option of mount", option.value),
            )
            .label("letters, digits, `-`, `_`, `=` and `.`")
            .help(
                r#"write each as mount's `-o` spells it, such as `["noatime", "data=writeback"]`"#,
            ),
        );
    }
    list.iter().map(|option| option.value.clone()).collect()
}

/// What a file system finds below.
pub(crate) struct Below {
    /// The nodes that have the device.
    pub(crate) on: Vec<NodeName>,
    pub(crate) device: Option<Device>,
    /// The device's size, where it is known.
    pub(crate) size: Option<ByteSize>,
}

impl Below {
    /// A file system is made on one device, the same on all nodes.
    pub(crate) fn find(
        kind: LayerKind,
        span: &Span,
        device_map: &DeviceMap<'_>,
        mistakes: &mut Mistakes,
    ) -> Self {
        let on = device_map.holders();
        if device_map.sure && device_map.check_paths(kind, span, mistakes) {
            let devices = device_map.first_devices();
            if devices.len() > 1 {
                mistakes.note(
                    Diagnostic::at(span, format!("`{kind}` on {} disks", devices.len()))
                        .label("needs one device below")
                        .help(r#"join them with a layer `striped = { name = "san" }` or `linear = { name = "san" }`"#),
                );
            } else {
                device_map.check_same(kind, &on, span, mistakes);
            }
        }
        let size = match device_map.first_devices() {
            [device] if device_map.sure && device_map.sized => Some(device.size()),
            _ => None,
        };
        Self {
            on,
            device: device_map.first_devices().first().cloned(),
            size,
        }
    }
}

/// The journals of a file system as written: one for each node that mounts it.
pub(crate) struct Journals<'d> {
    pub(crate) count: Option<&'d At<u8>>,
    /// Of each.
    pub(crate) size: Option<&'d At<ByteSize>>,
    /// mkfs refuses less.
    pub(crate) least: ByteSize,
    /// What the layer calls them: `slots`.
    pub(crate) key: &'static str,
}

impl Journals<'_> {
    /// Whether nodes can mount, and the journals leave half of the device to files.
    pub(crate) fn check(&self, device: Option<ByteSize>, mistakes: &mut Mistakes) {
        let (key, least) = (self.key, self.least);
        if let Some(count) = self.count.filter(|count| count.value == 0) {
            mistakes.note(
                Diagnostic::at(&count.span, format!("impossible number of {key}: 0"))
                    .label("no node could mount")
                    .help(format!(
                        "give as many {key} as nodes mount at the same time"
                    )),
            );
        }
        let Some(size) = self.size else { return };
        let count = self.count.map_or(1, |count| u64::from(count.value));
        let all = size.bytes().saturating_mul(count);
        if size.value < least {
            mistakes.note(impossible(size, "journal").help(format!("give at least {least}")));
        } else if let Some(device) = device.filter(|device| all > device.bytes() / 2) {
            let fewer = if key == "journals" { "of them" } else { key };
            let place = self.count.map_or(&size.span, |count| &count.span);
            let all = ByteSize::from_bytes(all);
            mistakes.note(
                Diagnostic::at(place, format!("the journals do not fit: {all} in all"))
                    .label(format!("one journal of {} for each", size.value))
                    .help(format!(
                        "the volume has {device}: give larger disks, smaller journals or fewer {fewer}"
                    )),
            );
        }
    }
}

impl Building<'_> {
    /// Keeps what steps must know of a file system: where its number of mounts is written, the size of its device, and itself.
    pub(crate) fn has_file_system(
        &mut self,
        mounts: Option<&Span>,
        size: Option<ByteSize>,
        file_system: Option<At<FileSystem>>,
    ) {
        self.resolved_stack.mounts = mounts.cloned();
        self.resolved_stack.volume = size;
        self.resolved_stack.file_system = file_system;
    }
}
