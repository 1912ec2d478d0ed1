//! One device for all paths to the same disk.

use std::time::Duration;

use super::{Building, LayerKind, LayerTable, Limits, Planned, Property, Provided, show};
use crate::diagnostic::{Diagnostic, Mistakes, Span};
use crate::document::table::table;
use crate::document::word::words;
use crate::plan::Device;
use crate::values::names::NodeName;

table! {
    /// One device for all paths to the same disk, by multipathd: those of `gnbd` with the same uid.
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

/// dm-multipath, run by multipathd: one map for each uid of the GNBD exports below, named after it.
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
    /// In the order of the exports.
    pub maps: Vec<MultipathMap>,
}

/// All paths to one disk as one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MultipathMap {
    /// Of the exports, and the map's name.
    pub uid: u32,
    /// What it makes of them.
    pub device: Device,
    /// The imported devices.
    pub paths: Vec<String>,
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
        Property::Needs(&[LayerKind::Gnbd]),
    ];

    fn lower(
        &self,
        span: &Span,
        building: &mut Building<'_>,
        mistakes: &mut Mistakes,
    ) -> Option<(Vec<NodeName>, Multipath)> {
        let device_map = &mut building.device_map;
        Limits::seconds(1, 60).check("polling", self.polling.as_ref(), mistakes);
        if let Some((kind, place)) = device_map
            .top
            .as_ref()
            .filter(|(kind, _)| *kind != LayerKind::Gnbd)
        {
            // Where a layer below is wrong, what it would have offered is not known.
            if device_map.sure {
                mistakes.note(
                    Diagnostic::at(span, format!("`multipath` on top of `{kind}`"))
                        .label("needs devices with a uid: those of `gnbd`")
                        .also(
                            place,
                            "these have no uid to tell which are paths to the same disk",
                        )
                        .help("put `multipath` right above `gnbd`"),
                );
            }
            return None;
        }
        let on = device_map.holders();
        let mut maps: Vec<MultipathMap> = Vec::new();
        for path in device_map.first_devices() {
            // A device of GNBD has one.
            let uid = path.uid.unwrap_or_default();
            match maps.iter_mut().find(|map| map.uid == uid) {
                Some(map) => map.paths.push(path.path.clone()),
                None => maps.push(MultipathMap {
                    uid,
                    device: Device {
                        path: format!("/dev/mapper/{uid}"),
                        uid: None,
                        ..path.clone()
                    },
                    paths: vec![path.path.clone()],
                }),
            }
        }
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
            maps,
        };
        Some((on, multipath))
    }
}
