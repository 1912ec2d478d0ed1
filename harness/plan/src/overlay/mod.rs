//! Settings (`KEY=VALUE`) laid over the file before it is read, so that they are checked like the rest.

pub(crate) mod artefacts;
mod key_path;
mod nodes;
pub(crate) mod setting;

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use self::key_path::{KeyPath, Part};
pub(crate) use self::nodes::split;
use crate::diagnostic::suggest::did_you_mean;
use crate::diagnostic::{Diagnostic, Mistakes, Span};
use crate::document::read::{Choice, Value};
use crate::document::{Action, Document};
use crate::overlay::setting::Setting;
use crate::steps::complete_labels;
use crate::values::names::StepLabel;

/// Keys of a step that are not its action's.
const OF_STEPS: [&str; 6] = ["label", "after", "skip", "deadline", "checkpoint", "expect"];
/// Keys that tell layers of one kind from one another.
const NAMES: [&str; 3] = ["name", "resource", "cluster"];

/// The scenario's text, then that of each of its bases and each setting, one after another: one text that all spans refer
/// to, so that a span tells where it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SourceText {
    pub(crate) text: String,
    /// Of the scenario, and of each base: path, and place in the text.
    pub(crate) files: Vec<(PathBuf, Span)>,
    pub(crate) settings: Vec<Span>,
}

impl SourceText {
    pub(crate) fn new(path: &Path, text: &str) -> Self {
        Self {
            text: text.to_owned(),
            files: vec![(path.to_owned(), 0..text.len())],
            settings: Vec::new(),
        }
    }

    fn add(&mut self, text: &str) -> Span {
        self.text.push('\n');
        let start = self.text.len();
        self.text += text;
        start..self.text.len()
    }

    pub(crate) fn add_file(&mut self, path: &Path, text: &str) {
        // TOML knows this mark at the begin of a text only.
        let span = self.add(text.trim_start_matches('\u{feff}'));
        self.files.push((path.to_owned(), span));
    }

    pub(crate) fn add_settings(&mut self, settings: &[Setting]) {
        for setting in settings {
            let span = self.add(&setting.to_string());
            self.settings.push(span);
        }
    }

    pub(crate) fn has_file(&self, path: &Path) -> bool {
        self.files.iter().any(|(other, _)| other == path)
    }

    /// The path of a file, by its place in [`SourceText::files`].
    pub(crate) fn path(&self, file: usize) -> &Path {
        &self.files[file].0
    }

    /// The text of a file, at the place where the source text has it.
    pub(crate) fn padded(&self, file: usize) -> String {
        let span = self.files[file].1.clone();
        // A width of `format!` ends at 65535.
        " ".repeat(span.start) + &self.text[span]
    }

    /// Each setting as a text of TOML whose one value stands where the source text has it.
    pub(crate) fn values(&self, settings: &[Setting]) -> Vec<String> {
        let values = settings.iter().zip(&self.settings);
        values
            .map(|(setting, line)| {
                let before = line.start + setting.key.len() + 1 - KEY.len();
                format!("{}{KEY}{}", " ".repeat(before), setting.value)
            })
            .collect()
    }
}

/// Stands before a value to make TOML of it; no longer than the file's end, a key and its `=`.
const KEY: &str = "v=";

/// TOML where it is such, otherwise text as it stands.
fn read_value<'a>(setting: &'a Setting, value: &'a str) -> Spanned<DeValue<'a>> {
    let only = DeTable::parse(value)
        .ok()
        .filter(|table| table.get_ref().len() == 1)
        .and_then(|table| table.into_inner().into_iter().next());
    only.map_or_else(
        || {
            let span = value.len() - setting.value.len()..value.len();
            Spanned::new(span, DeValue::String(Cow::Borrowed(&setting.value)))
        },
        |(_, value)| value,
    )
}

