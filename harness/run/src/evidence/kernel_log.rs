//! Lines of the kernel log: without their times, and what they say about the cluster.

use std::sync::LazyLock;

use regex::Regex;

/// The cluster's news: who connected, joined, left, mounted, which paths and peers were lost and came back.
static NEWS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"^(?:(?:o2dlm|o2net|o2hb|o2cb|ocfs2|device-mapper: multipath|block drbd\d+): |dlm: (?:closing connection|\S+: (?:(?:add|remove) member|dlm_recover \d+ generation))|gfs2: fsid=\S+: (?:recover |Joined cluster)|drbd |connection\d+:\d+: (?:detected conn error|ping timeout)|session\d+: session recovery timed out|block nbd\d+: (?:Connection timed out|Dead connection|reconnected socket|Receive control failed))",
    )
    .expect("the pattern is written here")
});

/// Whether a line, without its time, is about the cluster.
pub(crate) fn is_news(line: &str) -> bool {
    NEWS.is_match(line)
}

/// `[   12.345678] text` or, with the caller's mark, `[   12.345678][  T1] text`; a console adds `\r`.
pub(crate) fn without_time(line: &str) -> &str {
    let mut rest = line.trim();
    while let Some((mark, after)) = rest
        .strip_prefix('[')
        .and_then(|inner| inner.split_once(']'))
    {
        if !mark
            .trim_start()
            .starts_with(|c: char| c.is_ascii_digit() || c == 'T' || c == 'C')
        {
            break;
        }
        rest = after.trim_start();
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_lose_their_times() {
        for (line, without) in [
            (
                "[   61.1] Kernel panic - not syncing: x\r",
                "Kernel panic - not syncing: x",
            ),
            (
                "[   12.0][  T88] WARNING: CPU: 0 PID: 88 at x",
                "WARNING: CPU: 0 PID: 88 at x",
            ),
            ("[unknown] o2net: x", "[unknown] o2net: x"),
            ("o2net: x", "o2net: x"),
        ] {
            assert_eq!(without_time(line), without);
        }
    }

    #[test]
    fn news_are_lines_of_the_cluster() {
        for line in [
            "o2dlm: Node 4 joins domain 8F2B ( 0 1 2 3 4 ) 5 nodes",
            "ocfs2: Mounting device (254,0) on (node 4, slot 4) with ordered data mode.",
            "device-mapper: multipath: 253:0: Failing path 43:0.",
            "gfs2: fsid=san:lv.0: recover generation 3 done",
            "dlm: closing connection to node 3",
            "dlm: lv: add member 3",
            "dlm: lv: dlm_recover 3 generation 3 done: 24 ms",
            "drbd r0: PingAck did not arrive in time.",
            "block nbd0: Dead connection, failed to find a fallback",
            "connection1:0: detected conn error (1020)",
            "session1: session recovery timed out after 120 secs",
        ] {
            assert!(is_news(line), "{line}");
        }
        for line in [
            "block nbd0: Other side returned error (5)",
            "EXT4-fs (vda): mounted",
            "dlm: lv: dlm_recover_directory 0 in 0 new",
            "[unknown] o2net: x",
        ] {
            assert!(!is_news(line), "{line}");
        }
    }
}
