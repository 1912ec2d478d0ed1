//! The words, signs and classes that all sections share.

use std::collections::BTreeMap;

use crate::number;
use crate::series::Series;
use crate::verdict::Verdict;

/// The class of a verdict's marks.
pub(super) const fn of_verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Regressed => "regressed",
        Verdict::Undecided => "undecided",
        Verdict::Improved => "improved",
        Verdict::NoChange => "same",
    }
}

/// What stands before a word, so that no one needs to tell colours.
pub(super) fn sign(class: &str) -> &'static str {
    match class {
        "regressed" | "failed" => "✗",
        "improved" => "▲",
        "passed" => "✓",
        "undecided" => "?",
        "broken" => "!",
        "same" => "=",
        _ => "–",
    }
}

/// `1 run`, `3 runs`.
pub(super) fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// `mtu=1500`, one a setting.
pub(super) fn settings(settings: &BTreeMap<String, String>) -> Vec<String> {
    settings
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect()
}

/// A figure with a minus sign instead of a hyphen.
pub(super) fn figure(value: f64) -> String {
    minus(&number::figure(value))
}

/// A ratio as a change, with a minus sign instead of a hyphen.
pub(super) fn change(ratio: f64) -> String {
    minus(&number::change(ratio))
}

/// A hyphen alone means that there is nothing.
pub(super) fn minus(text: &str) -> String {
    match text.strip_prefix('-') {
        Some(size) if !size.is_empty() => format!("\u{2212}{size}"),
        _ => text.to_owned(),
    }
}

/// Bytes in the largest unit of which there is at least one.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 4] = [
        ("TiB", 1 << 40),
        ("GiB", 1 << 30),
        ("MiB", 1 << 20),
        ("KiB", 1 << 10),
    ];
    match UNITS.iter().find(|(_, factor)| bytes >= *factor) {
        None => format!("{bytes} B"),
        Some((unit, factor)) if bytes.is_multiple_of(*factor) => {
            format!("{} {unit}", bytes / factor)
        }
        Some((unit, factor)) => format!("{} {unit}", figure(bytes as f64 / *factor as f64)),
    }
}

/// A series in one line.
pub(super) fn series(series: &Series) -> String {
    let dimensions = settings(&series.dimensions).join(", ");
    format!("{} {}: {dimensions}", series.scenario, series.step)
}

/// A digest as far as it takes to tell it from others.
pub(super) fn short(digest: &str) -> String {
    digest.chars().take(12).collect()
}

/// So many characters of a text at most.
pub(super) fn beginning(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::{beginning, minus, size};

    #[test]
    fn sizes_have_one_unit() {
        let sizes = [0, 512, 4096, 3 << 19, 64 << 20].map(size);
        assert_eq!(sizes, ["0 B", "512 B", "4 KiB", "1.50 MiB", "64 MiB"]);
    }

    #[test]
    fn a_minus_is_no_hyphen_and_nothing_stays_nothing() {
        assert_eq!(["-3 %", "+3 %", "-"].map(minus), ["−3 %", "+3 %", "-"]);
    }

    #[test]
    fn a_beginning_ends_between_characters() {
        assert_eq!(beginning("äöü", 2), "äö…");
        assert_eq!(beginning("äöü", 3), "äöü");
    }
}
