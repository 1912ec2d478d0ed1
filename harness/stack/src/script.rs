//! Pieces of shell text.

/// Begins every script that runs commands. `run` names the command that failed, which `sh -e` alone would not do;
/// `fail` ends the script with a message.
const PRELUDE: &str = r#"fail() { echo "$*" >&2; exit 1; }
run() { "$@" || fail "exit code $?: $*"; }
"#;

/// A script of these lines, with `run` and `fail` at hand.
pub(crate) fn script(body: &str) -> String {
    format!("{PRELUDE}{body}")
}

/// A word that the shell takes as it is.
pub(crate) fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn quotes_what_a_shell_would_read() {
        assert_eq!(super::quote("a$b 'c'"), r"'a$b '\''c'\'''");
    }
}
