//! Network block devices: all to all, or from servers to clients.

use std::time::Duration;

use super::{
    Building, KernelName, LayerKind, LayerTable, Limits, PAGE, Planned, Property, Provided,
    check_disk, check_port, impossible, network_parameter, roles, show, sorted,
};
use crate::devices::device_map::DeviceMap;
use crate::diagnostic::{Diagnostic, Mistakes, Span};
use crate::document::read::{At, values};
use crate::document::table::table;
use crate::document::value::Nodes;
use crate::document::word::words;
use crate::plan::{BlockMap, DISK, Device, Joins};
use crate::values::names::{NetworkName, NodeName, joined};
use crate::values::units::ByteSize;

/// The limits of both time-outs.
const SECONDS: Limits = Limits::seconds(1, 3600);
/// For how long requests wait for another connection: `nbd-client`'s own default.
const DEAD_TIMEOUT: Duration = Duration::from_secs(30);

table! {
    /// Network block devices: each server exports a disk, every client imports them all.
    Written, "`nbd`", r#"{ disk = "1GiB" }"# {
        /// The servers. Default: every node that is there from the start.
        on: Nodes, optional;
        /// The clients. Default: every node, the servers too.
        clients: Nodes, optional;
        /// Size of each server's disk, 1MiB to 1TiB.
        disk: ByteSize, required r#""1GiB""#;
        /// TCP port of the servers.
        port: u16, default 4300;
        /// The network on which the disks are imported.
        network: NetworkName, default NetworkName::main();
        /// Server program: `nbdkit`, or the article's `nbd-server`, which starts slowly.
        server: NbdServer, default NbdServer::Nbdkit;
        /// Block size that the client sets in its kernel: 512B, 1KiB, 2KiB or 4KiB.
        block_size: ByteSize, default ByteSize::from_bytes(4096);
        /// nbdkit's filters, the outermost first: `delay`, `rate`, `log`, ...
        filters: Vec<At<String>>, default Vec::new();
        /// `KEY=VALUE` words for nbdkit's filters and its file plugin, such as `delay-write=2ms`.
        options: Vec<At<String>>, default Vec::new();
        /// Clients whose connection ends connect again, as `nbd-client -persist` does from nbd 3.27 on.
        persist: bool, default false;
        /// A request that is not answered for so long ends the connection, 1s to 3600s in whole seconds. Default: never.
        timeout: Duration, optional;
        /// Of `persist`: requests wait for another connection for so long, 1s to 3600s in whole seconds. Default: 30s.
        dead_timeout: Duration, optional;
    }
}

/// Network block devices, all to all or from servers to clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nbd {
    /// The servers, in the order of their numbers.
    pub servers: Vec<NodeName>,
    /// Those who import, some of which may join later; a server may be one of them.
    pub clients: Vec<NodeName>,
    /// Size of each exported disk.
    pub disk: ByteSize,
    /// TCP port of every server.
    pub port: u16,
    /// The network on which the disks are imported.
    pub network: NetworkName,
    /// Which server program exports the disks.
    pub server: NbdServer,
    /// Block size that the client announces to the kernel.
    pub block_size: ByteSize,
    /// nbdkit's filters, outermost first: `delay`, `rate`, `log`, ...
    pub filters: Vec<String>,
    /// `KEY=VALUE` words for nbdkit's filters: `delay-write=2ms`, `rate=80M`, ...
    pub options: Vec<String>,
    /// A request that is not answered for so long ends the connection, and fails unless the client persists. Whole seconds.
    pub timeout: Option<Duration>,
    /// Clients connect again when their connection ends; their requests wait for that so long. Whole seconds.
    pub persist: Option<Duration>,
    /// What every client imports: one of each server, in the servers' order.
    pub devices: Vec<Device>,
}

words! {
    /// NBD server program.
    pub NbdServer, "NBD server", "NBD servers", "an NBD server", r#""nbdkit""# {
        /// `nbdkit file`: accepts at once.
        Nbdkit = "nbdkit",
        /// The article's `nbd-server`: generates Diffie-Hellman parameters before it serves.
        NbdServer = "nbd-server",
    }
}

impl Planned for Nbd {
    fn parameters(&self) -> Vec<(&'static str, String)> {
        let mut all = vec![
            ("on", joined(&self.servers, ",")),
            ("clients", joined(&self.clients, ",")),
            ("disk", show(&self.disk)),
            ("port", show(&self.port)),
            ("server", show(&self.server)),
            ("block_size", show(&self.block_size)),
            ("filters", self.filters.join(",")),
            ("options", self.options.join(",")),
            ("persist", show(&self.persist.is_some())),
        ];
        let times = [("timeout", self.timeout), ("dead_timeout", self.persist)];
        let times = times.map(|(key, time)| time.map(|time| (key, show(&time))));
        all.extend(times.into_iter().flatten());
        all.extend(network_parameter(self.networks()));
        all
    }

    fn requests_are_missed_after(&self) -> Duration {
        self.persist.and(self.timeout).unwrap_or_default()
    }

    fn networks(&self) -> &[NetworkName] {
        std::slice::from_ref(&self.network)
    }

    fn disk(&self) -> Option<ByteSize> {
        Some(self.disk)
    }

    fn provided(&self, _on: &[NodeName]) -> Vec<Provided> {
        let import = |node: &NodeName, device: &Device| {
            let BlockMap::Disk(server) = &device.blocks else {
                return None; // each is one node's disk
            };
            Some(Provided {
                node: node.clone(),
                path: device.path.clone(),
                kernel_name: KernelName::OfPath,
                over: vec![(server.clone(), DISK.to_owned())],
                servers: vec![(LayerKind::Nbd, server.clone())],
            })
        };
        let imports = self
            .clients
            .iter()
            .flat_map(|node| self.devices.iter().map(move |device| (node, device)));
        imports
            .filter_map(|(node, device)| import(node, device))
            .collect()
    }
}

