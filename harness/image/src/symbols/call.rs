//! A place in a kernel's code as the kernel itself prints it: a function, and how far into it.

use std::sync::LazyLock;

use regex::Regex;

/// `ocfs2_lock+0x1f/0x40 [ocfs2]`, as `%pS` and `%pB` of the kernel's `printk` write it; from 5.15 on maybe with a build ID.
static CALL: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?P<function>[A-Za-z_][\w.$]*)\+0x(?P<offset>[0-9a-f]{1,8})/0x(?P<size>[0-9a-f]{1,8})(?: \[(?P<module>[\w-]+)(?:\([A-Z]+\))?(?: [0-9a-f]+)?\])?",
    )
    .expect("the pattern is written here")
});

/// What stands before the place where the kernel was, in place of one to which a function returns.
static EXACT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?:^|\s)(?:RIP: [0-9a-f]{4}:|EIP: (?:[0-9a-f]{4}:)?|at \S+:\d+ )$")
        .expect("the pattern is written here")
});

/// A place in a kernel's code.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Call {
    /// The function's name.
    pub function: String,
    /// Bytes from its beginning.
    pub offset: u64,
    /// Bytes from its beginning to that of the next function.
    pub size: u64,
    /// The module that it belongs to; absent: the kernel proper.
    pub module: Option<String>,
    /// It is where the kernel was; otherwise the instruction before it is meant, which called another function.
    pub exact: bool,
}

impl Call {
    /// The first one of a line of the kernel log, without its time.
    ///
    /// ```
    /// use sanlab_image::Call;
    /// let call = Call::of_line(" ? ocfs2_lock+0x1f/0x40 [ocfs2]").unwrap();
    /// assert_eq!((call.function.as_str(), call.offset, call.size), ("ocfs2_lock", 0x1f, 0x40));
    /// assert_eq!(call.module.as_deref(), Some("ocfs2"));
    /// ```
    pub fn of_line(line: &str) -> Option<Self> {
        let found = CALL.captures(line)?;
        let number = |name| u64::from_str_radix(&found[name], 16).ok();
        let before = &line[..found.get(0)?.start()];
        Some(Self {
            function: found["function"].to_owned(),
            offset: number("offset")?,
            size: number("size")?,
            module: found.name("module").map(|it| it.as_str().to_owned()),
            exact: EXACT.is_match(before),
        })
    }

    /// The byte that is looked up, from the function's beginning: of the instruction that called another function, the last.
    pub(crate) fn within(&self) -> Option<u64> {
        let back = u64::from(!self.exact && self.offset > 0);
        Some(self.offset - back).filter(|within| *within < self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_ways_to_print_a_place_are_read() {
        let told = |line: &str| {
            let Some(call) = Call::of_line(line) else {
                return "nothing".to_owned();
            };
            let module = call.module.clone().unwrap_or("-".to_owned());
            let within = call.within();
            format!("{} {within:x?} of {:x} {module}", call.function, call.size)
        };
        for (line, expected) in [
            (
                "RIP: 0010:sysrq_handle_crash+0x16/0x20",
                "sysrq_handle_crash Some(16) of 20 -",
            ),
            (
                "EIP: sysrq_handle_crash+0xd/0x10",
                "sysrq_handle_crash Some(d) of 10 -",
            ),
            (
                "EIP: 0060:dlm_lock+0xd/0x10 [dlm]",
                "dlm_lock Some(d) of 10 dlm",
            ),
            (
                "WARNING: CPU: 0 PID: 88 at fs/dlm/requestqueue.c:47 dlm_add_requestqueue+0x9b/0xa0 [dlm]",
                "dlm_add_requestqueue Some(9b) of a0 dlm",
            ),
            (
                "__handle_sysrq.cold+0x48/0x11e",
                "__handle_sysrq.cold Some(47) of 11e -",
            ),
            (
                "? ocfs2_wait+0x0/0x40 [ocfs2(OE) 0123abcd]",
                "ocfs2_wait Some(0) of 40 ocfs2",
            ),
            // A function that never returns may be the last thing that another one does.
            ("die+0x20/0x20", "die Some(1f) of 20 -"),
            ("RIP: 0010:die+0x20/0x20", "die None of 20 -"),
            ("RIP: 0033:0x7f3c12345678", "nothing"),
            ("Modules linked in: ocfs2(OE) nbd", "nothing"),
        ] {
            assert_eq!(told(line), expected, "{line}");
        }
    }
}
