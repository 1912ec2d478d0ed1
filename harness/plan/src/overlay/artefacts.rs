//! Artefacts that are given as settings: `module=PATH`, `module.SCOPE=PATH`, `file.PATH=PATH`, `file.SCOPE:PATH=PATH`.

use std::borrow::Cow;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::key_path::KeyPath;
use crate::diagnostic::{Diagnostic, Mistakes, Span};
use crate::plan::Arch;

/// Their keys' first words.
pub(crate) const WORDS: [&str; 4] = ["file", "deb", "module", "kernel"];

/// Adds an artefact to the scenario's list.
pub(super) fn add<'a>(table: &mut DeTable<'a>, key_path: &KeyPath<'a>, mistakes: &mut Mistakes) {
    let Some((first, rest)) = key_path.parts.split_first() else {
        return;
    };
    let key = &key_path.key;
    let rest = key_path.text(rest);
    let rest_at = key.end - rest.len();
    let (scope, place) = if first.word == "file" {
        match rest.split_once(':') {
            Some((scope, place)) => (scope, place),
            None => ("", rest),
        }
    } else {
        (rest, "")
    };
    if first.word == "file" && place.is_empty() {
        mistakes.note(
            Diagnostic::at(key, "`file` without a place in the guest")
                .label("where to?")
                .help("write `file.PATH=FILE`, such as `file./usr/sbin/nbdkit=build/nbdkit`"),
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
        list.push(entry);
    }
}
