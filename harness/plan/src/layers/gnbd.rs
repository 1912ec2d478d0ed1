//! GNBD: who exports what, who imports it, and who makes sure that a lost server is really lost.

use std::time::Duration;

use super::membership::Clusters;
use super::{
    Building, KernelName, LayerKind, LayerTable, Limits, Planned, Property, Provided, check_disk,
    check_port, network_parameter, roles, show, sorted,
};
use crate::devices::device_map::DeviceMap;
use crate::diagnostic::{Diagnostic, Mistakes, Span};
use crate::document::read::{At, values};
use crate::document::table::table;
use crate::document::value::Nodes;
use crate::plan::Device;
use crate::values::names::{NetworkName, NodeName, joined};
use crate::values::units::ByteSize;

/// The servers' word for none given.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);
/// A name on the wire has 32 bytes, the last of which is 0.
const LONGEST_NAME: usize = 31;

table! {
    /// GNBD: servers export a device each, clients import from all of them.
    Written, "`gnbd`", r#"{ on = "storage", clients = "client", disk = "1GiB", cached = true }"# {
        /// The servers. Default: every node to which the layers below give a device.
        on: Nodes, optional;
        /// The clients, those that join later too. Default: every node that is no server.
        clients: Nodes, optional;
        /// Size of each server's own disk, 1MiB to 1TiB, where no layer below gives it a device.
        disk: ByteSize, optional;
        /// Through the server's page cache, and with clients that wait for ever for a lost server.
        cached: bool, default false;
        /// An uncached export's time-out, 1s to 1h in whole seconds. Default: 10s.
        timeout: Duration, optional;
        /// TCP port of the servers.
        port: u16, default 14567;
        /// The network on which clients import.
        network: NetworkName, default NetworkName::main();
        /// Name of each export; `{node}` stands for the server's name, `{suffix}` for that without its leading letters.
        export: String, default "gnbd{suffix}".to_owned();
        /// Requests fail after this time, 0s to 1h in whole seconds, without fencing the server first.
        fail_fast: Duration, optional;
        /// Whether corosync says who is a member and who is fenced. Default: whether it can.
        membership: bool, optional;
    }
}

/// GNBD: servers export what the layer below offers them, or their own disk; clients import from all servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gnbd {
    /// The servers, in the order of their numbers.
    pub servers: Vec<NodeName>,
    /// Those who import, some of which may join later; none of the servers.
    pub clients: Vec<NodeName>,
    /// Size of each server's own disk, when nothing below offers a device.
    pub disk: Option<ByteSize>,
    /// What each server exports, in the servers' order.
    pub exports: Vec<Export>,
    /// TCP port of every server.
    pub port: u16,
    /// The network on which clients import.
    pub network: NetworkName,
    /// Cached exports go through the server's page cache, and their clients wait for ever for a lost server. Uncached
    /// ones are read and written with `O_DIRECT`, and time out.
    pub cached: bool,
    /// The time-out of uncached exports, whole seconds.
    pub timeout: Duration,
    /// Uncached devices fail their requests after this time without fencing the server first.
    pub fail_fast: Option<Duration>,
    /// Whether a cluster manager says who is fenced; without it the programs run with `-n`.
    pub membership: bool,
}

/// One exported device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// Its name, and that of the link under `/dev/gnbd` on clients.
    pub name: String,
    /// Equal for all exports of one disk: multipath puts those together.
    pub uid: u32,
    /// The server's device.
    pub source: Device,
}

impl Export {
    /// The device on clients.
    pub fn imported(&self) -> Device {
        Device {
            path: format!("/dev/gnbd/{}", self.name),
            uid: Some(self.uid),
            ..self.source.clone()
        }
    }
}

