//! Which lines of a console a kernel says by itself, and which it was made to print.

use crate::channels::kernel_log::{Trouble, trouble};
use crate::channels::sysrq::{self, LAST_KEY};

/// How much is kept of what comes while a guest is examined: all of a dump, many times over.
const KEPT: usize = 8 << 20;

/// Why a line was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The kernel, or a program, said it by itself.
    Guest,
    /// It came among what a kernel was made to print.
    Dump,
    /// It came after an NMI of which the kernel was to panic.
    Nmi,
}

/// What a kernel has been asked to print. A dump begins with the answer to a first key and ends with that to the last, however
/// late they come: a busy kernel may obey long after nobody waits for it any more.
#[derive(Debug, Default)]
pub(crate) struct Dumps {
    /// How many have been asked for and are not at their end.
    awaited: u32,
    running: bool,
    nmi: Nmi,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Nmi {
    #[default]
    No,
    Sent,
    Taken,
}

impl Dumps {
    /// Another will be asked for, from the first key to the last.
    pub(crate) fn begins(&mut self) {
        self.awaited += 1;
    }

    /// An NMI is about to be sent; or it was not, after all.
    pub(crate) fn nmi_is_sent(&mut self, sent: bool) {
        self.nmi = if sent { Nmi::Sent } else { Nmi::No };
    }

    /// Why the next line was said.
    pub(crate) fn origin(&mut self, line: &str) -> Origin {
        if self.nmi == Nmi::Sent && sysrq::is_of_an_nmi(line) {
            self.nmi = Nmi::Taken;
        }
        if self.nmi == Nmi::Taken {
            return Origin::Nmi;
        }
        self.running |= self.awaited > 0 && sysrq::is_obeyed(line);
        if !self.running {
            return Origin::Guest;
        }
        if LAST_KEY.is_obeyed(line) {
            self.running = false;
            self.awaited -= 1;
        } else if trouble(line) == Some(Trouble::Panic) {
            // It obeys nothing any more.
            *self = Self::default();
            return Origin::Guest;
        }
        Origin::Dump
    }
}

/// What comes while a guest is examined.
#[derive(Debug, Default)]
pub(crate) struct Capture {
    lines: Vec<String>,
    bytes: usize,
    left_out: u64,
}

impl Capture {
    pub(crate) fn push(&mut self, line: &str) {
        // The answers to keys are few, and awaited.
        if self.bytes + line.len() > KEPT && !sysrq::is_obeyed(line) {
            self.left_out += 1;
            return;
        }
        self.bytes += line.len();
        self.lines.push(line.to_owned());
    }

    pub(crate) fn lines(&self) -> &[String] {
        &self.lines
    }

    /// All of it, with a line that says how many are left out.
    pub(crate) fn all(&self) -> Vec<String> {
        let mut all = self.lines.clone();
        if self.left_out > 0 {
            all.push(format!("# {} lines are left out here", self.left_out));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(dumps: &mut Dumps, text: &str) -> String {
        let sign = |line| match dumps.origin(line) {
            Origin::Guest => 'g',
            Origin::Dump => 'd',
            Origin::Nmi => 'n',
        };
        text.lines().map(sign).collect()
    }

    #[test]
    fn a_dump_lasts_from_the_first_answer_to_the_last() {
        let mut dumps = Dumps::default();
        let dump = "[ 1.0] Oops: 0002 [#1] PREEMPT SMP\n\
            [ 1.1] sysrq: Changing Loglevel\n\
            [ 1.2] sysrq: Loglevel set to 8\n\
            [ 1.3] Call Trace:\n\
            [ 1.4] sysrq: Loglevel set to 7\n\
            [ 1.5] Call Trace:\n";
        assert_eq!(origins(&mut dumps, dump), "gggggg", "nobody asked");
        dumps.begins();
        assert_eq!(origins(&mut dumps, dump), "gddddg");
        dumps.begins();
        dumps.begins();
        assert_eq!(origins(&mut dumps, &dump.repeat(3)), "gddddggddddggggggg");
    }

    #[test]
    fn a_panic_ends_a_dump() {
        let mut dumps = Dumps::default();
        dumps.begins();
        let text = "[ 1.0] sysrq: Show State\n\
            [ 1.1] task:init            state:S\n\
            [ 1.2] Kernel panic - not syncing: x\n\
            [ 1.3] Call Trace:\n";
        assert_eq!(origins(&mut dumps, text), "ddgg");
    }

    #[test]
    fn after_an_nmi_nothing_is_the_guests_own() {
        let mut dumps = Dumps::default();
        let text = "[ 1.0] Oops: 0002 [#1] PREEMPT SMP\n\
            [ 1.1] Uhhuh. NMI received for unknown reason 20 on CPU 0.\n\
            [ 1.2] Kernel panic - not syncing: NMI: Not continuing\n\
            [ 1.3] Call Trace:\n";
        dumps.begins();
        dumps.nmi_is_sent(true);
        dumps.nmi_is_sent(false);
        assert_eq!(origins(&mut dumps, text), "gggg", "it was not sent");
        dumps.nmi_is_sent(true);
        assert_eq!(origins(&mut dumps, text), "gnnn");
    }

    #[test]
    fn what_is_captured_has_a_bound_and_answers_are_always_in_it() {
        let mut capture = Capture::default();
        let line = "x".repeat(KEPT / 4);
        for _ in 0..9 {
            capture.push(&line);
        }
        capture.push("[ 1.1] sysrq: Show State");
        assert_eq!(capture.lines().len(), 5);
        assert_eq!(
            capture.all()[4..],
            ["[ 1.1] sysrq: Show State", "# 5 lines are left out here"]
        );
    }
}