/// Lays settings over `table`, in their order. `values` are those of [`SourceText::values`].
pub(crate) fn lay<'a>(
    table: &mut DeTable<'a>,
    settings: &'a [Setting],
    source_text: &SourceText,
    values: &'a [String],
    mistakes: &mut Mistakes,
) {
    for ((setting, line), value) in settings.iter().zip(&source_text.settings).zip(values) {
        let key_path = KeyPath::new(setting, line, read_value(setting, value));
        match key_path.parts.as_slice() {
            [only] if only.word == "mtu" => {
                let network = Part {
                    word: "network",
                    span: only.span.clone(),
                };
                key_path.put(table, &(0..0), &[network, only.clone()], mistakes);
            }
            [first, rest @ ..] => match first.word {
                "network" if !rest.is_empty() => {
                    key_path.put(table, &(0..0), &key_path.parts, mistakes);
                }
                "networks" if rest.len() > 1 => set_network(table, &key_path, mistakes),
                "node" | "nodes" if rest.len() > 1 => nodes::set(table, &key_path, mistakes),
                "layer" if rest.len() > 1 => set_layers(table, &key_path, mistakes),
                "step" if rest.len() > 1 => set_step(table, &key_path, mistakes),
                word if artefacts::WORDS.contains(&word) => {
                    let begin = source_text.settings.first().map_or(0, |first| first.start);
                    artefacts::add(table, &key_path, begin, mistakes);
                }
                _ => set_top(table, &key_path, first, mistakes),
            },
            [] => {}
        }
    }
}

fn set_top<'a>(
    table: &mut DeTable<'a>,
    key_path: &KeyPath<'a>,
    first: &Part<'a>,
    mistakes: &mut Mistakes,
) {
    let form = match first.word {
        "network" => "`network.KEY=VALUE`, such as `network.mtu=1500`",
        "networks" => "`networks.NAME.KEY=VALUE`, such as `networks.cluster.mtu=1500`",
        "node" | "nodes" => "`node.NAME.KEY=VALUE`, such as `node.vix0.memory=512MiB`",
        "layer" => "`layer.KIND.KEY=VALUE`, such as `layer.striped.chunk=64KiB`",
        "step" => "`step.LABEL.KEY=VALUE`, such as `step.load.count=100`",
        _ => "",
    };
    if !form.is_empty() {
        mistakes.note(
            Diagnostic::at(
                &key_path.key,
                format!("`{}` names no key", key_path.setting.key),
            )
            .label("not a whole way to a key")
            .help(format!("write {form}")),
        );
        return;
    }
    if first.word == "base" {
        mistakes.note(
            Diagnostic::at(&key_path.key, "`base` is no key to set")
                .label("has been read already")
                .help("set what another base would say, such as `layer.striped.chunk=64KiB`"),
        );
        return;
    }
    let schema = Document::schema();
    let keys = schema["properties"].as_object();
    let known = keys.into_iter().flatten().map(|(key, _)| key.as_str());
    let known = known.filter(|key| *key != "base");
    let known = known.chain(["mtu", "node"]).chain(artefacts::WORDS);
    let known: Vec<&str> = known.collect();
    if first.word == "mtu" || !known.contains(&first.word) {
        mistakes.note(
            Diagnostic::at(
                &first.span,
                format!("unknown setting `{}`", key_path.setting.key),
            )
            .label("nothing of a scenario")
            .help(did_you_mean(first.word, "keys", known)),
        );
        return;
    }
    key_path.put(table, &(0..0), &key_path.parts, mistakes);
}

/// The tables of a list; none where it is missing, or is no list, which is reported when it is read.
fn tables<'t, 'a>(table: &'t mut DeTable<'a>, key: &str) -> Vec<(Span, &'t mut DeTable<'a>)> {
    let Some(DeValue::Array(list)) = table.get_mut(key).map(Spanned::get_mut) else {
        return Vec::new();
    };
    let list: &mut DeArray<'a> = list;
    let entries = list.iter_mut().map(|entry| (entry.span(), entry.get_mut()));
    entries
        .filter_map(|(span, entry)| match entry {
            DeValue::Table(table) => Some((span, table)),
            _ => None,
        })
        .collect()
}

fn inner<'t, 'a>(table: &'t mut DeTable<'a>, key: &str) -> Option<(Span, &'t mut DeTable<'a>)> {
    let value = table.get_mut(key)?;
    let span = value.span();
    match value.get_mut() {
        DeValue::Table(table) => Some((span, table)),
        _ => None,
    }
}

/// `networks.NAME.KEY`: only networks that are there, so that a slip makes no other.
fn set_network<'a>(table: &mut DeTable<'a>, key_path: &KeyPath<'a>, mistakes: &mut Mistakes) {
    let [_, name, path @ ..] = key_path.parts.as_slice() else {
        return;
    };
    let mut names: Vec<String> = Vec::new();
    if let Some((_, networks)) = inner(table, "networks") {
        if let Some((place, network)) = inner(networks, name.word) {
            key_path.put(network, &place, path, mistakes);
            return;
        }
        if networks.contains_key(name.word) {
            return; // what stands there is no table, which is told when it is read
        }
        names.extend(networks.keys().map(|key| key.get_ref().to_string()));
    }
    mistakes.note(
        Diagnostic::at(&name.span, format!("no network `{}` to set", name.word))
            .label("not in `[networks]`")
            .help(did_you_mean(
                name.word,
                "networks",
                names.iter().map(String::as_str),
            )),
    );
}