impl Planned for Gnbd {
    fn fences(&self) -> bool {
        self.fail_fast.is_none()
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        let exports: Vec<&str> = self
            .exports
            .iter()
            .map(|export| export.name.as_str())
            .collect();
        let mut all = vec![
            ("on", joined(&self.servers, ",")),
            ("clients", joined(&self.clients, ",")),
        ];
        all.extend(self.disk.map(|disk| ("disk", show(&disk))));
        all.push(("cached", show(&self.cached)));
        if !self.cached {
            all.push(("timeout", show(&self.timeout)));
        }
        all.push(("port", show(&self.port)));
        all.push(("export", exports.join(",")));
        all.extend(self.fail_fast.map(|time| ("fail_fast", show(&time))));
        all.push(("membership", show(&self.membership)));
        all.extend(network_parameter(self.networks()));
        all
    }

    fn networks(&self) -> &[NetworkName] {
        std::slice::from_ref(&self.network)
    }

    fn disk(&self) -> Option<ByteSize> {
        self.disk
    }

    fn provided(&self, _on: &[NodeName]) -> Vec<Provided> {
        let import = |client: &NodeName, (server, export): (&NodeName, &Export)| {
            // The client's programs fence a lost server and connect again; both sides ask corosync.
            let mut servers = vec![
                (LayerKind::Gnbd, server.clone()),
                (LayerKind::Gnbd, client.clone()),
            ];
            if self.membership {
                servers.push((LayerKind::Membership, server.clone()));
                servers.push((LayerKind::Membership, client.clone()));
            }
            Provided {
                node: client.clone(),
                path: export.imported().path,
                kernel_name: KernelName::Numbered("nbd"),
                over: vec![(server.clone(), export.source.path.clone())],
                servers,
            }
        };
        let exports = || self.servers.iter().zip(&self.exports);
        self.clients
            .iter()
            .flat_map(|client| exports().map(move |export| import(client, export)))
            .collect()
    }
}

impl LayerTable for Written {
    type Planned = Gnbd;
    const PROPERTIES: &'static [Property] = &[
        Property::Source,
        Property::OnDevices,
        Property::Daemons,
        Property::ServesDisks,
    ];

    fn disk(&self) -> Option<&At<ByteSize>> {
        self.disk.as_ref()
    }

    fn port(&self) -> Option<&At<u16>> {
        self.port.as_ref()
    }

    fn networks(&self) -> Vec<&At<NetworkName>> {
        self.network.iter().collect()
    }

    fn lower(
        &self,
        span: &Span,
        building: &mut Building<'_>,
        mistakes: &mut Mistakes,
    ) -> Option<(Vec<NodeName>, Gnbd)> {
        check_port(self.port.as_ref(), mistakes);
        Limits::seconds(1, 3600).check("timeout", self.timeout.as_ref(), mistakes);
        Limits::seconds(0, 3600).check("fail_fast", self.fail_fast.as_ref(), mistakes);
        check_cached(self, mistakes);
        check_disk(self.disk.as_ref(), &mut building.device_map, mistakes);
        let servers = servers(self, span, &building.device_map, mistakes);
        let clients = roles::clients(
            (LayerKind::Gnbd, span),
            self.clients.as_ref(),
            servers.as_deref(),
            &building.device_map,
            mistakes,
        );
        let (servers, clients) = (servers?, clients?);
        let devices = exported(self, &servers, &mut building.device_map, mistakes)?;
        let exports = exports(self, &servers, devices, mistakes)?;
        check_caches(self, &servers, &exports, mistakes);
        let membership = membership(
            self,
            span,
            &servers,
            &clients,
            &building.clusters,
            &building.device_map,
            mistakes,
        );

        let imported: Vec<Device> = exports.iter().map(Export::imported).collect();
        building.device_map.replace(
            (LayerKind::Gnbd, span),
            values(&clients)
                .into_iter()
                .map(|client| (client, imported.clone())),
        );
        let on = sorted(
            building.device_map.node_set,
            servers.iter().chain(&clients).cloned().collect(),
        );
        let gnbd = Gnbd {
            servers: values(&servers),
            clients: values(&clients),
            disk: self.disk.as_ref().map(|disk| disk.value),
            exports,
            port: self.port.as_ref()?.value,
            network: self.network.clone()?.value,
            cached: self.cached.as_ref()?.value,
            timeout: self
                .timeout
                .as_ref()
                .map_or(TIMEOUT, |timeout| timeout.value),
            fail_fast: self.fail_fast.as_ref().map(|fail_fast| fail_fast.value),
            membership: membership?,
        };
        Some((values(&on), gnbd))
    }
}

