//! A volume group of LVM that nodes share: lvmlockd guards it with locks of the DLM.

use super::{
    Building, KernelName, LayerKind, LayerTable, Planned, Property, Provided, check_chunk,
    impossible, show,
};
use crate::diagnostic::{Diagnostic, Mistakes, Span};
use crate::document::read::At;
use crate::document::table::table;
use crate::document::word::words;
use crate::plan::{BlockMap, Device};
use crate::values::names::{ClusterName, NodeName, VolumeName};
use crate::values::units::ByteSize;

/// LVM's default, which is given to vgcreate all the same.
const EXTENT: ByteSize = ByteSize::from_mib(4);
/// Where the first extent begins on each device: LVM's metadata are before it. Given to pvcreate.
const DATA: ByteSize = ByteSize::from_mib(1);
/// The same as that of the `striped` layer.
const CHUNK: ByteSize = ByteSize::from_bytes(16 << 10);
/// What device-mapper takes as a name (`DM_NAME_LEN` with the final 0).
const LONGEST_NAME: usize = 127;
/// Words that LVM keeps for itself in names of logical volumes (lvm(8), "Reserved names").
const RESERVED: [&str; 13] = [
    "_cdata", "_cmeta", "_corig", "_cvol", "_iorig", "_mimage", "_mlog", "_pmspare", "_rimage",
    "_rmeta", "_tdata", "_tmeta", "_vdata",
];

table! {
    /// A volume group that all nodes share, by LVM and lvmlockd, with logical volumes over the devices below.
    Written, "`lvm`", r#"{ group = "shared", volumes = ["san"] }"# {
        /// Name of the volume group.
        group: VolumeName, required r#""shared""#;
        /// Names of the logical volumes: `/dev/mapper/GROUP-VOLUME`.
        volumes: Vec<At<VolumeName>>, required r#"["san"]"#;
        /// Size of each volume, in whole extents of 4MiB. Default: an equal share of the group.
        size: ByteSize, optional;
        /// How they lie on several devices: `linear`, on one after another, or `striped`, on all in turn.
        layout: Layout, default Layout::Linear;
        /// Bytes on one device before the next one's turn, of `striped`: a power of two, at least 4KiB. Default: 16KiB.
        chunk: ByteSize, optional;
    }
}

words! {
    /// How a logical volume lies on several devices.
    pub Layout, "layout", "layouts", "a layout", r#""striped""# {
        /// On one after another.
        Linear = "linear",
        /// On all in turn.
        Striped = "striped",
    }
}

/// `vgcreate --shared`, `lvcreate` on one node, and the logical volumes active on all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lvm {
    /// Name of the volume group.
    pub group: VolumeName,
    /// In the order of their extents on the devices.
    pub volumes: Vec<LogicalVolume>,
    /// The physical volumes, in the order in which the group has them.
    pub below: Vec<Device>,
    /// Size of each logical volume.
    pub size: ByteSize,
    /// How each lies on several devices.
    pub layout: Layout,
    /// Of [`Layout::Striped`], in bytes: a power of two, at least 4 KiB.
    pub chunk: ByteSize,
    /// The cluster whose DLM guards it.
    pub cluster: ClusterName,
}

/// A logical volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogicalVolume {
    /// Its name in the group.
    pub name: VolumeName,
    /// What it gives nodes.
    pub device: Device,
    /// Where it lies: one after another, or, striped, in turn.
    pub runs: Vec<Extents>,
}

/// Extents that lie side by side on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extents {
    /// The device's place in [`Lvm::below`].
    pub device: usize,
    /// The first one's number, from 0.
    pub first: u64,
    /// At least 1.
    pub count: u64,
}

impl Lvm {
    /// The size of an extent.
    pub const EXTENT: ByteSize = EXTENT;
    /// Where extent 0 begins on each device.
    pub const DATA: ByteSize = DATA;
}

impl Extents {
    /// Where they begin on the device, in bytes.
    pub const fn offset(&self) -> u64 {
        DATA.bytes() + self.first * EXTENT.bytes()
    }