/// `layer.KIND.KEY` and `layer.KIND.NAME.KEY`.
fn set_layers<'a>(table: &mut DeTable<'a>, key_path: &KeyPath<'a>, mistakes: &mut Mistakes) {
    let [_, kind, names @ .., key] = key_path.parts.as_slice() else {
        return;
    };
    let mut there: Vec<String> = Vec::new();
    let mut found: Vec<String> = Vec::new();
    let mut set = false;
    let wanted = key_path.text(names);
    for (_, entry) in tables(table, "layer") {
        for word in entry.keys().map(|key| key.get_ref().to_string()) {
            if !there.contains(&word) {
                there.push(word);
            }
        }
        let Some((place, layer)) = inner(entry, kind.word) else {
            continue;
        };
        let own: Vec<String> = NAMES
            .iter()
            .filter_map(|key| layer.get(*key)?.get_ref().as_str())
            .map(str::to_owned)
            .collect();
        if names.is_empty() || own.iter().any(|name| name == wanted) {
            key_path.put(layer, &place, std::slice::from_ref(key), mistakes);
            set = true;
        }
        found.extend(own);
    }
    if set {
        return;
    }
    let known = there.iter().any(|other| other == kind.word);
    if known && names.is_empty() {
        return; // what stands there is no table, which is told when it is read
    }
    mistakes.note(if known {
        Diagnostic::at(
            &(names[0].span.start..names[names.len() - 1].span.end),
            format!("no layer `{}` is called `{wanted}`", kind.word),
        )
        .label("not in this scenario")
        .help(did_you_mean(
            wanted,
            "names",
            found.iter().map(String::as_str),
        ))
    } else {
        Diagnostic::at(&kind.span, format!("no layer `{}` to set", kind.word))
            .label("not in this scenario")
            .help(did_you_mean(
                kind.word,
                "layers",
                there.iter().map(String::as_str),
            ))
    });
}

/// `step.LABEL.KEY`: labels may contain dots.
fn set_step<'a>(table: &mut DeTable<'a>, key_path: &KeyPath<'a>, mistakes: &mut Mistakes) {
    let mut entries = tables(table, "step");
    let words: Vec<(Option<StepLabel>, &'static str)> = entries
        .iter()
        .map(|(_, entry)| {
            let label = entry
                .get("label")
                .and_then(|label| label.get_ref().as_str());
            (
                label.and_then(|label| StepLabel::parse(label).ok()),
                action(entry).unwrap_or("step"),
            )
        })
        .collect();
    let labels = complete_labels(&words);
    let rest = key_path.text(&key_path.parts[1..]);
    let fits = |label: &StepLabel| {
        let after = rest.strip_prefix(label.as_str());
        after.is_some_and(|after| after.starts_with('.'))
    };
    let longest = labels.iter().enumerate().filter(|(_, label)| fits(label));
    let Some((at, label)) = longest.max_by_key(|(_, label)| label.as_str().len()) else {
        let [_, label @ .., _] = key_path.parts.as_slice() else {
            return;
        };
        let given = key_path.text(label);
        mistakes.note(
            Diagnostic::at(
                &(label[0].span.start..label[label.len() - 1].span.end),
                format!("no step `{given}` to set"),
            )
            .label("no step has this label")
            .help(did_you_mean(
                given,
                "steps",
                labels.iter().map(StepLabel::as_str),
            )),
        );
        return;
    };
    let dots = label.as_str().matches('.').count();
    let path = &key_path.parts[dots + 2..];
    let (place, entry) = &mut entries[at];
    if OF_STEPS.contains(&path[0].word) {
        key_path.put(entry, place, path, mistakes);
    } else if let Some((place, action)) = action(entry).and_then(|word| inner(entry, word)) {
        key_path.put(action, &place, path, mistakes);
    }
}

/// Which action stands in a step's table.
fn action(entry: &DeTable<'_>) -> Option<&'static str> {
    let mut words = Action::KEYS.iter().copied();
    words.find(|word| entry.contains_key(*word))
}
