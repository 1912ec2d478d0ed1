//! One device for all paths to the same disk.

use std::time::Duration;

use super::{
    Building, KernelName, LayerKind, LayerTable, Limits, Planned, Property, Provided, SharedDisk,
    show,
};
use crate::diagnostic::{Diagnostic, Mistakes, Span};
use crate::document::table::table;
use crate::document::word::words;
use crate::plan::Device;
use crate::values::names::NodeName;

table! {
    /// One device for all paths to the same disk, by multipathd: those of `gnbd` with the same uid, or of a `shared_disk` with several paths.
    Written, "`multipath`", "{}" {
        /// Which path of a group takes the next request: `round-robin`, `service-time` or `queue-length`.
        selector: Selector, default Selector::RoundRobin;
        /// `multibus`: all paths in one group; `failover`: one path a group.
        grouping: Grouping, default Grouping::Multibus;
        /// What becomes of requests while no path is left: `queue` or `fail`.
        no_path: NoPath, default NoPath::Queue;
        /// Time between looks at a path, 1s to 60s in whole seconds.
        polling: Duration, default Duration::from_secs(2);
    }
}

/// dm-multipath, run by multipathd: one map for each disk below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Multipath {
    /// Which path of a group takes the next request.
    pub selector: Selector,
    /// How paths are put into groups.
    pub grouping: Grouping,
    /// What becomes of requests while no path is left.
    pub no_path: NoPath,
    /// The time between looks at a path, whole seconds.
    pub polling: Duration,
    /// The layer whose devices are the paths.
    pub below: LayerKind,
    /// In the order of the devices below.
    pub maps: Vec<MultipathMap>,
}

/// All paths to one disk as one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MultipathMap {
    /// Under `/dev/mapper`.
    pub name: String,
    /// By which multipathd knows that paths lead to the same disk.
    pub wwid: String,
    /// What it makes of them.
    pub device: Device,
    /// The devices below.
    pub paths: Vec<String>,
}

impl MultipathMap {
    /// A GNBD export says its uid. A shared disk says its World Wide Name; `scsi_id` puts the number of that sort of names before it.
    fn of(path: &Device, below: LayerKind) -> Option<Self> {
        let uid = path.uid?;
        let (name, wwid) = match below {
            LayerKind::SharedDisk => {
                let number = uid.try_into().ok()?;
                let wwid = format!("3{:016x}", SharedDisk::wwn(number));
                (SharedDisk::serial(number), wwid)
            }
            _ => (uid.to_string(), uid.to_string()),
        };
        Some(Self {
            device: Device {
                path: format!("/dev/mapper/{name}"),
                uid: None,
                ..path.clone()
            },
            paths: Vec::new(),
            name,
            wwid,
        })
    }
}

words! {
    /// dm-multipath's path selector.
    pub Selector, "path selector", "path selectors", "a path selector", r#""round-robin""# {
        /// In turn.
        RoundRobin = "round-robin",
        /// Where the answer is expected first.
        ServiceTime = "service-time",
        /// Where the fewest requests wait.
        QueueLength = "queue-length",
    }
}

words! {
    /// multipathd's `path_grouping_policy`.
    pub Grouping, "grouping of paths", "groupings of paths", "a grouping of paths", r#""multibus""# {
        /// All paths in one group.
        Multibus = "multibus",
        /// One path a group: the others stand by.
        Failover = "failover",
    }
}

words! {
    /// multipathd's `no_path_retry`.
    pub NoPath, "policy without paths", "policies without paths", "a policy without paths", r#""queue""# {
        /// Requests wait until a path is back.
        Queue = "queue",
        /// They fail.
        Fail = "fail",
    }
}

impl Planned for Multipath {
    fn parameters(&self) -> Vec<(&'static str, String)> {
        vec![
            ("selector", show(&self.selector)),
            ("grouping", show(&self.grouping)),
            ("no_path", show(&self.no_path)),
            ("polling", show(&self.polling)),
        ]
    }

    fn provided(&self, on: &[NodeName]) -> Vec<Provided> {
        let map = |node: &NodeName, map: &MultipathMap| Provided {
            node: node.clone(),
            path: map.device.path.clone(),
            kernel_name: KernelName::MAPPER,
            over: map
                .paths
                .iter()
                .map(|path| (node.clone(), path.clone()))
                .collect(),
            // multipathd, without which no path comes back.
            servers: vec![(LayerKind::Multipath, node.clone())],
        };
        on.iter()
            .flat_map(|node| self.maps.iter().map(move |it| map(node, it)))
            .collect()
    }
}

impl LayerTable for Written {
    type Planned = Multipath;
    const PROPERTIES: &'static [Property] = &[
        Property::OnDevices,
        Property::Daemons,
        Property::Needs(&[LayerKind::Gnbd, LayerKind::SharedDisk]),
    ];

    fn lower(
        &self,
        span: &Span,
        building: &mut Building<'_>,
        mistakes: &mut Mistakes,
    ) -> Option<(Vec<NodeName>, Multipath)> {
        let device_map = &mut building.device_map;
        Limits::seconds(1, 60).check("polling", self.polling.as_ref(), mistakes);
        let (below, place) = device_map.top.as_ref()?;
        let maps = maps(device_map.first_devices(), *below);
        if maps.is_empty() {
            // Where a layer below is wrong, what it would have offered is not known.
            if device_map.sure {
                mistakes.note(no_paths(span, *below, place));
            }
            return None;
        }
        let (on, below) = (device_map.holders(), *below);
        let devices: Vec<Device> = maps.iter().map(|map| map.device.clone()).collect();
        device_map.transform((LayerKind::Multipath, span), |paths| match paths {
            [] => Vec::new(),
            _ => devices.clone(),
        });
        let multipath = Multipath {
            selector: self.selector.as_ref()?.value,
            grouping: self.grouping.as_ref()?.value,
            no_path: self.no_path.as_ref()?.value,
            polling: self.polling.as_ref()?.value,
            below,
            maps,
        };
        Some((on, multipath))
    }
}

/// Those of paths that say which disk they lead to.
fn maps(paths: &[Device], below: LayerKind) -> Vec<MultipathMap> {
    let mut maps: Vec<MultipathMap> = Vec::new();
    if !matches!(below, LayerKind::Gnbd | LayerKind::SharedDisk) {
        return maps;
    }
    for path in paths {
        let Some(map) = MultipathMap::of(path, below) else {
            continue;
        };
        let at = maps.iter().position(|other| other.wwid == map.wwid);
        let at = at.unwrap_or_else(|| {
            maps.push(map);
            maps.len() - 1
        });
        maps[at].paths.push(path.path.clone());
    }
    maps
}

fn no_paths(span: &Span, below: LayerKind, place: &Span) -> Diagnostic {
    let diagnostic = Diagnostic::at(span, format!("`multipath` on top of `{below}`"))
        .label("needs devices that say which disk they lead to");
    if below == LayerKind::SharedDisk {
        return diagnostic
            .also(place, "nodes have one path to each of these disks")
            .help(r#"give `shared_disk` several: `bus = "virtio-scsi", paths = 2`"#);
    }
    diagnostic
        .also(place, "these do not say which are paths to the same disk")
        .help("put `multipath` right above `gnbd`, or above a `shared_disk` with several paths")
}