    /// In bytes.
    pub const fn length(&self) -> u64 {
        self.count * EXTENT.bytes()
    }

    fn blocks(&self, below: &[Device]) -> BlockMap {
        BlockMap::After {
            skipped: self.offset(),
            part: Box::new(below[self.device].blocks.clone()),
        }
    }
}

impl Planned for Lvm {
    fn parameters(&self) -> Vec<(&'static str, String)> {
        let volumes: Vec<&str> = self.volumes.iter().map(|it| it.name.as_str()).collect();
        let mut all = vec![
            ("group", show(&self.group)),
            ("volumes", volumes.join(",")),
            ("size", show(&self.size)),
            ("layout", show(&self.layout)),
        ];
        if self.layout == Layout::Striped {
            all.push(("chunk", show(&self.chunk)));
        }
        all
    }

    fn provided(&self, on: &[NodeName]) -> Vec<Provided> {
        let volume = |node: &NodeName, volume: &LogicalVolume| Provided {
            node: node.clone(),
            path: volume.device.path.clone(),
            kernel_name: KernelName::MAPPER,
            over: volume
                .runs
                .iter()
                .map(|run| (node.clone(), self.below[run.device].path.clone()))
                .collect(),
            servers: Vec::new(),
        };
        on.iter()
            .flat_map(|node| self.volumes.iter().map(move |it| volume(node, it)))
            .collect()
    }
}

impl LayerTable for Written {
    type Planned = Lvm;
    const PROPERTIES: &'static [Property] = &[
        Property::OnDevices,
        Property::NeedsDevice,
        Property::Needs(&[LayerKind::Dlm]),
    ];

    fn lower(
        &self,
        span: &Span,
        building: &mut Building<'_>,
        mistakes: &mut Mistakes,
    ) -> Option<(Vec<NodeName>, Lvm)> {
        let device_map = &building.device_map;
        let on = device_map.holders();
        if device_map.check_paths(LayerKind::Lvm, span, mistakes) {
            device_map.check_same(LayerKind::Lvm, &on, span, mistakes);
        }
        let below = device_map.first_devices().to_vec();
        let sized = device_map.sure && device_map.sized;
        let cluster = building.locks_for(LayerKind::Lvm, span, &on, mistakes);
        let names = self.names(mistakes);
        let layout = self.layout.as_ref()?;
        self.check_layout(layout, &below, sized, mistakes);
        let group = self.group.as_ref()?;
        let room = Room::of(&below, layout.value);
        let extents = self.extents(&room, names.len() as u64, span, sized, mistakes)?;
        let chunk = self.chunk.as_ref().map_or(CHUNK, |chunk| chunk.value);
        let volumes: Vec<LogicalVolume> = (0..)
            .zip(&names)
            .map(|(number, name)| {
                let runs = room.runs(number, extents);
                LogicalVolume {
                    name: (*name).clone(),
                    device: device(group, name, &runs, &below, layout.value, chunk),
                    runs,
                }
            })
            .collect();
        let devices: Vec<Device> = volumes.iter().map(|it| it.device.clone()).collect();
        let volume_of = |it: &LogicalVolume| (it.name.clone(), it.device.clone());
        building.logical_volumes = volumes.iter().map(volume_of).collect();
        building
            .device_map
            .transform((LayerKind::Lvm, span), |below| match below {
                [] => Vec::new(),
                _ => devices.clone(),
            });
        let lvm = Lvm {
            group: group.value.clone(),
            volumes,
            below,
            size: ByteSize::from_bytes(extents * EXTENT.bytes()),
            layout: layout.value,
            chunk,
            cluster: cluster?,
        };
        Some((on, lvm))
    }
}

