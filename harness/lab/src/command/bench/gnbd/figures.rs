//! Figures as they come, and what programs say of them.

use super::pair::Side;
use super::table::{Row, Wanted};
use super::{CACHINGS, Caching};

/// What is measured of a device once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Measured {
    /// MiB/s.
    pub(super) write: f64,
    /// MiB/s.
    pub(super) read: f64,
    /// 4 KiB each, a second.
    pub(super) random: f64,
}

/// Every round's.
#[derive(Debug, Default)]
pub(super) struct Figures {
    devices: Vec<(Caching, Side, Measured)>,
    /// MiB, the proportional set size of a device's relay and its supervisor.
    pub(super) relays: Vec<f64>,
}

/// A measure's name, the ratio that is wanted, and where it stands.
type Measure = (&'static str, &'static str, f64, fn(&Measured) -> f64);

const MEASURES: [Measure; 3] = [
    ("sequential write, 1 MiB", "MiB/s", 0.8, |it| it.write),
    ("sequential read, 1 MiB", "MiB/s", 0.8, |it| it.read),
    ("random read, 4 KiB, 16 under way", "IOPS", 0.6, |it| {
        it.random
    }),
];

impl Figures {
    pub(super) fn add(&mut self, caching: Caching, side: Side, measured: Measured) {
        self.devices.push((caching, side, measured));
    }

    pub(super) fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for caching in CACHINGS {
            for (what, unit, least, of) in MEASURES {
                let side = |wanted: Side| {
                    let mine = self
                        .devices
                        .iter()
                        .filter(|it| (it.0, it.1) == (caching, wanted));
                    mine.map(|it| of(&it.2)).collect()
                };
                rows.push(Row {
                    what: format!("{what}, {}", caching.word()),
                    unit,
                    wanted: Wanted::Ratio(least),
                    gnbd: side(Side::Gnbd),
                    nbd: side(Side::Nbd),
                    skipped: None,
                });
            }
        }
        rows.push(Row {
            what: "memory of a relay with its supervisor".to_owned(),
            unit: "MiB",
            wanted: Wanted::AtMost(16.0),
            gnbd: self.relays.clone(),
            nbd: Vec::new(),
            skipped: None,
        });
        rows
    }
}

/// Bytes a second that a dd reports: `50331648 bytes (50 MB, 48 MiB) copied, 1.5 s, 33.6 MB/s`.
pub(super) fn dd_rate(text: &str) -> Option<f64> {
    let (amount, rest) = text.lines().find_map(|line| line.split_once(" copied, "))?;
    let bytes: f64 = amount.split(' ').next()?.parse().ok()?;
    let seconds: f64 = rest.split(' ').next()?.parse().ok()?;
    (seconds > 0.0).then_some(bytes / seconds)
}

/// What `gnbd_load` reports: `1234 reads in 2.001 s`.
pub(super) fn load_rate(text: &str) -> Option<f64> {
    let mut words = text.split_whitespace();
    let count: f64 = words.next()?.parse().ok()?;
    let seconds: f64 = words.nth(2)?.parse().ok()?;
    (seconds > 0.0).then_some(count / seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_understood() {
        let dd = "48+0 records in\n48+0 records out\n50331648 bytes (50 MB, 48 MiB) copied, 1.5 s, 33.6 MB/s\n";
        assert_eq!(dd_rate(dd), Some(33_554_432.0));
        assert_eq!(dd_rate("dd: failed to open '/dev/nbd9'"), None);
        assert_eq!(load_rate("1234 reads in 2.000 s\n"), Some(617.0));
        assert_eq!(load_rate(""), None);
    }
}
