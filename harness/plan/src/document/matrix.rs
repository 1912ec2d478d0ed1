//! `[matrix]`: keys of the scenario, each with the values of which every combination is a variant.

use std::borrow::Cow;

use serde_json::{Value as Json, json};
use toml::Spanned;
use toml::de::DeValue;

use crate::diagnostic::{Diagnostic, Mistakes};
use crate::document::read::{At, Field, Table, Value, read};

/// A key, written as for `--set`, and its values.
#[derive(Debug, Clone)]
pub(crate) struct Matrix(pub(crate) Vec<(String, Field<Vec<At<String>>>)>);

impl Value for Matrix {
    const WANTED: &'static str = "a table of lists";
    const EXAMPLE: &'static str = r#"{ kernel = ["bookworm", "trixie"] }"#;

    fn read(value: &Spanned<DeValue<'_>>, mistakes: &mut Mistakes) -> Option<Self> {
        let table = Table::open::<Self>("`matrix`", value, mistakes)?;
        let axis = |(key, values): (&Spanned<Cow<'_, str>>, &Spanned<DeValue<'_>>)| {
            let values: Field<Vec<At<String>>> = read(values, mistakes);
            if let Some(values) = &values {
                check(values, mistakes);
            }
            (key.get_ref().to_string(), values)
        };
        Some(Self(table.entries().map(axis).collect()))
    }

    fn schema() -> Json {
        let list = json!({ "type": "array", "items": { "type": "string" }, "minItems": 1 });
        json!({ "type": "object", "additionalProperties": list })
    }
}

fn check(values: &At<Vec<At<String>>>, mistakes: &mut Mistakes) {
    if values.value.is_empty() {
        mistakes.note(
            Diagnostic::at(&values.span, "a list of no values")
                .label("no value")
                .help("name at least one value, or leave the key out"),
        );
    }
    for (number, value) in values.value.iter().enumerate() {
        let mut before = values.value[..number].iter();
        if let Some(first) = before.find(|other| other.value == value.value) {
            mistakes.note(
                Diagnostic::at(&value.span, format!("`{}` stands there twice", value.value))
                    .label("again")
                    .also(&first.span, "the first one")
                    .help("name each value once"),
            );
        }
    }
}
