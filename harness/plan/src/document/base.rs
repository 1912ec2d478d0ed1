//! `base = "FILE"`: what scenarios share stands in a file of its own, and each of them says what differs. A file is laid
//! over its base before it is read, so that both are checked as one scenario, and a mistake is shown where it stands.

use std::borrow::Cow;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use crate::diagnostic::suggest::{did_you_mean, quoted};
use crate::diagnostic::{Diagnostic, Mistakes, Span};
use crate::document::Document;
use crate::document::pattern::Pattern;
use crate::document::read::{Choice, Value};
use crate::layers::WrittenLayer;
use crate::overlay::split;
use crate::values::names::NodeName;

/// Base files lie in folders of this name, so that they are not taken for scenarios.
pub const BASE_FOLDER: &str = "base";

/// What a base may hold. All else says what is tested, and stands in the scenario.
const SHARED: [&str; 6] = ["image", "layer", "mistimed", "network", "networks", "nodes"];

/// Kinds of which a scenario may have several layers: the key that tells them from one another, and one that a further
/// layer cannot do without, but a change of one that is there can.
const SEVERAL: [(&str, &str, &str); 2] = [
    ("membership", "cluster", "on"),
    ("drbd", "resource", "disk"),
];

/// Lays a scenario over its base, that over its own, and so on.
pub(crate) fn merge<'a>(
    scenario: DeTable<'a>,
    bases: Vec<DeTable<'a>>,
    mistakes: &mut Mistakes,
) -> DeTable<'a> {
    let mut below: Option<DeTable<'a>> = None;
    for mut base in bases.into_iter().rev() {
        keep_shared(&mut base, mistakes);
        below = Some(match below {
            Some(below) => lay_over(below, base, mistakes),
            None => base,
        });
    }
    match below {
        Some(below) => lay_over(below, scenario, mistakes),
        None => scenario,
    }
}

/// Takes out of a base what does not belong there.
fn keep_shared(base: &mut DeTable<'_>, mistakes: &mut Mistakes) {
    let schema = Document::schema();
    let of_scenarios = &schema["properties"];
    for (key, value) in std::mem::take(base) {
        let word = key.get_ref().as_ref();
        if SHARED.contains(&word) {
            base.insert(key, value);
            continue;
        }
        if word == "base" {
            continue; // has been followed
        }
        if of_scenarios.get(word).is_some() {
            mistakes.note(
                Diagnostic::at(&key.span(), format!("`{word}` in a base"))
                    .label("not for a base to say")
                    .help(format!(
                        "move it into each scenario; a base has {}",
                        quoted(&SHARED)
                    )),
            );
        } else {
            mistakes.note(
                Diagnostic::at(&key.span(), format!("unknown key `{word}` in a base"))
                    .label("not a key of a base")
                    .help(did_you_mean(word, "keys", SHARED)),
            );
        }
    }
}

fn lay_over<'a>(base: DeTable<'a>, mut file: DeTable<'a>, mistakes: &mut Mistakes) -> DeTable<'a> {
    for (key, below) in base {
        let word = key.get_ref().as_ref();
        let fits = |value: &Spanned<DeValue<'_>>| match word {
            "layer" => value.get_ref().is_array(),
            "network" | "networks" | "nodes" => value.get_ref().is_table(),
            _ => false,
        };
        let Some(slot) = file.get_mut(word) else {
            file.insert(key, below);
            continue;
        };
        // Of two values that cannot be joined one stays; where that is of a wrong type, it is reported when it is read.
        if !fits(&below) {
            if matches!(word, "layer" | "network" | "networks" | "nodes") {
                *slot = below;
            }
            continue;
        }
        if !fits(slot) {
            continue;
        }
        let own = std::mem::replace(slot, below).into_inner();
        let place = slot.span();
        match (slot.get_mut(), own) {
            (DeValue::Array(below), DeValue::Array(own)) => layers(below, own, mistakes),
            (DeValue::Table(below), DeValue::Table(own)) if word == "nodes" => {
                nodes(below, own, mistakes);
            }
            (DeValue::Table(below), DeValue::Table(own)) if word == "networks" => {
                networks(below, own, mistakes);
            }
            (DeValue::Table(below), DeValue::Table(own)) => {
                replace_keys(below, &place, own, mistakes);
            }
            _ => {}
        }
    }
    file
}

