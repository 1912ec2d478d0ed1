//! iSCSI: targets serve their disks, initiators log in to all of them.

use std::time::Duration;

use super::{
    Building, KernelName, LayerKind, LayerTable, Limits, Planned, Property, Provided, check_disk,
    check_port, network_parameter, roles, show, sorted,
};
use crate::diagnostic::{Mistakes, Span};
use crate::document::read::{At, values};
use crate::document::table::table;
use crate::document::value::Nodes;
use crate::plan::{BlockMap, DISK, Device};
use crate::values::names::{NetworkName, NodeName, joined};
use crate::values::units::ByteSize;

table! {
    /// iSCSI: servers export a disk each, by tgt; clients log in to all of them, by open-iscsi.
    Written, "`iscsi`", r#"{ on = "storage", disk = "1GiB" }"# {
        /// The servers.
        on: Nodes, required r#""storage""#;
        /// The clients, those that join later too. Default: every node that is no server.
        clients: Nodes, optional;
        /// Size of each server's own disk, 1MiB to 1TiB.
        disk: ByteSize, required r#""1GiB""#;
        /// TCP port of the servers.
        port: u16, default 3260;
        /// The network on which clients log in.
        network: NetworkName, default NetworkName::main();
        /// Whether servers acknowledge what is in their page cache, and clients flush it. What was not flushed is lost with a server's power,
        /// of which clients are not told: a file system that is in use there can break.
        write_cache: bool, default false;
        /// Requests fail when a session has been lost for so long, 1s to 1h in whole seconds; until then they wait.
        timeout: Duration, default Duration::from_secs(120);
    }
}

/// iSCSI: servers export their own disks, clients log in to all servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Iscsi {
    /// The servers, in the order of their numbers.
    pub servers: Vec<NodeName>,
    /// Those who import, some of which may join later; none of the servers.
    pub clients: Vec<NodeName>,
    /// Size of each server's own disk.
    pub disk: ByteSize,
    /// TCP port of every server.
    pub port: u16,
    /// The network on which clients log in.
    pub network: NetworkName,
    /// Whether writes are acknowledged before they are on the server's disk, and have to be flushed.
    pub write_cache: bool,
    /// open-iscsi's `replacement_timeout`, whole seconds.
    pub timeout: Duration,
    /// What each client has of each server, in the servers' order.
    pub devices: Vec<Device>,
}

impl Planned for Iscsi {
    fn parameters(&self) -> Vec<(&'static str, String)> {
        let mut all = vec![
            ("on", joined(&self.servers, ",")),
            ("clients", joined(&self.clients, ",")),
            ("disk", show(&self.disk)),
            ("port", show(&self.port)),
            ("write_cache", show(&self.write_cache)),
            ("timeout", show(&self.timeout)),
        ];
        all.extend(network_parameter(self.networks()));
        all
    }

    fn networks(&self) -> &[NetworkName] {
        std::slice::from_ref(&self.network)
    }

    fn disk(&self) -> Option<ByteSize> {
        Some(self.disk)
    }

    fn provided(&self, _on: &[NodeName]) -> Vec<Provided> {
        let import = |client: &NodeName, (server, device): (&NodeName, &Device)| Provided {
            node: client.clone(),
            path: device.path.clone(),
            kernel_name: KernelName::Lettered("sd"),
            over: vec![(server.clone(), DISK.to_owned())],
            // The client's daemon logs in again.
            servers: vec![
                (LayerKind::Iscsi, server.clone()),
                (LayerKind::Iscsi, client.clone()),
            ],
        };
        let exports = || self.servers.iter().zip(&self.devices);
        self.clients
            .iter()
            .flat_map(|client| exports().map(move |export| import(client, export)))
            .collect()
    }
}

impl LayerTable for Written {
    type Planned = Iscsi;
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
    ) -> Option<(Vec<NodeName>, Iscsi)> {
        let kind = LayerKind::Iscsi;
        let device_map = &mut building.device_map;
        check_port(self.port.as_ref(), mistakes);
        Limits::seconds(1, 3600).check("timeout", self.timeout.as_ref(), mistakes);
        check_disk(self.disk.as_ref(), device_map, mistakes);
        let node_set = device_map.node_set;
        let servers = self.on.as_ref();
        let servers = servers
            .and_then(|list| node_set.expand(list, mistakes))
            .map(|servers| sorted(node_set, servers));
        let clients = roles::clients(
            (kind, span),
            self.clients.as_ref(),
            servers.as_deref(),
            device_map,
            mistakes,
        );
        let (servers, clients) = (servers?, clients?);
        roles::check_servers(&servers, device_map, mistakes);
        let disk = self.disk.as_ref()?;
        for server in &servers {
            device_map.take_disk(server, kind, mistakes);
        }
        let import = |server: &At<NodeName>| Device {
            path: format!("/dev/iscsi/{}", server.value),
            sectors: disk.bytes() / 512,
            uid: None,
            blocks: BlockMap::Disk(server.value.clone()),
        };
        let devices: Vec<Device> = servers.iter().map(import).collect();
        let offers = values(&clients).into_iter();
        device_map.replace((kind, span), offers.map(|client| (client, devices.clone())));
        let everybody = servers.iter().chain(&clients).cloned().collect();
        let on = values(&sorted(node_set, everybody));
        let iscsi = Iscsi {
            servers: values(&servers),
            clients: values(&clients),
            disk: disk.value,
            port: self.port.as_ref()?.value,
            network: self.network.clone()?.value,
            write_cache: self.write_cache.as_ref()?.value,
            timeout: self.timeout.as_ref()?.value,
            devices,
        };
        Some((on, iscsi))
    }
}
