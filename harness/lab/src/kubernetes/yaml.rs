//! Plain data as YAML, for people to read: in blocks, with texts of several lines as they are. Keys are sorted, as kubectl prints them.
//!
//! JSON would be YAML too; scenario files in it would be one long line each. Whatever a text holds is read as that text by YAML 1.1 and 1.2.

use serde_json::Value;

/// A document, which ends with a line break.
pub(crate) fn document(value: &Value) -> String {
    let mut out = String::new();
    block(value, 0, &mut out);
    out
}

/// What a line that is begun goes on with: a scalar on it, or a block below it.
fn after(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push('\n');
            block(value, indent, out);
        }
        Value::Array(list) if !list.is_empty() => {
            out.push('\n');
            block(value, indent, out);
        }
        _ => {
            out.push(' ');
            scalar(value, indent, out);
        }
    }
}

fn block(value: &Value, indent: usize, out: &mut String) {
    let begin = " ".repeat(indent);
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                out.push_str(&begin);
                out.push_str(&word(key));
                out.push(':');
                after(value, indent + 2, out);
            }
        }
        Value::Array(list) if !list.is_empty() => {
            for value in list {
                // A map in a list begins on the line of its dash.
                let mut inner = String::new();
                block(value, indent + 2, &mut inner);
                out.push_str(&begin);
                out.push_str("- ");
                out.push_str(inner.trim_start_matches(' '));
            }
        }
        _ => {
            out.push_str(&begin);
            scalar(value, indent, out);
        }
    }
}

fn scalar(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::String(text) if is_literal(text) => literal(text, indent, out),
        Value::String(text) => {
            out.push_str(&word(text));
            out.push('\n');
        }
        // Numbers, truth values, nothing, and what is empty are the same in JSON.
        other => {
            out.push_str(&other.to_string());
            out.push('\n');
        }
    }
}

/// Whether a text has several lines, all of which can stand as they are.
fn is_literal(text: &str) -> bool {
    text.contains('\n')
        && !text.trim().is_empty()
        && text
            .chars()
            .all(|c| c == '\n' || c == '\t' || !is_special(c))
}

fn literal(text: &str, indent: usize, out: &mut String) {
    // Without it the first line's spaces would be taken for the indentation.
    let indicator = if text.starts_with([' ', '\t', '\n']) {
        "2"
    } else {
        ""
    };
    let (body, chomping) = match text.strip_suffix('\n') {
        Some(body) if body.ends_with('\n') => (body, "+"),
        Some(body) => (body, ""),
        None => (text, "-"),
    };
    out.push('|');
    out.push_str(indicator);
    out.push_str(chomping);
    out.push('\n');
    for line in body.split('\n') {
        if !line.is_empty() {
            out.push_str(&" ".repeat(indent));
            out.push_str(line);
        }
        out.push('\n');
    }
}

/// A text on one line: as it is where no reader can take it for anything else, or else in quotes.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:".contains(c);
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let lower = text.to_ascii_lowercase();
    let means = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    if begins && !text.ends_with(':') && text.chars().all(plain) && !means.contains(&lower.as_str())
    {
        return text.to_owned();
    }
    let escaped = text.chars().map(|c| match c {
        '"' | '\\' => format!("\\{c}"),
        '\n' => "\\n".to_owned(),
        '\t' => "\\t".to_owned(),
        c if is_special(c) => format!("\\u{:04X}", u32::from(c)),
        c => c.to_string(),
    });
    format!("\"{}\"", escaped.collect::<String>())
}

/// What is not printable in YAML's sense, or breaks lines; all of them have four digits at most.
fn is_special(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
        )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn blocks_lists_and_texts_are_as_people_write_them() {
        let value = json!({
            "args": ["--keep-going", "scenarios/a b.toml", "yes", "8", "", "x:", "# no", "registry:5000/a"],
            "empty": {"list": [], "map": {}},
            "nested": [[1, 2], [{"a": null, "b": true}], {"c": [{"d": 1}]}],
            "no": "on",
            "texts": ["one\ntwo\n", {"t": "  led by spaces\n\n\tby a tab \n"}],
            "more": "two breaks\n\n",
            "none": "a\nb",
            "quoted": "a\r\nb",
            "blank": "\n \n",
            "told": "\u{1b}[1m \"C:\\\" ä 𝄞 \u{2028}",
        });
        insta::assert_snapshot!(document(&value));
    }
}
