//! `expect` of a step as written: one table, or a list of them.

use serde_json::{Value as Json, json};
use toml::Spanned;
use toml::de::DeValue;

use crate::diagnostic::Mistakes;
use crate::document::read::{At, Value, note_wrong_type, read};
use crate::document::table::{choice, table};
use crate::document::value::Nodes;
use crate::plan::StepFailure;
use crate::values::names::NodeName;

table! {
    /// Trouble that a step brings about on purpose: it does not count against the stack, and it must come.
    ExpectEntry, "`expect`", r#"{ kernel_log = "I/O error" }"# {
        /// Of `kernel_log`: the nodes whose kernels may write it. Default: every node.
        on: Nodes, optional;
        /// What is expected.
        sign: Sign, one_of;
    }
}

choice! {
    /// What is expected, as written.
    Sign, "expectation", "expectations" {
        /// Some kernel writes a line that matches this (a regular expression).
        kernel_log => KernelLog(String),
        /// What these nodes serve fails: errors of devices that need them.
        errors_of => ErrorsOf(Nodes),
        /// This node resets itself or panics to protect the cluster; the step ends when it is down.
        fences_itself => FencesItself(NodeName),
        /// The step itself fails, in this way.
        fails => Fails(StepFailure),
    }
}

/// One expectation or a list of them.
#[derive(Debug, Clone)]
pub(crate) struct Expected(pub(crate) Vec<At<ExpectEntry>>);

impl Value for Expected {
    const WANTED: &'static str = "a table or a list of tables";
    const EXAMPLE: &'static str = ExpectEntry::EXAMPLE;

    fn read(value: &Spanned<DeValue<'_>>, mistakes: &mut Mistakes) -> Option<Self> {
        match value.get_ref() {
            DeValue::Table(_) => read(value, mistakes).map(|one| Self(vec![one])),
            DeValue::Array(list) => {
                let entries = list.iter().filter_map(|entry| read(entry, mistakes));
                Some(Self(entries.collect()))
            }
            _ => {
                note_wrong_type::<Self>(value, mistakes);
                None
            }
        }
    }

    fn schema() -> Json {
        let one = ExpectEntry::schema();
        json!({ "anyOf": [one, { "type": "array", "minItems": 1, "items": one }] })
    }
}
