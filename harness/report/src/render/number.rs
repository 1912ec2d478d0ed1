//! Numbers as people read them: few digits, a sign where there is a direction, and plurals that fit.

pub use sanlab_record::quantity::{seconds, short};

/// Three to four significant digits: `0.0213`, `3.42`, `97.4`, `1234`, `4.20 M`, `1.35 G`.
pub fn figure(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        return "-".to_owned();
    }
    match size {
        _ if size >= 1e9 => format!("{} G", digits(value / 1e9)),
        _ if size >= 1e6 => format!("{} M", digits(value / 1e6)),
        _ => digits(value),
    }
}

/// How much a ratio is away from one: `+3.4 %`, `−12 %`, `0.0 %`. A ratio beyond ten is shown as it is: `x 25`.
pub fn change(ratio: f64) -> String {
    if !ratio.is_finite() {
        return "-".to_owned();
    }
    if ratio >= 10.0 {
        return format!("x {}", digits(ratio));
    }
    let percent = (ratio - 1.0) * 100.0;
    let digits = usize::from(percent.abs() < 9.95);
    signed(&format!("{percent:+.digits$} %"))
}

/// A share: `5 %`, `2.5 %`, `0.4 %`.
pub fn share(share: f64) -> String {
    let percent = format!("{:.1}", share * 100.0);
    format!("{} %", percent.trim_end_matches(".0"))
}

/// A probability: `0.012`, `< 0.001`.
pub fn probability(p: f64) -> String {
    if p < 0.001 {
        "< 0.001".to_owned()
    } else {
        format!("{p:.3}")
    }
}

const BYTES: [(&str, u64); 4] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
];

/// Bytes in the largest unit of which there is at least one: `64 MiB`, `1.5 GiB`.
pub fn size(bytes: u64) -> String {
    let Some((unit, factor)) = BYTES.iter().find(|(_, factor)| bytes >= *factor) else {
        return format!("{bytes} B");
    };
    let number = bytes as f64 / *factor as f64;
    let digits = usize::from(number < 9.95 && !bytes.is_multiple_of(*factor));
    format!("{number:.digits$} {unit}")
}

/// Bytes in the largest unit that leaves no rest: `64 KiB`, `1536 KiB`.
pub fn exact_size(bytes: u64) -> String {
    let fits = |(_, factor): &&(&str, u64)| bytes >= *factor && bytes.is_multiple_of(*factor);
    match BYTES.iter().find(fits) {
        Some((unit, factor)) => format!("{} {unit}", bytes / factor),
        None => format!("{bytes} B"),
    }
}

/// `1 run`, `3 runs`, `2 entries`, `5 series`.
pub fn count(number: usize, what: &str) -> String {
    if number == 1 || what.ends_with('s') {
        return format!("{number} {what}");
    }
    match what.strip_suffix('y') {
        Some(stem) => format!("{number} {stem}ies"),
        None => format!("{number} {what}s"),
    }
}

/// So many characters of a text at most.
pub fn beginning(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// A minus sign is as wide as a plus; a hyphen is not. What rounds to nothing has no sign.
pub(crate) fn signed(text: &str) -> String {
    let is_zero = !text.chars().any(|digit| ('1'..='9').contains(&digit));
    match text.split_at_checked(1) {
        Some(("-" | "+", size)) if is_zero => size.to_owned(),
        Some(("-", size)) => format!("\u{2212}{size}"),
        _ => text.to_owned(),
    }
}

fn digits(value: f64) -> String {
    let size = value.abs();
    // Half a unit below the next power: what would round up to it is written like it.
    let text = match size {
        0.0 => return "0".to_owned(),
        _ if size >= 99.95 => format!("{value:.0}"),
        _ if size >= 9.995 => format!("{value:.1}"),
        _ if size >= 0.9995 => format!("{value:.2}"),
        _ if size >= 0.0995 => format!("{value:.3}"),
        _ => format!("{value:.3e}"),
    };
    signed(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_keep_three_digits_or_the_whole_number() {
        let written: Vec<_> = [
            0.0,
            0.01234,
            0.4567,
            0.99951,
            3.4219,
            97.44,
            99.96,
            1234.4,
            999_999.4,
            4_204_000.0,
            1.354e9,
            -17.25,
            f64::NAN,
        ]
        .into_iter()
        .map(figure)
        .collect();
        assert_eq!(
            written,
            [
                "0", "1.234e-2", "0.457", "1.00", "3.42", "97.4", "100", "1234", "999999",
                "4.20 M", "1.35 G", "−17.2", "-"
            ]
        );
    }

    #[test]
    fn changes_have_a_direction_unless_they_round_to_nothing() {
        let written: Vec<_> = [1.034, 0.88, 0.9999, 1.0001, 1.0996, 25.0, f64::INFINITY]
            .into_iter()
            .map(change)
            .collect();
        assert_eq!(
            written,
            ["+3.4 %", "−12 %", "0.0 %", "0.0 %", "+10 %", "x 25.0", "-"]
        );
    }

    #[test]
    fn shares_and_probabilities() {
        assert_eq!(share(0.05), "5 %");
        assert_eq!(share(0.025), "2.5 %");
        assert_eq!(
            share(0.07),
            "7 %",
            "0.07 is no whole number of percent in binary"
        );
        assert_eq!(probability(0.0004), "< 0.001");
        assert_eq!(probability(0.0125), "0.013");
    }

    #[test]
    fn sizes_have_one_unit() {
        let sizes = [0, 1023, 4096, 15 << 19, 999 << 20, (3 << 30) + 1, 16 << 40];
        assert_eq!(
            sizes.map(size),
            [
                "0 B", "1023 B", "4 KiB", "7.5 MiB", "999 MiB", "3.0 GiB", "16 TiB"
            ]
        );
        assert_eq!(exact_size(3 << 19), "1536 KiB");
    }

    #[test]
    fn plurals() {
        let told = [(1, "run"), (0, "run"), (2, "entry"), (2, "series")];
        assert_eq!(
            told.map(|(number, what)| count(number, what)),
            ["1 run", "0 runs", "2 entries", "2 series"]
        );
    }

    #[test]
    fn a_beginning_ends_between_characters() {
        assert_eq!(beginning("äöü", 2), "äö…");
        assert_eq!(beginning("äöü", 3), "äöü");
    }
}
