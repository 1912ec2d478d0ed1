//! `[vary]`: keys of the scenario, each with a range of values to look for failures in.

use std::borrow::Cow;

use serde_json::{Value as Json, json};
use toml::Spanned;
use toml::de::DeValue;

use crate::diagnostic::Mistakes;
use crate::document::read::{Field, Table, Value, read};
use crate::values::range::Range;

/// A key, written as for `--set`, and its range.
#[derive(Debug, Clone)]
pub(crate) struct Vary(pub(crate) Vec<(String, Field<Range>)>);

impl Value for Vary {
    const WANTED: &'static str = "a table of ranges";
    const EXAMPLE: &'static str = r#"{ "step.cut.after" = "0s..3s" }"#;

    fn read(value: &Spanned<DeValue<'_>>, mistakes: &mut Mistakes) -> Option<Self> {
        let table = Table::open::<Self>("`vary`", value, mistakes)?;
        let one = |(key, range): (&Spanned<Cow<'_, str>>, &Spanned<DeValue<'_>>)| {
            (key.get_ref().to_string(), read(range, mistakes))
        };
        Some(Self(table.entries().map(one).collect()))
    }

    fn schema() -> Json {
        json!({ "type": "object", "additionalProperties": Range::schema() })
    }
}