impl LayerTable for Written {
    type Planned = Nbd;
    const PROPERTIES: &'static [Property] =
        &[Property::Source, Property::Daemons, Property::ServesDisks];

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
    ) -> Option<(Vec<NodeName>, Nbd)> {
        let device_map = &mut building.device_map;
        let (disk, port) = (self.disk.as_ref(), self.port.as_ref());
        if let Some(block) = &self.block_size {
            let bytes = block.bytes();
            if !bytes.is_power_of_two() || !(512..=PAGE).contains(&bytes) {
                mistakes
                    .note(impossible(block, "block size").help("give 512B, 1KiB, 2KiB or 4KiB"));
            }
        }
        check_disk(disk, device_map, mistakes);
        check_port(port, mistakes);
        check_filters(self, mistakes);
        SECONDS.check("timeout", self.timeout.as_ref(), mistakes);
        SECONDS.check("dead_timeout", self.dead_timeout.as_ref(), mistakes);
        let persists = self.persist.as_ref()?.value;
        if let Some(time) = self.dead_timeout.as_ref().filter(|_| !persists) {
            mistakes.note(
                Diagnostic::at(&time.span, "`dead_timeout` without `persist`")
                    .label("would never be used")
                    .help("give `persist = true` as well, or drop it: without it the kernel fails the requests of a lost connection"),
            );
        }
        let mut devices = Vec::new();
        let servers = servers(self, span, device_map, mistakes)?;
        roles::check_servers(&servers, device_map, mistakes);
        for (number, server) in servers.iter().enumerate() {
            device_map.take_disk(server, LayerKind::Nbd, mistakes);
            devices.push(Device {
                path: format!("/dev/nbd{number}"),
                sectors: disk.map_or(0, |disk| disk.bytes() / 512),
                uid: None,
                blocks: BlockMap::Disk(server.value.clone()),
            });
        }
        let clients = match &self.clients {
            Some(list) => device_map.node_set.expand(list, mistakes)?,
            None => roles::at_span(device_map.all(), span),
        };
        let everybody = servers.iter().filter(|server| {
            let mut clients = clients.iter();
            clients.all(|client| client.value != server.value)
        });
        let everybody = everybody.chain(&clients).cloned().collect();
        let on = values(&sorted(device_map.node_set, everybody));
        let clients = values(&sorted(device_map.node_set, clients));
        let offers = clients.iter().map(|name| (name.clone(), devices.clone()));
        device_map.replace((LayerKind::Nbd, span), offers);
        let nbd = Nbd {
            servers: values(&servers),
            clients,
            disk: disk?.value,
            port: port?.value,
            network: self.network.clone()?.value,
            server: self.server.as_ref()?.value,
            block_size: self.block_size.as_ref()?.value,
            filters: values(self.filters.as_ref()?),
            options: values(self.options.as_ref()?),
            timeout: self.timeout.as_ref().map(|time| time.value),
            persist: persists.then(|| {
                self.dead_timeout
                    .as_ref()
                    .map_or(DEAD_TIMEOUT, |time| time.value)
            }),
            devices,
        };
        Some((on, nbd))
    }
}

fn servers(
    layer: &Written,
    span: &Span,
    device_map: &DeviceMap<'_>,
    mistakes: &mut Mistakes,
) -> Option<Vec<At<NodeName>>> {
    let node_set = device_map.node_set;
    if let Some(list) = &layer.on {
        return Some(sorted(node_set, node_set.expand(list, mistakes)?));
    }
    let nodes = node_set.nodes.iter();
    let at_start = nodes.filter(|node| node.joins == Joins::AtStart);
    let names = at_start.map(|node| node.name.clone());
    Some(roles::at_span(names.collect(), span))
}

/// nbdkit's arguments beside its file; they stand in the command line as they are.
fn check_filters(layer: &Written, mistakes: &mut Mistakes) {
    let empty = Vec::new();
    let filters = layer.filters.as_ref().map_or(&empty, |list| &list.value);
    let options = layer.options.as_ref().map_or(&empty, |list| &list.value);
    if let Some(server) = &layer.server
        && server.value == NbdServer::NbdServer
        && let Some(first) = filters.first().or(options.first())
    {
        mistakes.note(
            Diagnostic::at(&first.span, "filters and options of `nbd-server`")
                .label("only nbdkit has them")
                .also(&server.span, "the server")
                .help(r#"drop them, or give `server = "nbdkit"`"#),
        );
    }
    for filter in filters.iter().filter(|filter| !is_key(filter)) {
        mistakes.note(
            Diagnostic::at(
                &filter.span,
                format!("`{}` is not a filter's name", filter.value),
            )
            .label("lower-case letters, digits and hyphens")
            .help("write the name alone, such as `delay`; its values go into `options`"),
        );
    }
    for option in options.iter().filter(|option| !is_option(option)) {
        mistakes.note(
            Diagnostic::at(
                &option.span,
                format!("`{}` is not an option of nbdkit", option.value),
            )
            .label("expected KEY=VALUE, without spaces and quotes")
            .help("write it as on nbdkit's command line, such as `delay-write=2ms`"),
        );
    }
}

fn is_key(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

fn is_option(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.,:/%+@=".contains(c);
    text.split_once('=')
        .is_some_and(|(key, value)| is_key(key) && !value.is_empty() && value.chars().all(plain))
}
