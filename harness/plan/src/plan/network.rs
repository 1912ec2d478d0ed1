//! Networks: their keys in `[network]` and `[networks]`, and what is decided of each.

use serde_json::{Value as Json, json};
use toml::Spanned;
use toml::de::DeValue;

use crate::diagnostic::Mistakes;
use crate::document::read::{Field, Table, Value, read};
use crate::document::table::table;
use crate::document::value::Nodes;
use crate::values::names::{NetworkName, NodeName};
use crate::values::subnet::Subnet;

table! {
    /// The first network, which joins all nodes. Its name is `main`.
    Written, "`network`", "{ mtu = 1500 }" {
        /// Largest IP packet in bytes, 576 to 65535; a node whose card carries less gets less. Default: 16000.
        mtu: u32, optional;
        /// Its IPv4 addresses: that of node 0 is the tenth.
        subnet: Subnet, default Subnet::of_place(0);
        /// Nodes whose traffic is written to pcap files.
        capture: Nodes, optional;
    }
}

table! {
    /// A further network: a further card in each of its nodes, on a switch of its own.
    WrittenFurther, "a further network", "{ mtu = 1500 }" {
        /// The nodes that it joins. Default: every node.
        on: Nodes, optional;
        /// Largest IP packet in bytes, 576 to 65535; a node whose card carries less gets less. Default: 16000.
        mtu: u32, optional;
        /// Its IPv4 addresses: that of node 0 is the tenth. Default: `10.77.1.0/24` of the first further network, `10.77.2.0/24` of
        /// the second.
        subnet: Subnet, optional;
        /// Nodes whose traffic on it is written to pcap files.
        capture: Nodes, optional;
    }
}

/// `[networks]`: names, each with its table, in the order of the file.
#[derive(Debug, Clone)]
pub(crate) struct NetworkTable(pub(crate) Vec<(Field<NetworkName>, Field<WrittenFurther>)>);

impl Value for NetworkTable {
    const WANTED: &'static str = "a table of networks";
    const EXAMPLE: &'static str = "{ cluster = {} }";

    fn read(value: &Spanned<DeValue<'_>>, mistakes: &mut Mistakes) -> Option<Self> {
        let table = Table::open::<Self>("`networks`", value, mistakes)?;
        let networks = table.entries().map(|(key, entry)| {
            let name = Spanned::new(key.span(), DeValue::String(key.get_ref().clone()));
            (read(&name, mistakes), read(entry, mistakes))
        });
        Some(Self(networks.collect()))
    }

    fn schema() -> Json {
        json!({ "type": "object", "additionalProperties": WrittenFurther::schema() })
    }
}

/// A layer-2 network: a switch of its own, on which each of its nodes has a card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// How layers and faults name it; that of the first is `main`.
    pub name: NetworkName,
    /// Its addresses.
    pub subnet: Subnet,
    /// Largest IP packet in bytes; a node whose NIC carries less gets less. `None`: the lab's measured default.
    pub mtu: Option<u32>,
    /// The nodes that have a card on it, in the order of their numbers: of the first network, all.
    pub on: Vec<NodeName>,
    /// Nodes whose switch port is written to a pcap file.
    pub capture: Vec<NodeName>,
}
