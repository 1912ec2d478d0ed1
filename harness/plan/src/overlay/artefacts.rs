//! Artefacts that are given as settings: `module=PATH`, `module.SCOPE=PATH`, `file.PATH=PATH`, `file.SCOPE:PATH=PATH`.

use std::borrow::Cow;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::key_path::KeyPath;
use crate::diagnostic::{Diagnostic, Mistakes, Span};
use crate::plan::{Arch, Artefact};

/// Their keys' first words.
pub(crate) const WORDS: [&str; 4] = ["file", "deb", "module", "kernel"];

/// Adds an artefact to the scenario's list, in the place of one that the scenario's file has for the same nodes. Settings stand
/// from `settings` on.
pub(super) fn add<'a>(
    table: &mut DeTable<'a>,
    key_path: &KeyPath<'a>,
    settings: usize,
    mistakes: &mut Mistakes,
) {
    let Some((first, rest)) = key_path.parts.split_first() else {
        return;
    };
    let key = &key_path.key;
    let rest = key_path.text(rest);
    let rest_at = key.end - rest.len();
    let (scope, place) = if first.word == "file" {
        match rest.split_once(':') {
            // A path may have a colon.
            Some((scope, place)) if !scope.contains('/') => (scope, place),
            _ => ("", rest),
        }
    } else {
        (rest, "")
    };
    if first.word == "file" && place.is_empty() {
        mistakes.note(
            Diagnostic::at(key, "`file` without a place in the guest")
                .label("where to?")
                .help("write `file.PATH=FILE`, such as `file./usr/bin/nbdkit=build/nbdkit`"),
        );
        return;
    }
    let text =
        |words: &'a str, span: Span| Spanned::new(span, DeValue::String(Cow::Borrowed(words)));
    let word = |word: &'a str| Spanned::new(first.span.clone(), Cow::Borrowed(word));
    let value = text(&key_path.setting.value, key_path.value_span());
    let mut entry = DeTable::new();
    if !scope.is_empty() {
        let is_arch = Arch::ALL.iter().any(|arch| arch.as_str() == scope);
        let key = if is_arch { "arch" } else { "on" };
        entry.insert(word(key), text(scope, rest_at..rest_at + scope.len()));
    }
    if first.word == "file" {
        let mut file = DeTable::new();
        let place_at = key.end - place.len();
        file.insert(word("to"), text(place, place_at..key.end));
        file.insert(word("from"), value);
        entry.insert(
            word(first.word),
            Spanned::new(key_path.line_span(), DeValue::Table(file)),
        );
    } else {
        entry.insert(word(first.word), value);
    }
    let entry = Spanned::new(key_path.line_span(), DeValue::Table(entry));
    if !table.contains_key("artefact") {
        let empty = DeValue::Array(DeArray::new());
        table.insert(word("artefact"), Spanned::new(key_path.line_span(), empty));
    }
    // What stands there and is no list, is told when it is read.
    if let Some(DeValue::Array(list)) = table.get_mut("artefact").map(Spanned::get_mut) {
        let kept = std::mem::replace(list, DeArray::new());
        for other in &*kept {
            if other.span().start >= settings || !is_same(other, &entry, first.word) {
                list.push(other.clone());
            }
        }
        list.push(entry);
    }
}

/// Whether two entries are the same file, module or kernel, for the same nodes. A node may have any number of packages.
fn is_same(one: &Spanned<DeValue<'_>>, other: &Spanned<DeValue<'_>>, word: &str) -> bool {
    let text = |entry: &Spanned<DeValue<'_>>, key: &str| {
        let value = entry.get_ref().get(key)?;
        value.get_ref().as_str().map(str::to_owned)
    };
    let place = |entry: &Spanned<DeValue<'_>>| match word {
        "file" => {
            let file = entry.get_ref().get("file")?;
            text(file, "to")
        }
        "module" => text(entry, "module").map(|path| Artefact::module_name(Path::new(&path))),
        "kernel" => text(entry, "kernel").map(|_| String::new()),
        _ => None,
    };
    let who = ["on", "arch"].map(|key| text(one, key) == text(other, key));
    let named = |entry: &Spanned<DeValue<'_>>| {
        entry
            .get_ref()
            .get("on")
            .is_some_and(|on| on.get_ref().is_array())
    };
    who == [true, true] && !named(one) && place(one).is_some() && place(one) == place(other)
}
