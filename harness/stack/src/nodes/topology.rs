//! Who takes part, with the number and address that the cluster's files name.

use std::net::Ipv4Addr;

use sanlab_plan::{DISK, FAULTY_DISK, Joins, NetworkName, NodeName, Plan};

/// One node as its peers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Host name.
    pub name: NodeName,
    /// Place in the scenario, from 0; o2cb's node number.
    pub number: u8,
    /// On each network that joins it; the first joins everybody.
    pub addresses: Vec<(NetworkName, Ipv4Addr)>,
    /// Whether it is there from the start: then its disk is part of the storage that all share.
    pub exports: bool,
    /// The path under which its layers open its own disk.
    pub disk: &'static str,
}

impl Member {
    /// The path under which its layers open a device of its own: [`DISK`] stands for its disk.
    pub(crate) fn path<'a>(&self, device: &'a str) -> &'a str {
        if device == DISK { self.disk } else { device }
    }

    /// The name by which peers reach it on a network that joins it.
    pub(crate) fn host(&self, network: &NetworkName) -> String {
        if *network == NetworkName::main() {
            format!("{}.local", self.name)
        } else {
            format!("{}.{network}", self.name)
        }
    }

    /// Its address on a network that joins it, as the networks of a layer join all nodes of the layer.
    pub(crate) fn address(&self, network: &NetworkName) -> Ipv4Addr {
        let mut addresses = self.addresses.iter();
        let found = addresses.find(|(name, _)| name == network);
        found.map_or(Ipv4Addr::UNSPECIFIED, |(_, address)| *address)
    }
}

/// Everybody who will ever take part, in the order of their numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    /// In the order of their numbers.
    pub members: Vec<Member>,
}

impl Topology {
    /// The members of a plan.
    pub fn of(plan: &Plan) -> Self {
        let member = |node: &sanlab_plan::Node| Member {
            name: node.name.clone(),
            number: node.number,
            addresses: plan
                .networks
                .iter()
                .filter(|network| network.on.contains(&node.name))
                .map(|network| (network.name.clone(), network.subnet.address_of(node.number)))
                .collect(),
            exports: node.joins == Joins::AtStart,
            disk: if plan.has_disk_faults(&node.name) {
                FAULTY_DISK
            } else {
                DISK
            },
        };
        Self {
            members: plan.nodes.iter().map(member).collect(),
        }
    }

    /// The member of that name.
    pub fn member(&self, name: &NodeName) -> Option<&Member> {
        self.members.iter().find(|member| member.name == *name)
    }

    /// The path under which layers on that node open a device of its own: [`DISK`] stands for its disk. What they have written may
    /// be in the page cache of that path alone.
    pub fn path<'a>(&self, node: &NodeName, device: &'a str) -> &'a str {
        self.member(node)
            .map_or(device, |member| member.path(device))
    }

    /// Those whose disks make up the shared storage, in the order of their numbers.
    pub fn exporters(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.exports)
    }

    /// Those of `on` that the running cluster has heard of while `there` run: who was there from the start, be it away now,
    /// and who is there. In the order of their numbers.
    pub(crate) fn known(&self, on: &[NodeName], there: &[NodeName]) -> Vec<NodeName> {
        self.those(on)
            .filter(|member| member.exports || there.contains(&member.name))
            .map(|member| member.name.clone())
            .collect()
    }

    /// Those of `names`, in the order of their numbers.
    pub(crate) fn those<'a>(&'a self, names: &'a [NodeName]) -> impl Iterator<Item = &'a Member> {
        self.members
            .iter()
            .filter(|member| names.contains(&member.name))
    }
}