/// Networks that the base has are changed, others come after them.
fn networks<'a>(base: &mut DeTable<'a>, own: DeTable<'a>, mistakes: &mut Mistakes) {
    for (name, entry) in own {
        match base.get_mut(name.get_ref().as_ref()) {
            Some(slot) => replace_in(slot, entry, mistakes),
            None => {
                base.insert(name, entry);
            }
        }
    }
}

/// Puts each key in the place of the base's, or beside the base's.
fn replace_keys<'a>(
    base: &mut DeTable<'a>,
    place: &Span,
    own: DeTable<'a>,
    mistakes: &mut Mistakes,
) {
    for (key, value) in own {
        let start = key.span().start;
        mistakes.graft(place, &(start..value.span().end.max(start)));
        match base.get_mut(key.get_ref().as_ref()) {
            Some(slot) => *slot = value,
            None => {
                base.insert(key, value);
            }
        }
    }
}

/// The same where something else than a table may stand on either side.
fn replace_in<'a>(
    slot: &mut Spanned<DeValue<'a>>,
    own: Spanned<DeValue<'a>>,
    mistakes: &mut Mistakes,
) {
    let place = slot.span();
    let span = own.span();
    match (slot.get_mut(), own.into_inner()) {
        (DeValue::Table(base), DeValue::Table(own)) => replace_keys(base, &place, own, mistakes),
        (base @ DeValue::Table(_), own) => {
            *base = own;
            mistakes.graft(&place, &span);
        }
        _ => {}
    }
}

/// Nodes that the base has are changed, others come after them.
fn nodes<'a>(base: &mut DeTable<'a>, own: DeTable<'a>, mistakes: &mut Mistakes) {
    let there: Vec<NodeName> = names(base);
    let mut said: Vec<(NodeName, Span)> = Vec::new();
    for (key, entry) in own {
        let Ok(pattern) = Pattern::parse(key.get_ref()) else {
            base.insert(key, entry); // told when it is read
            continue;
        };
        let names = pattern.names();
        if let Some((name, first)) = said.iter().find(|(name, _)| names.contains(name)) {
            mistakes.note(
                Diagnostic::at(&key.span(), format!("two entries for node `{name}`"))
                    .label(format!("`{name}` again"))
                    .also(first, format!("`{name}` is already here"))
                    .help("write all of its keys in one entry"),
            );
            continue;
        }
        said.extend(names.iter().map(|name| (name.clone(), key.span())));
        let (old, new): (Vec<_>, Vec<_>) = names.iter().partition(|name| there.contains(name));
        for name in &old {
            split(base, name);
            if let Some(slot) = base.get_mut(name.as_str()) {
                replace_in(slot, entry.clone(), mistakes);
            }
        }
        if !new.is_empty() {
            let entry = new_node(&key, entry, (&old, &new), &there, mistakes);
            for name in new {
                let name = Cow::Owned(name.as_str().to_owned());
                base.insert(Spanned::new(key.span(), name), entry.clone());
            }
        }
    }
}

fn names(nodes: &DeTable<'_>) -> Vec<NodeName> {
    let patterns = nodes
        .keys()
        .filter_map(|key| Pattern::parse(key.get_ref()).ok());
    patterns
        .flat_map(|pattern| pattern.names().to_vec())
        .collect()
}

/// What is written of nodes that the base does not have; where that is a change of no node, with a stand-in that lets
/// the rest be checked.
fn new_node<'a>(
    key: &Spanned<Cow<'a, str>>,
    mut entry: Spanned<DeValue<'a>>,
    (old, new): (&[&NodeName], &[&NodeName]),
    there: &[NodeName],
    mistakes: &mut Mistakes,
) -> Spanned<DeValue<'a>> {
    let list = quoted(new.iter().copied());
    if !old.is_empty() {
        mistakes.note(
            Diagnostic::at(&key.span(), "nodes of the base and new ones in one entry")
                .label(format!("the base has no {list}"))
                .help("write an entry for those of the base, and one for the new ones"),
        );
    }
    if let DeValue::Table(table) = entry.get_mut()
        && !table.contains_key("arch")
    {
        if old.is_empty() {
            let words = there.iter().map(NodeName::as_str);
            let help = did_you_mean(new[0].as_str(), "nodes of the base", words);
            mistakes.note(
                Diagnostic::at(&key.span(), format!("the base has no {list} to change"))
                    .label("not in the base, and not a whole node")
                    .help(format!("a new node needs its `arch`; {help}")),
            );
        }
        let arch = DeValue::String(Cow::Borrowed("x86"));
        let word = Spanned::new(key.span(), Cow::Borrowed("arch"));
        table.insert(word, Spanned::new(key.span(), arch));
    }
    entry
}

