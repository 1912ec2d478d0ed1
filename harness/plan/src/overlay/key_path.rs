//! A setting's way through the file, and the value at its end.

use std::borrow::Cow;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::{Diagnostic, Mistakes, Span};
use crate::overlay::setting::Setting;

/// A word between two dots.
#[derive(Debug, Clone)]
pub(super) struct Part<'a> {
    pub(super) word: &'a str,
    pub(super) span: Span,
}

/// A setting, taken apart.
pub(super) struct KeyPath<'a> {
    pub(super) setting: &'a Setting,
    /// Of the setting's key.
    pub(super) key: Span,
    /// The key's words; never none.
    pub(super) parts: Vec<Part<'a>>,
    /// Of the whole setting.
    line: Span,
    value: Spanned<DeValue<'a>>,
}

impl<'a> KeyPath<'a> {
    pub(super) fn new(setting: &'a Setting, line: &Span, value: Spanned<DeValue<'a>>) -> Self {
        let mut at = line.start;
        let parts = setting.key.split('.').map(|word| {
            let span = at..at + word.len();
            at = span.end + 1;
            Part { word, span }
        });
        let parts = parts.collect();
        Self {
            setting,
            key: line.start..line.start + setting.key.len(),
            parts,
            line: line.clone(),
            value,
        }
    }

    /// The key's text from the first to the last of neighbouring parts.
    pub(super) fn text(&self, parts: &[Part<'a>]) -> &'a str {
        let (Some(first), Some(last)) = (parts.first(), parts.last()) else {
            return "";
        };
        let start = self.key.start;
        &self.setting.key[first.span.start - start..last.span.end - start]
    }

    /// Where the value stands.
    pub(super) fn value_span(&self) -> Span {
        self.value.span()
    }

    /// Where the whole setting stands.
    pub(super) fn line_span(&self) -> Span {
        self.line.clone()
    }

    /// Puts the value at the end of `path` in `table`, which stands at `place`; tables on the way are made.
    pub(super) fn put(
        &self,
        table: &mut DeTable<'a>,
        place: &Span,
        path: &[Part<'a>],
        mistakes: &mut Mistakes,
    ) {
        mistakes.graft(place, &self.line);
        let Some((last, before)) = path.split_last() else {
            return;
        };
        let mut table = table;
        for part in before {
            if !table.contains_key(part.word) {
                let empty = DeValue::Table(DeTable::new());
                table.insert(part.key(), Spanned::new(self.line.clone(), empty));
            }
            let Some(DeValue::Table(inner)) = table.get_mut(part.word).map(Spanned::get_mut) else {
                mistakes.note(
                    Diagnostic::at(&last.span, format!("`{}` is not a table", part.word))
                        .label("has no keys of its own")
                        .help(format!("set `{}` itself", self.upto(part))),
                );
                return;
            };
            table = inner;
        }
        match table.get_mut(last.word) {
            Some(slot) => *slot = self.value.clone(),
            None => {
                table.insert(last.key(), self.value.clone());
            }
        }
    }

    /// The key's text up to the end of a part.
    fn upto(&self, part: &Part<'a>) -> &'a str {
        &self.setting.key[..part.span.end - self.key.start]
    }
}

impl<'a> Part<'a> {
    fn key(&self) -> Spanned<Cow<'a, str>> {
        Spanned::new(self.span.clone(), Cow::Borrowed(self.word))
    }
}
