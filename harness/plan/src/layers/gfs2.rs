//! GFS2, the cluster file system of the kernel's lock manager.

use super::file_system::{Below, FileSystem, Journals, Mounts, mount_options};
use super::{Building, LayerKind, LayerTable, Planned, Property, impossible, show};
use crate::diagnostic::suggest::quoted;
use crate::diagnostic::{Diagnostic, Mistakes, Span};
use crate::document::read::At;
use crate::document::table::table;
use crate::plan::Device;
use crate::values::names::{ClusterName, GuestPath, NodeName, VolumeName};
use crate::values::units::ByteSize;

/// mkfs.gfs2 and `gfs2_jadd` refuse less.
const LEAST_JOURNAL: ByteSize = ByteSize::from_mib(8);
/// mkfs.gfs2 takes sizes of journals in these.
const MIB: u64 = 1 << 20;
/// What mkfs.gfs2 takes as the file system's part of a lock table: letters, digits, `-` and `_` (mkfs.gfs2(8), `-t`).
const LONGEST_NAME: usize = 30;
/// What nodes mount with, where nothing else is written: reading a file asks for no lock to write its time then.
const OPTIONS: &str = "noatime";

table! {
    /// GFS2, the cluster file system of the DLM, on the topmost device.
    Written, "`gfs2`", r#"{ journals = 2, at = "/mnt/san" }"# {
        /// Nodes that can mount at the same time, 1 to 255: each has a journal.
        journals: u8, required "2";
        /// Where it is mounted.
        at: GuestPath, required r#""/mnt/san""#;
        /// The logical volume that it is made on, where `lvm` below has several.
        volume: VolumeName, optional;
        /// Size of each journal, at least 8MiB.
        journal: ByteSize, default LEAST_JOURNAL;
        /// Options of every mount, as mount's `-o` has them. Default: `["noatime"]`.
        mount_options: Vec<At<String>>, optional;
        /// Whether all nodes mount it before the first step, or leave that to `mount` steps.
        mount: bool, default true;
    }
}

/// mkfs.gfs2 on a device, and the mount on every node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gfs2 {
    /// Nodes that can mount at the same time.
    pub journals: u8,
    /// Where it is mounted.
    pub at: GuestPath,
    /// Size of each journal.
    pub journal: ByteSize,
    /// Options of every mount, as mount's `-o` has them.
    pub mount_options: Vec<String>,
    /// Whether the layer mounts it on every node, or leaves that to `mount` steps.
    pub mount: bool,
    /// The device that it is made on.
    pub device: Device,
    /// The cluster whose DLM guards it: the first part of its lock table.
    pub cluster: ClusterName,
    /// The second part of its lock table, and the name of its lock space.
    pub name: String,
}

impl Planned for Gfs2 {
    fn parameters(&self) -> Vec<(&'static str, String)> {
        vec![
            ("journals", show(&self.journals)),
            ("at", show(&self.at)),
            ("volume", self.name.clone()),
            ("journal", show(&self.journal)),
            ("mount_options", self.mount_options.join(",")),
            ("mount", show(&self.mount)),
        ]
    }

    fn file_system(&self) -> Option<FileSystem> {
        Some(FileSystem {
            kind: LayerKind::Gfs2,
            at: self.at.clone(),
            device: self.device.clone(),
            options: self.mount_options.clone(),
            mount: self.mount,
            mounts: Mounts {
                most: self.journals,
                key: "journals",
                refusal: "Too many users",
            },
        })
    }
}

impl LayerTable for Written {
    type Planned = Gfs2;
    const PROPERTIES: &'static [Property] = &[
        Property::FileSystem,
        Property::NeedsDevice,
        Property::Needs(&[LayerKind::Dlm]),
    ];

    fn lower(
        &self,
        span: &Span,
        building: &mut Building<'_>,
        mistakes: &mut Mistakes,
    ) -> Option<(Vec<NodeName>, Gfs2)> {
        let below = self.below(span, building, mistakes);
        let cluster = building.locks_for(LayerKind::Gfs2, span, &below.on, mistakes);
        let journals = Journals {
            count: self.journals.as_ref(),
            size: self.journal.as_ref(),
            least: LEAST_JOURNAL,
            key: "journals",
        };
        journals.check(below.size, mistakes);
        let odd = |size: &&At<ByteSize>| !size.bytes().is_multiple_of(MIB);
        if let Some(size) = self.journal.as_ref().filter(odd) {
            mistakes.note(impossible(size, "journal").help("give a multiple of 1MiB"));
        }
        let mount_options = self.mount_options(mistakes);
        let name = below.device.as_ref().map(|device| building.called(device));
        if let Some(name) = &name {
            check_name(name, span, mistakes);
        }
        let planned = || {
            Some(Gfs2 {
                journals: self.journals.as_ref()?.value,
                at: self.at.clone()?.value,
                journal: self.journal.as_ref()?.value,
                mount_options,
                mount: self.mount.as_ref()?.value,
                device: below.device?,
                cluster: cluster?,
                name: name?,
            })
        };
        let planned = planned();
        let count = self.journals.as_ref().map(|journals| &journals.span);
        let file_system = planned.as_ref().and_then(Planned::file_system);
        let file_system = file_system.map(|value| At {
            value,
            span: span.clone(),
        });
        building.has_file_system(count, below.size, file_system);
        Some((below.on, planned?))
    }
}

