//! Who serves a disk over the network, and who imports it: what the layers with servers and clients check alike.

use super::membership::at_start;
use super::{LayerKind, sorted};
use crate::devices::device_map::DeviceMap;
use crate::diagnostic::{Diagnostic, Mistakes, Span};
use crate::document::read::At;
use crate::document::value::Nodes;
use crate::values::names::NodeName;

/// Nodes that nobody has named, at the place that stands for them.
pub(super) fn at_span(names: Vec<NodeName>, span: &Span) -> Vec<At<NodeName>> {
    let placed = names.into_iter().map(|value| At {
        value,
        span: span.clone(),
    });
    placed.collect()
}

/// Servers do not join later.
pub(super) fn check_servers(
    servers: &[At<NodeName>],
    device_map: &DeviceMap<'_>,
    mistakes: &mut Mistakes,
) {
    for server in servers {
        if device_map.sure && !at_start(device_map.node_set, &server.value) {
            mistakes.note(
                Diagnostic::at(&server.span, format!("the server `{}` joins later", server.value))
                    .label("servers are there from the start")
                    .help(format!(
                        r#"drop `joins = "later"` of `{}`, or name another node; clients may join later"#,
                        server.value
                    )),
            );
        }
    }
}

/// Those that `list` names, or every node that is no server. `None` after a noted mistake, of the servers too.
pub(super) fn clients(
    (kind, span): (LayerKind, &Span),
    list: Option<&At<Nodes>>,
    servers: Option<&[At<NodeName>]>,
    device_map: &DeviceMap<'_>,
    mistakes: &mut Mistakes,
) -> Option<Vec<At<NodeName>>> {
    let node_set = device_map.node_set;
    let server = |name: &NodeName| {
        servers.and_then(|servers| servers.iter().find(|server| server.value == *name))
    };
    let clients = if let Some(list) = list {
        sorted(node_set, node_set.expand(list, mistakes)?)
    } else {
        let mut others = device_map.all();
        others.retain(|name| server(name).is_none());
        at_span(others, span)
    };
    servers?;
    let mut right = true;
    for client in &clients {
        if let Some(server) = server(&client.value) {
            right = false;
            mistakes.note(
                Diagnostic::at(
                    &client.span,
                    format!("`{}` imports its own export", client.value),
                )
                .label("a client")
                .also(&server.span, "and a server")
                .help(
                    "name it as server or as client: writing its own export back needs memory that only writing frees",
                ),
            );
        }
    }
    if clients.is_empty() && device_map.sure {
        right = false;
        mistakes.note(
            Diagnostic::at(span, format!("`{kind}` without clients"))
                .label("every node is a server")
                .help("add a node that imports, or name the servers in `on`"),
        );
    }
    right.then_some(clients)
}
