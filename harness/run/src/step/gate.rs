//! Commands that wait at a gate in their guests, so that those of several nodes can be let go at once.

use crate::tasks::quote;

/// A script that leaves `command` behind in `folder`, which is new then, waiting at the fifo `go`. `before` is done first.
pub(super) fn waiting(folder: &str, before: &str, command: &str) -> String {
    let folder = quote(folder);
    format!(
        "rm -rf {folder}\n\
         mkdir -p {folder}\n\
         cd {folder}\n\
         mkfifo go ended\n\
         {before}\
         (\n\
         set +e\n\
         read -r go <go\n\
         {command} 2>report\n\
         echo $? >ended\n\
         ) </dev/null >/dev/null 2>&1 &\n"
    )
}

/// Lets it go, waits for its end, and gives what it said on standard error and its exit code as this script's own.
pub(super) fn release(folder: &str) -> String {
    let folder = quote(folder);
    format!(
        "cd {folder}\n\
         echo go >go\n\
         read -r code <ended\n\
         cat report >&2\n\
         cd /\n\
         rm -rf {folder}\n\
         exit \"$code\"\n"
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_waits_is_let_go_and_heard() {
        insta::assert_snapshot!(super::release("/run/sanlab/load"));
    }
}
