//! `node.NAME.KEY`: a node that is written with others in a range is taken out of it.

use std::borrow::Cow;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::inner;
use super::key_path::KeyPath;
use crate::diagnostic::suggest::did_you_mean;
use crate::diagnostic::{Diagnostic, Mistakes};
use crate::document::pattern::Pattern;
use crate::values::names::NodeName;

pub(super) fn set<'a>(table: &mut DeTable<'a>, key_path: &KeyPath<'a>, mistakes: &mut Mistakes) {
    let [_, name, path @ ..] = key_path.parts.as_slice() else {
        return;
    };
    // Where there are no nodes, or what stands there is no table, that is reported when it is read.
    let Some((_, nodes)) = inner(table, "nodes") else {
        return;
    };
    if let Some((place, node)) = inner(nodes, name.word) {
        key_path.put(node, &place, path, mistakes);
        return;
    }
    let wanted = match Pattern::parse(name.word) {
        Ok(pattern) => pattern,
        Err(error) => {
            mistakes.note(
                Diagnostic::at(
                    &name.span,
                    format!("`{}` is not a node name or range", name.word),
                )
                .label("expected a node name or range")
                .help(error.to_string()),
            );
            return;
        }
    };
    for node in wanted.names() {
        split(nodes, node);
        if let Some((place, table)) = inner(nodes, node.as_str()) {
            key_path.put(table, &place, path, mistakes);
        } else {
            let patterns = nodes
                .keys()
                .filter_map(|key| Pattern::parse(key.get_ref()).ok());
            let names: Vec<NodeName> = patterns.flat_map(|it| it.names().to_vec()).collect();
            mistakes.note(
                Diagnostic::at(&name.span, format!("no node `{node}` to set"))
                    .label("not in `[nodes]`")
                    .help(did_you_mean(
                        node.as_str(),
                        "nodes",
                        names.iter().map(NodeName::as_str),
                    )),
            );
            return;
        }
    }
}

/// Writes a range that contains `node` name by name: the order of nodes, which is their number, stays.
pub(crate) fn split(nodes: &mut DeTable<'_>, node: &NodeName) {
    let range = |key: &str| {
        let pattern = Pattern::parse(key).ok()?;
        let names = pattern.names().to_vec();
        names.contains(node).then_some(names)
    };
    let mut written = DeTable::new();
    for (key, entry) in std::mem::take(nodes) {
        match range(key.get_ref()) {
            Some(names) => {
                for name in names {
                    let name = Cow::Owned(name.as_str().to_owned());
                    let entry: Spanned<DeValue<'_>> = entry.clone();
                    written.insert(Spanned::new(key.span(), name), entry);
                }
            }
            None => {
                written.insert(key, entry);
            }
        }
    }
    *nodes = written;
}