impl Written {
    /// The volumes' names; what is wrong with them is noted.
    fn names(&self, mistakes: &mut Mistakes) -> Vec<&VolumeName> {
        let Some(list) = &self.volumes else {
            return Vec::new();
        };
        if list.value.is_empty() {
            mistakes.note(
                Diagnostic::at(&list.span, "a volume group without volumes")
                    .label("nothing to work on")
                    .help(r#"name at least one, such as `volumes = ["san"]`"#),
            );
        }
        for (at, name) in list.value.iter().enumerate() {
            let text = name.value.as_str();
            if let Some(first) = list.value[..at].iter().find(|it| it.value == name.value) {
                mistakes.note(
                    Diagnostic::at(&name.span, format!("two volumes named `{text}`"))
                        .label("the same name")
                        .also(&first.span, "the first one")
                        .help("give each volume a name of its own"),
                );
            }
            let starts = ["snapshot", "pvmove"]
                .iter()
                .find(|it| text.starts_with(**it));
            let within = RESERVED.iter().find(|it| text.contains(**it));
            if let Some(word) = starts.or(within) {
                mistakes.note(
                    Diagnostic::at(&name.span, format!("`{text}` is a name of LVM's own"))
                        .label(format!("`{word}` is reserved"))
                        .help("choose another name, such as `san`"),
                );
            }
            let long = |group: &&At<VolumeName>| map_name(group, &name.value).len() > LONGEST_NAME;
            if let Some(group) = self.group.as_ref().filter(long) {
                mistakes.note(
                    Diagnostic::at(&name.span, format!("`{text}` is too long"))
                        .label("its group's name and its own make one of device-mapper's")
                        .also(&group.span, "the group")
                        .help(format!(
                            "choose shorter names: {LONGEST_NAME} characters, of which each `-` counts twice"
                        )),
                );
            }
        }
        list.value.iter().map(|name| &name.value).collect()
    }

    fn check_layout(
        &self,
        layout: &At<Layout>,
        below: &[Device],
        sized: bool,
        mistakes: &mut Mistakes,
    ) {
        match (layout.value, &self.chunk) {
            (Layout::Linear, Some(chunk)) => mistakes.note(
                Diagnostic::at(&chunk.span, "`chunk` of a linear volume")
                    .label("nothing goes in turn")
                    .help(r#"drop it, or give `layout = "striped"`"#),
            ),
            (Layout::Striped, Some(chunk)) => {
                if check_chunk(chunk, mistakes) && chunk.value > EXTENT {
                    mistakes.note(
                        impossible(chunk, "chunk")
                            .help(format!("give 4KiB to {EXTENT}, an extent")),
                    );
                }
            }
            (_, None) => {}
        }
        if layout.value == Layout::Striped && below.len() == 1 && sized {
            mistakes.note(
                Diagnostic::at(&layout.span, "striped over one device")
                    .label("there is one device below")
                    .help(r#"give `layout = "linear"`, or put several devices below"#),
            );
        }
    }

    /// The number of extents of each volume. `None`: nobody knows.
    fn extents(
        &self,
        room: &Room,
        volumes: u64,
        span: &Span,
        sized: bool,
        mistakes: &mut Mistakes,
    ) -> Option<u64> {
        let (all, unit) = (room.extents(), room.unit());
        let share = all / volumes.max(1) / unit * unit;
        let Some(size) = &self.size else {
            if share == 0 && sized {
                mistakes.note(
                    Diagnostic::at(span, "no room for a volume")
                        .label(format!("{all} extents of {EXTENT} in all"))
                        .help("give larger disks, or fewer volumes"),
                );
            }
            return (share > 0).then_some(share);
        };
        let whole = unit * EXTENT.bytes();
        if size.bytes() == 0 || !size.bytes().is_multiple_of(whole) {
            mistakes.note(impossible(size, "size").help(format!(
                "give a multiple of {}, an extent on each device",
                ByteSize::from_bytes(whole)
            )));
            return None;
        }
        let extents = size.bytes() / EXTENT.bytes();
        if extents > share {
            if sized {
                let most = ByteSize::from_bytes(share * EXTENT.bytes());
                let help = if share == 0 {
                    "give larger disks, or fewer volumes".to_owned()
                } else {
                    format!("give at most {most} to each, larger disks, or fewer volumes")
                };
                mistakes.note(
                    Diagnostic::at(
                        &size.span,
                        format!("does not fit: {volumes} times {}", size.value),
                    )
                    .label(format!(
                        "the group has {}",
                        ByteSize::from_bytes(all * EXTENT.bytes())
                    ))
                    .help(help),
                );
            }
            return None;
        }
        Some(extents)
    }
}

/// The extents of a group.
struct Room {
    /// By device.
    extents: Vec<u64>,
    layout: Layout,
}

impl Room {
    fn of(below: &[Device], layout: Layout) -> Self {
        let fit = |device: &Device| {
            let room = device.size().bytes().saturating_sub(DATA.bytes());
            room / EXTENT.bytes()
        };
        let mut extents: Vec<u64> = below.iter().map(fit).collect();
        if layout == Layout::Striped {
            // As many on each as on the smallest.
            let least = extents.iter().copied().min().unwrap_or_default();
            extents.fill(least);
        }
        Self { extents, layout }
    }

    fn extents(&self) -> u64 {
        self.extents.iter().sum()
    }

    /// A volume's extents come in so many.
    fn unit(&self) -> u64 {
        match self.layout {
            Layout::Linear => 1,
            Layout::Striped => self.extents.len().max(1) as u64,
        }
    }

    /// Where the volume of that number, from 0, lies, if each has so many extents.
    fn runs(&self, number: u64, extents: u64) -> Vec<Extents> {
        if self.layout == Layout::Striped {
            let count = extents / self.unit();
            let run = |device| Extents {
                device,
                first: number * count,
                count,
            };
            return (0..self.extents.len()).map(run).collect();
        }
        let (mut begin, mut runs) = (0, Vec::new());
        let (from, to) = (number * extents, (number + 1) * extents);
        for (device, room) in self.extents.iter().enumerate() {
            let (first, last) = (from.max(begin), to.min(begin + room));
            if first < last {
                runs.push(Extents {
                    device,
                    first: first - begin,
                    count: last - first,
                });
            }
            begin += room;
        }
        runs
    }
}

fn device(
    group: &VolumeName,
    name: &VolumeName,
    runs: &[Extents],
    below: &[Device],
    layout: Layout,
    chunk: ByteSize,
) -> Device {
    let length: u64 = runs.iter().map(Extents::length).sum();
    let blocks = |run: &Extents| run.blocks(below);
    Device {
        path: format!("/dev/mapper/{}", map_name(group, name)),
        sectors: length / 512,
        uid: None,
        blocks: match (layout, runs) {
            (Layout::Striped, _) => BlockMap::Striped {
                chunk: chunk.bytes(),
                parts: runs.iter().map(blocks).collect(),
            },
            (Layout::Linear, [run]) => blocks(run),
            (Layout::Linear, _) => {
                let part = |run: &Extents| (run.length(), blocks(run));
                BlockMap::Linear(runs.iter().map(part).collect())
            }
        },
    }
}

/// Device-mapper's name for a logical volume: LVM doubles hyphens, so that the one between the two names is known.
fn map_name(group: &VolumeName, name: &VolumeName) -> String {
    let part = |name: &VolumeName| name.as_str().replace('-', "--");
    format!("{}-{}", part(group), part(name))
}

#[cfg(test)]
mod tests {
    use super::{Extents, Layout, Room};

    fn room(extents: &[u64], layout: Layout) -> Room {
        Room {
            extents: extents.to_vec(),
            layout,
        }
    }

    fn run(device: usize, first: u64, count: u64) -> Extents {
        Extents {
            device,
            first,
            count,
        }
    }

    #[test]
    fn linear_volumes_lie_one_after_another_across_devices() {
        let room = room(&[15, 7], Layout::Linear);
        assert_eq!(room.runs(0, 11), [run(0, 0, 11)]);
        assert_eq!(room.runs(1, 11), [run(0, 11, 4), run(1, 0, 7)]);
    }

    #[test]
    fn striped_volumes_have_as_much_of_each_device() {
        let room = room(&[7, 7], Layout::Striped);
        assert_eq!(room.runs(1, 6), [run(0, 3, 3), run(1, 3, 3)]);
    }
}
