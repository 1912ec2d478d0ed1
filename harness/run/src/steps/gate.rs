//! Commands that wait at a gate in their guests, so that those of several nodes can be let go at once.
//!
//! A command whose time matters reports its begin and end on the event port: the moments are the host's then, to a
//! millisecond or two, where the end of a script in a guest is noticed up to a quarter of a second late.

use sanlab_fleet::EVENT_PORT_PATH;
use tokio::sync::mpsc::Receiver;
use tokio::time::Instant;

use sanlab_plan::quote;

use crate::backend::Line;
use crate::measure::meter::Meter;

/// A script that leaves `command` behind in `folder`, which is new then, waiting at the fifo `go`. `before` is done first.
pub(super) fn waiting(folder: &str, before: &str, command: &str) -> String {
    gated(folder, before, &format!("{command} 2>report\n"))
}

/// The same, and the command's begin and end are reported under the name `id`: by one word each, [`Word`]. Somebody else may
/// have the port open: then nothing is reported.
pub(super) fn timed(folder: &str, id: &str, before: &str, command: &str) -> String {
    let (begin, over) = (say("begin", id), say("over", id));
    gated(
        folder,
        before,
        &format!("{begin}\n{command} 2>report\ncode=$?\n{over}\n(exit $code)\n"),
    )
}

/// A command that says a word about `id` to the host.
pub(super) fn say(word: &str, id: &str) -> String {
    format!("echo {word} {} >{EVENT_PORT_PATH}", quote(id))
}

fn gated(folder: &str, before: &str, commands: &str) -> String {
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
         {commands}\
         echo $? >ended\n\
         ) </dev/null >/dev/null 2>&1 &\n"
    )
}

/// Lets it go, waits for its end, and gives what it said on standard error and its exit code as this script's own.
pub(super) fn release(folder: &str) -> String {
    format!(
        "cd {}\n\
         echo go >go\n\
         {}",
        quote(folder),
        result(folder)
    )
}

/// Lets it go.
pub(super) fn let_go(folder: &str) -> String {
    format!("echo go >{}/go\n", quote(folder))
}

/// Waits for the end of what was let go; see [`release`].
pub(super) fn result(folder: &str) -> String {
    let folder = quote(folder);
    format!(
        "cd {folder}\n\
         read -r code <ended\n\
         cat report >&2\n\
         cd /\n\
         rm -rf {folder}\n\
         exit \"$code\"\n"
    )
}

/// What a timed command reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// It has been let go, or is ready to work.
    Begin,
    /// Its work is done.
    Over,
}

/// What a line of the event port says of `id`; lines of others are nothing to it.
pub(super) fn word(line: &str, id: &str) -> Option<Word> {
    let (word, of) = line.split_once(' ')?;
    match word {
        _ if of != id => None,
        "begin" => Some(Word::Begin),
        "over" => Some(Word::Over),
        _ => None,
    }
}

/// What one timed command has reported so far.
pub(super) struct Times {
    id: String,
    lines: Receiver<Line>,
    pub(super) begun: Option<Instant>,
    pub(super) over: Option<Instant>,
}

impl Times {
    pub(super) fn new(id: String, lines: Receiver<Line>) -> Self {
        Self {
            id,
            lines,
            begun: None,
            over: None,
        }
    }

    /// Listens until the command is over; `false`: its event port closed before.
    pub(super) async fn listen(&mut self, meter: &Meter) -> bool {
        while self.over.is_none() {
            let Some(Line { at, text }) = self.lines.recv().await else {
                return false;
            };
            match word(&text, &self.id) {
                Some(Word::Begin) => {
                    self.begun = Some(at);
                    meter.begins(at);
                }
                Some(Word::Over) => {
                    self.over = Some(at);
                    meter.ends(at);
                }
                None => {}
            }
        }
        true
    }

    /// What was heard last, for messages.
    pub(super) fn progress(&self) -> &'static str {
        match (self.begun, self.over) {
            (_, Some(_)) => "it is over",
            (Some(_), None) => "it has begun",
            (None, None) => "it has not begun",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_let_go_and_heard() {
        insta::assert_snapshot!(release("/run/sanlab/load"));
    }

    #[test]
    fn what_is_timed_tells_of_its_begin_and_end() {
        insta::assert_snapshot!(timed("/run/sanlab/load", "load/1", "sync\n", "dd"));
        assert_eq!(
            word("begin four writers/1", "four writers/1"),
            Some(Word::Begin)
        );
        assert_eq!(
            word("over four writers/1", "four writers/1"),
            Some(Word::Over)
        );
        assert_eq!(word("over four writers/11", "four writers/1"), None);
        assert_eq!(word("ack 5 1000", "1000"), None);
    }
}