/// Layers that the base has are changed, others come on top of them.
fn layers<'a>(base: &mut DeArray<'a>, own: DeArray<'a>, mistakes: &mut Mistakes) {
    let there = base.len();
    let mut changed: Vec<(usize, Span)> = Vec::new();
    for entry in own {
        let (at, kind, span) = match find(&base[..there], &entry) {
            Ok(Some(found)) => found,
            Ok(None) => {
                base.push(entry);
                continue;
            }
            Err(mistake) => {
                mistakes.note(mistake);
                continue;
            }
        };
        let slot = &mut base.as_mut()[at];
        let place = slot.span();
        if let Some((_, first)) = changed.iter().find(|(other, _)| *other == at) {
            mistakes.note(
                Diagnostic::at(&span, format!("two entries for one `{kind}` of the base"))
                    .label("the same layer again")
                    .also(first, "already here")
                    .help("write all of its keys in one entry"),
            );
            continue;
        }
        changed.push((at, span));
        let (DeValue::Table(below), DeValue::Table(own)) = (slot.get_mut(), entry.into_inner())
        else {
            continue;
        };
        for (key, value) in own {
            match below.get_mut(key.get_ref().as_ref()) {
                Some(slot) if key.get_ref() == kind => replace_in(slot, value, mistakes),
                _ => {
                    // No key of an entry, which is reported when it is read.
                    mistakes.graft(&place, &key.span());
                    below.insert(key, value);
                }
            }
        }
    }
}

/// Which layer of the base an entry changes, of what kind that is, and where the change is written; none if it is a new
/// one.
fn find(
    base: &[Spanned<DeValue<'_>>],
    entry: &Spanned<DeValue<'_>>,
) -> Result<Option<(usize, &'static str, Span)>, Diagnostic> {
    let Some((kind, own)) = layer(entry) else {
        return Ok(None);
    };
    let alike: Vec<(usize, &Spanned<DeValue<'_>>)> = base
        .iter()
        .enumerate()
        .filter_map(|(at, below)| {
            layer(below)
                .filter(|(other, _)| *other == kind)
                .map(|(_, it)| (at, it))
        })
        .collect();
    let Some((first, _)) = alike.first() else {
        return Ok(None);
    };
    let Some((_, key, needed)) = SEVERAL.iter().find(|(several, ..)| *several == kind) else {
        return Ok(Some((*first, kind, own.span())));
    };
    let name = |layer: &Spanned<DeValue<'_>>| text_of(layer, key);
    let there: Vec<String> = alike.iter().filter_map(|(_, layer)| name(layer)).collect();
    let words = there.iter().map(String::as_str);
    match (name(own), alike.as_slice()) {
        (Some(own_name), _) => {
            let mut alike = alike.iter();
            match alike.find(|(_, layer)| name(layer).as_ref() == Some(&own_name)) {
                Some((at, _)) => Ok(Some((*at, kind, own.span()))),
                None if own.get_ref().get(*needed).is_some() => Ok(None),
                None => Err(Diagnostic::at(
                    &own.span(),
                    format!("the base has no `{kind}` called `{own_name}` to change"),
                )
                .label("not in the base, and not a whole layer")
                .help(format!(
                    "a further `{kind}` needs its `{needed}`; {}",
                    did_you_mean(&own_name, "names in the base", words)
                ))),
            }
        }
        (None, [(only, _)]) => Ok(Some((*only, kind, own.span()))),
        (None, several) => Err(Diagnostic::at(
            &own.span(),
            format!("the base has {} layers `{kind}`", several.len()),
        )
        .label(format!("`{key}` is missing"))
        .help(format!("say which: `{key}` is one of {}", quoted(&there)))),
    }
}

/// The kind of a layer and its table, if one is written.
fn layer<'v, 'a>(
    entry: &'v Spanned<DeValue<'a>>,
) -> Option<(&'static str, &'v Spanned<DeValue<'a>>)> {
    let table = entry.get_ref().as_table()?;
    let mut kinds = WrittenLayer::KEYS
        .iter()
        .filter_map(|kind| Some((*kind, table.get(*kind)?)));
    kinds.next().filter(|_| kinds.next().is_none())
}

fn text_of(layer: &Spanned<DeValue<'_>>, key: &str) -> Option<String> {
    let value = layer.get_ref().get(key)?;
    value.get_ref().as_str().map(str::to_owned)
}
