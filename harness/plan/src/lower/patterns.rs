//! Regular expressions, checked before anything is compared with them.

use regex::Regex;

use crate::diagnostic::{Diagnostic, Mistakes};
use crate::document::read::At;

/// Whether it is one; otherwise a mistake is noted.
pub(crate) fn check(pattern: &At<String>, mistakes: &mut Mistakes) -> bool {
    compile(pattern, mistakes).is_some()
}

/// The same of one that picks some texts out of many, and must not take all of them.
pub(crate) fn check_selective(pattern: &At<String>, mistakes: &mut Mistakes) -> bool {
    let Some(regex) = compile(pattern, mistakes) else {
        return false;
    };
    let selective = !regex.is_match("");
    if !selective {
        mistakes.note(
            Diagnostic::at(&pattern.span, "a pattern that everything matches")
                .label("matches even the empty text")
                .help("write words that only this trouble has"),
        );
    }
    selective
}

fn compile(pattern: &At<String>, mistakes: &mut Mistakes) -> Option<Regex> {
    let note = |error: &regex::Error| {
        let text = error.to_string();
        let reason = text
            .lines()
            .last()
            .unwrap_or_default()
            .trim_start_matches("error: ");
        mistakes.note(
            Diagnostic::at(&pattern.span, "not a regular expression")
                .label(reason)
                .help(r"put a backslash before characters meant as they are, such as `\\(`; in '...' one is enough"),
        );
    };
    Regex::new(pattern).inspect_err(note).ok()
}
