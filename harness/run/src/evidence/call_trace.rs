//! What a console's log says of a kernel's calls after a line of trouble.

use sanlab_fleet::Call;

use crate::evidence::complaint::{announces_traces, classify};
use crate::evidence::kernel_log;

/// How many lines a report has at most: registers, modules, and a call trace for each context.
const REPORT: usize = 200;

/// How a report ends.
const END: &str = "---[ end ";

/// A line of a report with a place in the kernel's code, without its time.
pub(crate) type TracedCall = (String, Call);

/// The calls of the report that begins with `text`, a line of the kernel log without its time, where it stands first: of that line
/// and of those after it, as far as the report goes. What another report says is left to that.
pub(crate) fn of_report(console: &str, text: &str) -> Vec<TracedCall> {
    let mut lines = console.lines().map(kernel_log::without_time);
    let Some(first) = lines.find(|line| *line == text) else {
        return Vec::new();
    };
    let is_over = |line: &&str| {
        let another = classify(line).is_some() && !line.ends_with("Call Trace:");
        line.starts_with(END) || another || announces_traces(line)
    };
    let rest = lines.take(REPORT).take_while(|line| !is_over(line));
    let calls = std::iter::once(first).chain(rest);
    let calls = calls.filter_map(|line| Some((line.to_owned(), Call::of_line(line)?)));
    calls.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONSOLE: &str = "\
[   60.1] BUG: kernel NULL pointer dereference, address: 00000010\r
[   60.1] #PF: supervisor read access in kernel mode\r
[   60.1] Oops: 0000 [#1] PREEMPT SMP PTI\r
[   60.1] CPU: 0 PID: 88 Comm: dd Tainted: G           OE      6.1.0-50-amd64\r
[   60.1] RIP: 0010:ocfs2_lock+0x1f/0x40 [ocfs2]\r
[   60.1] Code: 0f 1f\r
[   60.1] Call Trace:\r
[   60.1]  <TASK>\r
[   60.1]  ? page_fault_oops+0xd2/0x2b0\r
[   60.1]  vfs_write+0x1b6/0x420\r
[   60.1]  </TASK>\r
[   60.1] Modules linked in: ocfs2(OE) nbd\r
[   60.1] ---[ end trace 0000000000000000 ]---\r
[   60.1] RIP: 0010:ocfs2_lock+0x1f/0x40 [ocfs2]\r
[   60.2] Kernel panic - not syncing: Fatal exception\r
[   70.0] WARNING: CPU: 0 PID: 88 at fs/dlm/requestqueue.c:47 dlm_add_requestqueue+0x9b/0xa0 [dlm]\r
";

    fn calls(text: &str) -> Vec<String> {
        let calls = of_report(CONSOLE, text).into_iter();
        calls.map(|(line, _)| line).collect()
    }

    #[test]
    fn a_report_has_the_calls_up_to_its_end() {
        assert_eq!(
            calls("Oops: 0000 [#1] PREEMPT SMP PTI"),
            [
                "RIP: 0010:ocfs2_lock+0x1f/0x40 [ocfs2]",
                "? page_fault_oops+0xd2/0x2b0",
                "vfs_write+0x1b6/0x420",
            ]
        );
    }

    #[test]
    fn a_line_without_a_trace_of_its_own_has_none() {
        for text in [
            "BUG: kernel NULL pointer dereference, address: 00000010",
            "Kernel panic - not syncing: Fatal exception",
            "Oops: of another console",
        ] {
            assert!(calls(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn a_warning_names_the_place_itself() {
        let warning = "WARNING: CPU: 0 PID: 88 at fs/dlm/requestqueue.c:47 dlm_add_requestqueue+0x9b/0xa0 [dlm]";
        assert_eq!(calls(warning), [warning]);
    }
}
