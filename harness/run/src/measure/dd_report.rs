//! What dd says about itself on standard error.

/// A finished dd's own figures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct DdReport {
    /// Bytes copied.
    pub(crate) bytes: u64,
    /// Time that it measured.
    pub(crate) seconds: f64,
}

/// Finds the report in what a dd wrote to standard error under `LC_ALL=C`. The last one counts: SIGUSR1 and
/// `status=progress` make dd report before its end as well.
///
/// coreutils of the article's time: `419430400 bytes (419 MB) copied, 6.65249 seconds, 63.0 MB/s`; of today:
/// `419430400 bytes (419 MB, 400 MiB) copied, 6.65249 s, 63.0 MB/s`, with `1 byte` and without a parenthesis for
/// few bytes; busybox: `419430400 bytes (400.0MB) copied, 6.652490 seconds, 60.1MB/s`.
pub(crate) fn parse(stderr: &str) -> Option<DdReport> {
    stderr.split(['\n', '\r']).rev().find_map(parse_line)
}

fn parse_line(line: &str) -> Option<DdReport> {
    let (amount, rest) = line.split_once(" copied, ")?;
    let mut words = amount.split_whitespace();
    let bytes = words.next()?.parse().ok()?;
    if !matches!(words.next()?, "byte" | "bytes") {
        return None;
    }
    let (seconds, unit) = rest.split(',').next()?.trim().split_once(' ')?;
    let seconds: f64 = seconds.parse().ok()?;
    let known =
        matches!(unit, "s" | "sec" | "second" | "seconds") && seconds.is_finite() && seconds >= 0.0;
    known.then_some(DdReport { bytes, seconds })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn figures(stderr: &str) -> Option<(u64, f64)> {
        parse(stderr).map(|report| (report.bytes, report.seconds))
    }

    #[test]
    fn reads_dd_of_all_ages() {
        let article = "400+0 records in\n400+0 records out\n419430400 bytes (419 MB) copied, 6.65249 seconds, 63.0 MB/s\n";
        assert_eq!(figures(article), Some((419_430_400, 6.652_49)));
        let today = "400+0 records in\n400+0 records out\n419430400 bytes (419 MB, 400 MiB) copied, 6.65249 s, 63.0 MB/s\n";
        assert_eq!(figures(today), Some((419_430_400, 6.652_49)));
        let quick = "1+0 records in\n1+0 records out\n512 bytes copied, 5.0313e-05 s, 10.2 MB/s\n";
        assert_eq!(figures(quick), Some((512, 5.0313e-5)));
        let tiny = "1+0 records in\n1+0 records out\n1 byte copied, 0.000145232 s, 6.9 kB/s";
        assert_eq!(figures(tiny), Some((1, 0.000_145_232)));
        let nothing = "0+0 records in\n0+0 records out\n0 bytes copied, 0.000112 s, 0.0 kB/s";
        assert_eq!(figures(nothing), Some((0, 0.000_112)));
        let minutes = "4194304000 bytes (4.2 GB, 3.9 GiB) copied, 101 s, 41.5 MB/s";
        assert_eq!(figures(minutes), Some((4_194_304_000, 101.0)));
        let infinite = "0 bytes copied, 0 s, Infinity B/s";
        assert_eq!(figures(infinite), Some((0, 0.0)));
        let busybox = "4+0 records in\n4+0 records out\n4194304 bytes (4.0MB) copied, 0.001466 seconds, 2.7GB/s\n";
        assert_eq!(figures(busybox), Some((4_194_304, 0.001_466)));
    }

    #[test]
    fn the_last_report_counts() {
        let progress = "1048576 bytes (1.0 MB, 1.0 MiB) copied, 1 s, 1.0 MB/s\r2097152 bytes (2.1 MB, 2.0 MiB) copied, 2 s, 1.0 MB/s\n\
                        3+0 records in\n3+0 records out\n3145728 bytes (3.1 MB, 3.0 MiB) copied, 2.5 s, 1.3 MB/s\n";
        assert_eq!(figures(progress), Some((3_145_728, 2.5)));
    }

    #[test]
    fn no_report_is_no_figure() {
        for stderr in [
            "",
            "dd: failed to open '/mnt/x': No such file or directory\n",
            "400+0 records in\n400+0 records out\n",
            "many bytes copied, 1 s, 2 MB/s",
            "5 blocks copied, 1 s, 2 MB/s",
            "5 bytes copied, soon s, 2 MB/s",
            "5 bytes copied, NaN s, 2 MB/s",
            "5 bytes copied, 3 fortnights, 2 MB/s",
        ] {
            assert_eq!(figures(stderr), None, "{stderr}");
        }
    }

    proptest! {
        #[test]
        fn gives_back_what_coreutils_prints(bytes in 2_u64.., millis in 0_u64..10_000_000, noise in "[ -~\n]{0,80}") {
            let seconds = millis as f64 / 1000.0;
            let line = format!("{noise}\n{bytes} bytes (1 MB, 1 MiB) copied, {seconds} s, 9.9 MB/s\n");
            prop_assert_eq!(figures(&line), Some((bytes, seconds)));
        }

        #[test]
        fn never_panics(text in "\\PC*") {
            let _ = parse(&text);
        }
    }
}