impl Written {
    /// The device, one of several where `lvm` offers them.
    fn below(&self, span: &Span, building: &Building<'_>, mistakes: &mut Mistakes) -> Below {
        let device_map = &building.device_map;
        let top = device_map.top.as_ref().map(|(kind, _)| *kind);
        let volumes = match top {
            Some(LayerKind::Lvm) => building.logical_volumes.as_slice(),
            _ => &[],
        };
        let Some(device) = self.chosen(span, volumes, device_map.sure, mistakes) else {
            return Below::find(LayerKind::Gfs2, span, device_map, mistakes);
        };
        Below {
            on: device_map.holders(),
            size: (device_map.sure && device_map.sized).then(|| device.size()),
            device: Some(device.clone()),
        }
    }

    /// Which of these logical volumes is meant; the first, where that is not known. `None`: there are none.
    fn chosen<'a>(
        &self,
        span: &Span,
        volumes: &'a [(VolumeName, Device)],
        sure: bool,
        mistakes: &mut Mistakes,
    ) -> Option<&'a Device> {
        let names = || quoted(volumes.iter().map(|(name, _)| name));
        let mut found = None;
        if let Some(wanted) = &self.volume {
            found = volumes.iter().find(|(name, _)| *name == wanted.value);
            if found.is_none() && sure {
                let help = if volumes.is_empty() {
                    "drop `volume`: there is no `lvm` right below".to_owned()
                } else {
                    format!("`lvm` has {}", names())
                };
                let title = format!("no logical volume `{}`", wanted.value);
                mistakes.note(
                    Diagnostic::at(&wanted.span, title)
                        .label("nothing to make it on")
                        .help(help),
                );
            }
        } else if volumes.len() > 1 {
            let title = format!("`gfs2` on {} logical volumes", volumes.len());
            mistakes.note(
                Diagnostic::at(span, title)
                    .label("which of them?")
                    .help(format!("give `volume`, one of {}", names())),
            );
        }
        found.or_else(|| volumes.first()).map(|(_, device)| device)
    }

    fn mount_options(&self, mistakes: &mut Mistakes) -> Vec<String> {
        let Some(list) = &self.mount_options else {
            return vec![OPTIONS.to_owned()];
        };
        let of_locks = |option: &&At<String>| {
            let mut keys = ["lockproto=", "locktable="].iter();
            keys.any(|key| option.starts_with(key))
        };
        for option in list.iter().filter(of_locks) {
            mistakes.note(
                Diagnostic::at(
                    &option.span,
                    format!("`{}` takes the file system from its cluster", option.value),
                )
                .label("nodes would write without locks of each other")
                .help("drop it: mkfs writes the lock protocol and the lock table"),
            );
        }
        mount_options(list, mistakes)
    }
}

/// The lock table has the name of what the file system is made on.
fn check_name(name: &str, place: &Span, mistakes: &mut Mistakes) {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if name.len() > LONGEST_NAME || !name.chars().all(plain) {
        mistakes.note(
            Diagnostic::at(place, format!("`{name}` cannot stand in a lock table"))
                .label("the name of what it is made on")
                .help(format!(
                    "name that by at most {LONGEST_NAME} letters, digits, `-` and `_`"
                )),
        );
    }
}

impl Building<'_> {
    /// What a device is called: a logical volume by its name, anything else by the last part of its path.
    fn called(&self, device: &Device) -> String {
        let mut volumes = self.logical_volumes.iter();
        let volume = volumes.find(|(_, other)| other.path == device.path);
        let last = || {
            device
                .path
                .rsplit('/')
                .next()
                .unwrap_or_default()
                .to_owned()
        };
        volume.map_or_else(last, |(name, _)| name.to_string())
    }
}
