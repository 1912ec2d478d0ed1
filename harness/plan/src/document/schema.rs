//! JSON Schema of scenario files and their bases, for editors.

use serde_json::{Map, Value as Json, json};

use crate::document::Document;
use crate::document::read::Value;

/// The text of `scenarios/schema.json`. It knows keys, types, words and defaults; [`crate::parse`] knows the rest.
pub fn schema() -> String {
    let mut schema = Document::schema();
    schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    schema["title"] = json!("sanlab scenario");
    // What a base gives can be left out, of nodes and layers key by key; a base has no name.
    let required = schema
        .as_object_mut()
        .and_then(|keys| keys.remove("required"));
    let mut required = json!({ "required": required });
    for key in ["nodes", "layer"] {
        required["properties"][key] = take_required(&mut schema["properties"][key]);
    }
    schema["if"] = json!({ "required": ["name"], "not": { "required": ["base"] } });
    schema["then"] = required;
    let mut text = format!("{schema:#}");
    text.push('\n');
    text
}

/// Takes the required keys out of a schema and the schemas inside it; gives a schema of nothing else.
fn take_required(schema: &mut Json) -> Json {
    let mut taken = Map::new();
    let Some(keys) = schema.as_object_mut() else {
        return json!({});
    };
    taken.extend(keys.remove_entry("required"));
    for inner in ["items", "additionalProperties"] {
        let schema = keys.get_mut(inner);
        let inside = schema.map_or(json!({}), take_required);
        if inside != json!({}) {
            taken.insert(inner.to_owned(), inside);
        }
    }
    let properties = keys.get_mut("properties").and_then(Json::as_object_mut);
    let properties = properties.into_iter().flatten();
    let properties: Map<String, Json> = properties
        .map(|(key, schema)| (key.clone(), take_required(schema)))
        .filter(|(_, taken)| *taken != json!({}))
        .collect();
    if !properties.is_empty() {
        taken.insert("properties".to_owned(), Json::Object(properties));
    }
    Json::Object(taken)
}