fn servers(
    layer: &Written,
    span: &Span,
    device_map: &DeviceMap<'_>,
    mistakes: &mut Mistakes,
) -> Option<Vec<At<NodeName>>> {
    let node_set = device_map.node_set;
    let servers = match &layer.on {
        Some(list) => sorted(node_set, node_set.expand(list, mistakes)?),
        None => roles::at_span(device_map.holders(), span),
    };
    let without_disk = layer.disk.is_none() && device_map.first_devices().is_empty();
    if device_map.sure && without_disk && !mistakes.any_within(span) {
        mistakes.note(
            Diagnostic::at(span, "`gnbd` without a device to export")
                .label("no layer below offers one")
                .help(
                    r#"give the servers disks with `disk = "64MiB"`, or put a `drbd` layer below"#,
                ),
        );
        return None;
    }
    if servers.is_empty() {
        if device_map.sure && !mistakes.any_within(span) {
            mistakes.note(
                Diagnostic::at(span, "`gnbd` without servers")
                    .label("`on` is missing")
                    .help(r#"name those that get a disk and export it, such as `on = "storage"`"#),
            );
        }
        return None;
    }
    roles::check_servers(&servers, device_map, mistakes);
    Some(servers)
}

/// What each server exports.
fn exported(
    layer: &Written,
    servers: &[At<NodeName>],
    device_map: &mut DeviceMap<'_>,
    mistakes: &mut Mistakes,
) -> Option<Vec<Device>> {
    let mut devices = Vec::new();
    for server in servers {
        let name = &server.value;
        if let Some(disk) = &layer.disk {
            let from = At {
                value: name.clone(),
                span: disk.span.clone(),
            };
            device_map.take_disk(&from, LayerKind::Gnbd, mistakes);
            devices.push(device_map.own_disk(name));
            continue;
        }
        match device_map.devices(name) {
            [device] => devices.push(device.clone()),
            found if device_map.sure => {
                let (kind, place) = device_map.top.as_ref()?;
                let (title, label, help) = match found {
                    [] => (
                        format!("`{name}` has nothing to export"),
                        "no device below",
                        "name servers that the layer below gives a device: of DRBD, the primaries",
                    ),
                    many => (
                        format!("`{name}` has {} devices to export", many.len()),
                        "a server exports one",
                        r#"join them with a layer `striped = { name = "san" }` below"#,
                    ),
                };
                mistakes.note(
                    Diagnostic::at(&server.span, title)
                        .label(label)
                        .also(place, format!("`{kind}` is right below"))
                        .help(help),
                );
            }
            _ => {}
        }
    }
    (devices.len() == servers.len()).then_some(devices)
}

/// Names and uids. The uid of a DRBD is its minor; other disks are counted.
fn exports(
    layer: &Written,
    servers: &[At<NodeName>],
    devices: Vec<Device>,
    mistakes: &mut Mistakes,
) -> Option<Vec<Export>> {
    let form = layer.export.as_ref()?;
    let mut exports: Vec<Export> = Vec::new();
    let mut right = true;
    for (server, source) in servers.iter().zip(devices) {
        let node = server.value.as_str();
        let suffix = node.trim_start_matches(|c: char| c.is_ascii_lowercase());
        let name = form.replace("{node}", node).replace("{suffix}", suffix);
        let letters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty()
            || name.len() > LONGEST_NAME
            || !name.chars().all(letters)
            || name.starts_with('.')
        {
            mistakes.note(
                Diagnostic::at(&form.span, format!("`{name}` is not an export's name"))
                    .label(format!("the export of `{node}`"))
                    .help(format!(
                        "use 1 to {LONGEST_NAME} letters, digits, `-`, `_`, `.` and the words `{{node}}` and `{{suffix}}`"
                    )),
            );
            return None;
        }
        if let Some(first) = exports.iter().position(|export| export.name == name) {
            right = false;
            mistakes.note(
                Diagnostic::at(&form.span, format!("two exports named `{name}`"))
                    .label("would collide on every client")
                    .also(
                        &servers[first].span,
                        format!("`{}` exports it", servers[first].value),
                    )
                    .also(&server.span, format!("and so does `{node}`"))
                    .help(
                        r#"give each server's a name of its own, such as `export = "gnbd-{node}"`"#,
                    ),
            );
        }
        let same = |export: &Export| export.source.blocks == source.blocks;
        let counted = exports.iter().position(same).unwrap_or(exports.len());
        let uid = source
            .uid
            .unwrap_or_else(|| u32::try_from(counted).unwrap_or_default());
        exports.push(Export { name, uid, source });
    }
    right.then_some(exports)
}

/// What cached exports do not have.
fn check_cached(layer: &Written, mistakes: &mut Mistakes) {
    let Some(cached) = layer.cached.as_ref().filter(|cached| cached.value) else {
        return;
    };
    for (key, time) in [("timeout", &layer.timeout), ("fail_fast", &layer.fail_fast)] {
        if let Some(time) = time {
            mistakes.note(
                Diagnostic::at(&time.span, format!("`{key}` of cached exports"))
                    .label("would never be used")
                    .also(
                        &cached.span,
                        "clients wait for ever for a cached export's server",
                    )
                    .help(format!("drop `{key}`, or `cached = true`")),
            );
        }
    }
}

/// Two servers, each with a page cache over the same disk, answer with what the other has overwritten.
fn check_caches(
    layer: &Written,
    servers: &[At<NodeName>],
    exports: &[Export],
    mistakes: &mut Mistakes,
) {
    let Some(cached) = layer.cached.as_ref().filter(|cached| cached.value) else {
        return;
    };
    for (at, export) in exports.iter().enumerate() {
        if let Some(first) = exports[..at]
            .iter()
            .position(|other| other.uid == export.uid)
        {
            let (one, other) = (&servers[first].value, &servers[at].value);
            mistakes.note(
                Diagnostic::at(
                    &cached.span,
                    format!("cached exports of one disk by `{one}` and `{other}`"),
                )
                .label("each has a cache of its own, which the other does not refresh")
                .help("drop `cached = true`: uncached exports go past the page cache"),
            );
            return;
        }
    }
}

/// Whether the programs ask corosync, and a refusal where nothing ensures that a lost server is really down.
fn membership(
    layer: &Written,
    span: &Span,
    servers: &[At<NodeName>],
    clients: &[At<NodeName>],
    clusters: &Clusters,
    device_map: &DeviceMap<'_>,
    mistakes: &mut Mistakes,
) -> Option<bool> {
    let (servers, clients) = (values(servers), values(clients));
    let can = clusters.with_all(&clients).is_some() && clusters.lone(&servers).is_none();
    if let Some(wanted) = layer
        .membership
        .as_ref()
        .filter(|wanted| wanted.value && !can && device_map.sure)
    {
        let everybody = [servers, clients].concat();
        let title = clusters.lone(&everybody).map_or_else(
            || "the clients are in different clusters".to_owned(),
            |node| format!("`{node}` is in no cluster"),
        );
        mistakes.note(
            Diagnostic::at(&wanted.span, title)
                .label("asks for a cluster of the clients, and one for every server")
                .help("put `membership` layers below with all clients in one and the servers in the same or others"),
        );
        return None;
    }
    let membership = layer.membership.as_ref().map_or(can, |given| given.value);
    let cached = layer.cached.as_ref()?.value;
    if !cached && !membership && layer.fail_fast.is_none() && device_map.sure {
        let (place, label) = match &layer.membership {
            Some(off) => (
                &off.span,
                "nothing would ensure that a lost server is fenced",
            ),
            None => (span, "nothing ensures that a lost server is fenced"),
        };
        mistakes.note(
            Diagnostic::at(place, "uncached `gnbd` without membership")
                .label(label)
                .help(
                    "put `membership` layers below, one with all clients; or give `cached = true`; or `fail_fast = \"10s\"`, which fails requests that a slow server may still apply",
                ),
        );
        return None;
    }
    Some(membership)
}
