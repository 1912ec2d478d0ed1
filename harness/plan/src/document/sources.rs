//! The text of a scenario and those of its bases: read, and understood as TOML.

use std::io;
use std::path::{Component, Path, PathBuf};

use toml::de::DeTable;

use crate::diagnostic::{Diagnostic, Mistakes};
use crate::document::read::note_wrong_type;
use crate::overlay::SourceText;

/// How the text of a base is got at: this crate opens no file.
pub(crate) type ReadFile<'r> = &'r dyn Fn(&Path) -> io::Result<String>;

/// Puts the bases onto the source text, and gives a text to parse for each file, the scenario's first. It ends early after a
/// noted mistake; `None`: the scenario itself is not TOML.
pub(crate) fn gather(
    source_text: &mut SourceText,
    read: ReadFile<'_>,
    mistakes: &mut Mistakes,
) -> Option<Vec<String>> {
    let mut texts = vec![source_text.padded(0)];
    let mut table = read_table(&texts[0], mistakes)?;
    while let Some(base) = table.get("base") {
        let Some(written) = base.get_ref().as_str() else {
            note_wrong_type::<String>(base, mistakes);
            break;
        };
        let path = beside(source_text.path(texts.len() - 1), written);
        match fetch(&path, source_text, read) {
            Ok(text) => source_text.add_file(&path, &text),
            Err((title, label, help)) => {
                let mistake = Diagnostic::at(&base.span(), title);
                mistakes.note(mistake.label(label).help(help));
                break;
            }
        }
        let text = source_text.padded(texts.len());
        texts.push(text);
        match read_table(&texts[texts.len() - 1], mistakes) {
            Some(next) => table = next,
            None => break,
        }
    }
    Some(texts)
}

/// A base's text, or title, label and help of why there is none.
fn fetch(
    path: &Path,
    source_text: &SourceText,
    read: ReadFile<'_>,
) -> Result<String, (String, &'static str, &'static str)> {
    let shown = path.display();
    if source_text.has_file(path) {
        return Err((
            format!("`{shown}` would be a base of itself"),
            "leads round in a circle",
            "drop one `base` of the circle; what its files share can stand in a file without a `base`",
        ));
    }
    read(path).map_err(|error| {
        let help = "give its path from the folder of this file, such as `base/volume.toml`";
        if error.kind() == io::ErrorKind::NotFound {
            (format!("no base file `{shown}`"), "not there", help)
        } else {
            let title = format!("the base file `{shown}` cannot be read: {error}");
            (title, "cannot be read", help)
        }
    })
}

/// The path of a base that is written in a file; `x/../` in it is left out.
pub(crate) fn beside(file: &Path, base: &str) -> PathBuf {
    let mut path = PathBuf::new();
    for part in file.with_file_name(base).components() {
        let inside = matches!(path.components().next_back(), Some(Component::Normal(_)));
        match part {
            Component::CurDir => {}
            Component::ParentDir if inside => {
                path.pop();
            }
            part => path.push(part),
        }
    }
    path
}

fn read_table<'a>(text: &'a str, mistakes: &mut Mistakes) -> Option<DeTable<'a>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        mistakes.note(
            Diagnostic::at(&span, format!("not TOML: {}", error.message()))
                .label("here")
                .help(syntax_help(error.message())),
        );
    }
    // What was recovered is a guess.
    errors.is_empty().then(|| table.into_inner())
}

fn syntax_help(message: &str) -> &'static str {
    if message.contains("duplicate key") {
        "keep one of them; a list of tables has `[[layer]]` or `[[step]]` before each"
    } else if message.contains("string") || message.contains("quote") {
        "put text between two `\"` on one line"
    } else {
        "a line is `key = value`, `[table]` or `[[list]]`; text, sizes and times stand in quotes: see https://toml.io"
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::beside;

    #[test]
    fn a_base_is_looked_for_beside_the_file_that_names_it() {
        for (file, base, path) in [
            (
                "scenarios/a/x.toml",
                "base/b.toml",
                "scenarios/a/base/b.toml",
            ),
            (
                "scenarios/a/x.toml",
                "../b/base/c.toml",
                "scenarios/b/base/c.toml",
            ),
            ("a/base/b.toml", "c.toml", "a/base/c.toml"),
            ("./x.toml", "./base/b.toml", "base/b.toml"),
            ("x.toml", "../base/b.toml", "../base/b.toml"),
            ("a/x.toml", "../../base/b.toml", "../base/b.toml"),
            ("x.toml", "/srv/base/b.toml", "/srv/base/b.toml"),
        ] {
            assert_eq!(
                beside(Path::new(file), base),
                Path::new(path),
                "{file}, {base}"
            );
        }
    }
}
