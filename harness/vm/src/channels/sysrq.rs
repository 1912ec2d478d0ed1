//! `SysRq` keys, which a kernel obeys on its console whatever becomes of its processes
//! (Documentation/admin-guide/sysrq.rst), and what it prints then; and the NMI that it panics of.

use sanlab_plan::guest;

/// What stands before the name of what a key does (`drivers/tty/sysrq.c`).
const OBEYED: &str = "sysrq: ";

/// A key, and what the kernel calls it when it obeys.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    pub(crate) key: u8,
    name: &'static str,
}

impl Key {
    const fn new(key: u8, name: &'static str) -> Self {
        Self { key, name }
    }

    /// Whether a line says that the kernel obeys it.
    pub(crate) fn is_obeyed(&self, line: &str) -> bool {
        let said = line.split_once(OBEYED);
        said.is_some_and(|(_, said)| said.starts_with(self.name))
    }
}

const ALL_TASKS: Key = Key::new(b't', "Show State");

/// Backtraces of all CPUs, of blocked tasks and of all tasks, and memory, the most telling first. Before them the console is
/// made to show what they print.
pub(crate) const DUMP_KEYS: &[Key] = &[
    Key::new(b'8', "Changing Loglevel"),
    Key::new(b'l', "Show backtrace of all active CPUs"),
    Key::new(b'w', "Show Blocked State"),
    ALL_TASKS,
    Key::new(b'm', "Show Memory"),
];

/// Puts the console's level back, to that of guests that are provisioned. A kernel obeys a key when it is done with those
/// before it: so the answer says that the dump is at its end.
pub(crate) const LAST_KEY: Key = Key::new(b'0' + guest::CONSOLE_LEVEL, "Loglevel set to 7");

/// A task of a guest's kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Task {
    /// Its program's name, as far as the kernel keeps it.
    pub(crate) name: String,
    /// `R`, `S`, `D`, ... as in ps.
    pub(crate) state: char,
}

impl Task {
    /// It waits for something that no signal ends.
    pub(crate) fn is_blocked(&self) -> bool {
        self.state == 'D'
    }
}

/// Whether a line says that the kernel obeys any key.
pub(crate) fn is_obeyed(line: &str) -> bool {
    line.contains(OBEYED)
}

/// What a kernel says that got an NMI which nothing explains and was told to panic of it: `unknown_nmi_error` in
/// `arch/x86/kernel/nmi.c`.
const OF_AN_NMI: &[&str] = &["NMI received for unknown reason", "NMI: Not continuing"];

/// Whether a line says that the kernel got an NMI and panics of it.
pub(crate) fn is_of_an_nmi(line: &str) -> bool {
    OF_AN_NMI.iter().any(|sign| line.contains(sign))
}

/// All tasks, if the kernel has listed them to the end.
pub(crate) fn all_tasks(lines: &[String]) -> Option<Vec<Task>> {
    let from = lines.iter().position(|line| ALL_TASKS.is_obeyed(line))? + 1;
    let length = lines[from..].iter().position(|line| is_obeyed(line))?;
    Some(tasks(&lines[from..from + length]))
}

/// The tasks that lines tell of, in the words of the kernel's `sched_show_task`:
/// `task:kswapd0         state:D stack:0     pid:51    ppid:2      flags:0x00004000`.
pub(crate) fn tasks(lines: &[String]) -> Vec<Task> {
    let task = |line: &String| {
        let (name, rest) = line.split_once("task:")?.1.split_once(" state:")?;
        let name = name.trim().to_owned();
        Some(Task {
            name,
            state: rest.chars().next()?,
        })
    };
    lines.iter().filter_map(task).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_last_key_names_the_level_of_provisioned_guests() {
        let line = format!("[ 60.1] sysrq: Loglevel set to {}", guest::CONSOLE_LEVEL);
        assert!(LAST_KEY.is_obeyed(&line));
    }

    #[test]
    fn tasks_are_read_to_the_end_of_their_list() {
        let all = "[   60.1] sysrq: Show Blocked State\n\
            [   60.1] task:kswapd0         state:D stack:0     pid:51    ppid:2      flags:0x00004000\n\
            [   60.1] Call Trace:\n\
            [   60.2] sysrq: Show State\n\
            [   60.2] task:(sd-pam) x      state:S stack:0     pid:1     ppid:0      flags:0x00000002\n\
            [   60.2]  <TASK>\n\
            [   60.2] task:rcu_preempt     state:R  running task     stack:0     pid:15    ppid:2      flags:0x00004008\n";
        assert_eq!(all_tasks(&lines(all)), None, "it was cut off");
        let all = lines(&format!("{all}[   60.9] sysrq: Show Memory\n"));
        let task = |name: &str, state| Task {
            name: name.to_owned(),
            state,
        };
        let wanted = [task("(sd-pam) x", 'S'), task("rcu_preempt", 'R')];
        assert_eq!(all_tasks(&all), Some(wanted.into()));
        assert_eq!(tasks(&all)[0], task("kswapd0", 'D'));
        assert!(tasks(&all)[0].is_blocked());
        assert_eq!(all_tasks(&[]), None);
    }
}
