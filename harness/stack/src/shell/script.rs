//! What scripts begin with, and how they wait for the end of a program.

/// Begins every script that runs commands. `run` names the command that failed, which `sh -e` alone would not do;
/// `fail` ends the script with a message.
const PRELUDE: &str = r#"fail() { echo "$*" >&2; exit 1; }
run() { "$@" || fail "exit code $?: $*"; }
"#;

/// A script of these lines, with `run` and `fail` at hand.
pub(crate) fn script(body: &str) -> String {
    format!("{PRELUDE}{body}")
}

/// Waits until no process of `program` is left, which was told to end. It looks `tries` times, every 0.2 s; then the script fails,
/// and says `on_failure` as well, which the shell expands as it does between double quotes.
pub(crate) fn wait_for_end(program: &str, tries: u32, on_failure: &str) -> String {
    let detail = match on_failure {
        "" => String::new(),
        said => format!(": {said}"),
    };
    looks_for_end(program, tries, "", &detail)
}

/// The same for a program whose state is safe when it is killed: that is done after `patience` of the looks.
pub(crate) fn wait_for_end_or_kill(program: &str, patience: u32, tries: u32) -> String {
    let kill =
        format!("\x20   [ $tries -ne {patience} ] || kill -KILL $(pidof {program}) || true\n");
    looks_for_end(program, tries, &kill, "")
}

fn looks_for_end(program: &str, tries: u32, meanwhile: &str, detail: &str) -> String {
    format!(
        "tries=0\n\
         while pidof {program} >/dev/null; do\n\
         \x20   tries=$((tries + 1))\n\
         \x20   [ $tries -lt {tries} ] || fail \"{program} does not end{detail}\"\n\
         {meanwhile}\
         \x20   sleep 0.2\n\
         done\n"
    )
}
