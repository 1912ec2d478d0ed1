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
