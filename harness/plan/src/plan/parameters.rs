//! Layers as their keys and values, in the words of scenario files: for records, and to tell like figures from unlike.

use serde_json::Value as Json;

use super::layer::{Export, Layer, RaidLevel};
use crate::names::NodeName;
use crate::read::Value;

impl Layer {
    /// Every key of the layer with its value as a scenario file writes it, those that were left to their defaults too; in
    /// the order of the guide. A key without a value and without a default is left out, and so is `on`, which the
    /// [`Storey`](super::Storey) has: but of `gnbd`, where it means the servers. Lists are joined by commas.
    pub fn parameters(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Nbd(nbd) => vec![
                ("disk", show(&nbd.disk)),
                ("port", show(&nbd.port)),
                ("server", show(&nbd.server)),
                ("block_size", show(&nbd.block_size)),
                ("filters", nbd.filters.join(",")),
                ("options", nbd.options.join(",")),
            ],
            Self::Membership(membership) => vec![
                ("cluster", show(&membership.cluster)),
                ("transport", show(&membership.transport)),
                ("crypto", show(&membership.crypto)),
                ("token", show(&membership.token)),
            ],
            Self::Drbd(drbd) => vec![
                ("resource", show(&drbd.resource)),
                ("disk", show(&drbd.disk)),
                ("primaries", show(&drbd.primaries)),
                ("sync", show(&drbd.sync)),
                ("ping_interval", show(&drbd.ping_interval)),
                ("ping_timeout", show(&drbd.ping_timeout)),
            ],
            Self::Gnbd(gnbd) => {
                let exports: Vec<&str> = gnbd.exports.iter().map(name).collect();
                let mut all = vec![
                    ("on", names(&gnbd.servers)),
                    ("clients", names(&gnbd.clients)),
                ];
                all.extend(gnbd.disk.map(|disk| ("disk", show(&disk))));
                all.push(("cached", show(&gnbd.cached)));
                if !gnbd.cached {
                    all.push(("timeout", show(&gnbd.timeout)));
                }
                all.push(("port", show(&gnbd.port)));
                all.push(("export", exports.join(",")));
                all.extend(gnbd.fail_fast.map(|time| ("fail_fast", show(&time))));
                all.push(("membership", show(&gnbd.membership)));
                all
            }
            Self::Multipath(multipath) => vec![
                ("selector", show(&multipath.selector)),
                ("grouping", show(&multipath.grouping)),
                ("no_path", show(&multipath.no_path)),
                ("polling", show(&multipath.polling)),
            ],
            Self::Md(md) => {
                let level = match md.level {
                    RaidLevel::Striped => 0_u8,
                    RaidLevel::Mirrored => 1,
                };
                let mut all = vec![("name", show(&md.name)), ("level", show(&level))];
                if md.level == RaidLevel::Striped {
                    all.push(("chunk", show(&md.chunk)));
                }
                all
            }
            Self::Striped(striped) => vec![
                ("name", show(&striped.name)),
                ("chunk", show(&striped.chunk)),
            ],
            Self::Linear(linear) => vec![("name", show(&linear.name))],
            Self::O2cb(o2cb) => vec![
                ("cluster", show(&o2cb.cluster)),
                ("port", show(&o2cb.port)),
                ("heartbeat_threshold", show(&o2cb.heartbeat_threshold)),
                ("idle_timeout", show(&o2cb.idle_timeout)),
                ("keepalive_delay", show(&o2cb.keepalive_delay)),
                ("reconnect_delay", show(&o2cb.reconnect_delay)),
            ],
            Self::Ocfs2(ocfs2) => vec![
                ("slots", show(&ocfs2.slots)),
                ("at", show(&ocfs2.at)),
                ("features", ocfs2.features.join(",")),
                ("journal", show(&ocfs2.journal)),
                ("mount", show(&ocfs2.mount)),
            ],
        }
    }
}

fn show<T: Value>(value: &T) -> String {
    match value.written() {
        Json::String(text) => text,
        other => other.to_string(),
    }
}

fn name(export: &Export) -> &str {
    &export.name
}

fn names(nodes: &[NodeName]) -> String {
    let names: Vec<&str> = nodes.iter().map(NodeName::as_str).collect();
    names.join(",")
}
