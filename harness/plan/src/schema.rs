//! JSON Schema of scenario files, for editors.

use serde_json::json;

use crate::document::Document;
use crate::read::Value;

/// The text of `scenarios/schema.json`. It knows keys, types, words and defaults; [`crate::parse`] knows the rest.
pub fn schema() -> String {
    let mut schema = Document::schema();
    schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    schema["title"] = json!("sanlab scenario");
    let mut text = format!("{schema:#}");
    text.push('\n');
    text
}
