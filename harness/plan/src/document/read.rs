//! From TOML to typed values that know where they were written. A mistake is noted and reading goes on, so that one
//! pass meets all of them; serde, which stops at the first, cannot do that.

use std::borrow::Cow;
use std::ops::Deref;

use serde_json::{Map, Value as Json, json};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::suggest::did_you_mean;
use crate::diagnostic::{Diagnostic, Mistakes, Span};

/// A value and where it was written; one that was left out stands where its table does.
#[derive(Debug, Clone)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) span: Span,
}

impl<T> Deref for At<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// A list without the places where its values were written.
pub(crate) fn values<T: Clone>(list: &[At<T>]) -> Vec<T> {
    list.iter().map(|at| at.value.clone()).collect()
}

/// A key's value. `None`: it was optional and left out, or wrong and a mistake was noted.
pub(crate) type Field<T> = Option<At<T>>;

/// What can stand to the right of an equals sign.
pub(crate) trait Value: Sized {
    /// With its article: "a size".
    const WANTED: &'static str;
    /// One, as written in TOML.
    const EXAMPLE: &'static str;

    /// [`Value::EXAMPLE`], or one made of other examples.
    fn example() -> String {
        Self::EXAMPLE.to_owned()
    }

    /// `None` when a mistake was noted.
    fn read(value: &Spanned<DeValue<'_>>, mistakes: &mut Mistakes) -> Option<Self>;

    /// JSON Schema of what `read` takes.
    fn schema() -> Json;

    /// As written in a scenario; `null` when it is never a default.
    fn written(&self) -> Json {
        Json::Null
    }
}

/// An enum of tables of which exactly one stands in its parent table, under its own key.
pub(crate) trait Choice: Sized {
    /// What one of them is, and what they are.
    const WHAT: (&'static str, &'static str);
    const KEYS: &'static [&'static str];

    fn read_one(table: &Table<'_>, mistakes: &mut Mistakes) -> Field<Self>;

    fn properties() -> Map<String, Json>;
}

pub(crate) fn read<T: Value>(value: &Spanned<DeValue<'_>>, mistakes: &mut Mistakes) -> Field<T> {
    let span = value.span();
    T::read(value, mistakes).map(|value| At { value, span })
}

pub(crate) fn note_wrong_type<T: Value>(value: &Spanned<DeValue<'_>>, mistakes: &mut Mistakes) {
    let found = match value.get_ref() {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    };
    mistakes.note(
        Diagnostic::at(
            &value.span(),
            format!("wrong type: expected {}, found {found}", T::WANTED),
        )
        .label(format!("expected {}", T::WANTED))
        .help(format!("write {}, such as `{}`", T::WANTED, T::example())),
    );
}

/// What may stand in a table.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    words: Vec<&'static str>,
    choice: Option<((&'static str, &'static str), &'static [&'static str])>,
}

impl Keys {
    pub(crate) fn key(&mut self, word: &'static str) {
        self.words.push(word);
    }

    pub(crate) fn choice<T: Choice>(&mut self) {
        self.words.extend(T::KEYS);
        self.choice = Some((T::WHAT, T::KEYS));
    }
}

/// A table that is being read.
pub(crate) struct Table<'a> {
    what: &'static str,
    entries: &'a DeTable<'a>,
    pub(crate) span: Span,
}

impl<'a> Table<'a> {
    /// `what` names it in messages.
    pub(crate) fn open<T: Value>(
        what: &'static str,
        value: &'a Spanned<DeValue<'a>>,
        mistakes: &mut Mistakes,
    ) -> Option<Self> {
        let DeValue::Table(entries) = value.get_ref() else {
            note_wrong_type::<T>(value, mistakes);
            return None;
        };
        Some(Self {
            what,
            entries,
            span: value.span(),
        })
    }

    pub(crate) fn refuse_unknown(&self, known: &Keys, mistakes: &mut Mistakes) {
        let unchosen = known.choice.filter(|(_, words)| {
            !self
                .entries
                .keys()
                .any(|key| words.contains(&key.get_ref().as_ref()))
        });
        for key in self
            .entries
            .keys()
            .filter(|key| !known.words.contains(&key.get_ref().as_ref()))
        {
            let word = key.get_ref();
            mistakes.note(if let Some(((what, plural), words)) = unchosen {
                Diagnostic::at(&key.span(), format!("unknown {what} `{word}`"))
                    .label(format!("none of the {plural}"))
                    .help(did_you_mean(word, plural, words.iter().copied()))
            } else {
                Diagnostic::at(
                    &key.span(),
                    format!("unknown key `{word}` in {}", self.what),
                )
                .label(format!("not a key of {}", self.what))
                .help(did_you_mean(word, "keys", known.words.iter().copied()))
            });
        }
    }

    pub(crate) fn optional<T: Value>(&self, key: &str, mistakes: &mut Mistakes) -> Field<T> {
        read(self.entries.get(key)?, mistakes)
    }

    pub(crate) fn default<T: Value>(
        &self,
        key: &str,
        default: T,
        mistakes: &mut Mistakes,
    ) -> Field<T> {
        match self.entries.get(key) {
            Some(value) => read(value, mistakes),
            None => Some(At {
                value: default,
                span: self.span.clone(),
            }),
        }
    }

    /// `example` is shown where the key is missing.
    pub(crate) fn required<T: Value>(
        &self,
        key: &str,
        example: &str,
        mistakes: &mut Mistakes,
    ) -> Field<T> {
        let value = self.entries.get(key);
        if value.is_none() {
            mistakes.note(
                Diagnostic::at(&self.span, format!("missing key `{key}` in {}", self.what))
                    .label(format!("`{key}` is missing"))
                    .help(format!("add {}, such as `{key} = {example}`", T::WANTED)),
            );
        }
        read(value?, mistakes)
    }

    /// The one key of the choice that stands here.
    pub(crate) fn chosen<T: Choice>(&self, mistakes: &mut Mistakes) -> Option<&'static str> {
        let (what, plural) = T::WHAT;
        let word = |key: &Spanned<Cow<'_, str>>| {
            T::KEYS
                .iter()
                .copied()
                .find(|word| *word == key.get_ref().as_ref())
        };
        let mut found = self
            .entries
            .keys()
            .filter_map(|key| Some((key.span(), word(key)?)));
        let Some((first, word)) = found.next() else {
            if !self
                .entries
                .keys()
                .any(|key| mistakes.any_within(&key.span()))
            {
                mistakes.note(
                    Diagnostic::at(&self.span, format!("{} without its {what}", self.what))
                        .label(format!("one of the {plural} is missing"))
                        .help(format!("add one of `{}`", T::KEYS.join("`, `"))),
                );
            }
            return None;
        };
        let mut alone = true;
        for (span, other) in found {
            alone = false;
            mistakes.note(
                Diagnostic::at(&span, format!("`{word}` and `{other}` in {}", self.what))
                    .label("one too many")
                    .also(&first, "the first one")
                    .help(format!("give `{other}` an entry of its own")),
            );
        }
        alone.then_some(word)
    }

    pub(crate) fn entries(
        &self,
    ) -> impl Iterator<Item = (&'a Spanned<Cow<'a, str>>, &'a Spanned<DeValue<'a>>)> {
        self.entries.iter()
    }
}

/// Schema of a table, filled key by key.
pub(crate) struct TableSchema {
    properties: Map<String, Json>,
    required: Vec<&'static str>,
    one_of: Vec<Json>,
    doc: &'static str,
}

impl TableSchema {
    pub(crate) fn new(doc: &'static str) -> Self {
        Self {
            properties: Map::new(),
            required: Vec::new(),
            one_of: Vec::new(),
            doc,
        }
    }

    pub(crate) fn key<T: Value>(
        &mut self,
        key: &'static str,
        doc: &str,
        required: bool,
        default: Option<&T>,
    ) {
        let mut schema = T::schema();
        schema["description"] = json!(doc.trim());
        if let Some(default) = default {
            schema["default"] = default.written();
        }
        self.properties.insert(key.to_owned(), schema);
        if required {
            self.required.push(key);
        }
    }

    pub(crate) fn choice<T: Choice>(&mut self) {
        self.properties.extend(T::properties());
        self.one_of
            .extend(T::KEYS.iter().map(|key| json!({ "required": [key] })));
    }

    pub(crate) fn finish(self) -> Json {
        let mut schema = json!({
            "type": "object",
            "description": self.doc.trim(),
            "properties": self.properties,
            "additionalProperties": false,
        });
        if !self.required.is_empty() {
            schema["required"] = json!(self.required);
        }
        if !self.one_of.is_empty() {
            schema["oneOf"] = json!(self.one_of);
        }
        schema
    }
}
