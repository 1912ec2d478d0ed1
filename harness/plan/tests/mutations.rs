//! Whatever is given to `parse`, it answers: with a plan, or with diagnostics that can be shown.

use std::path::Path;

use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Files with every key and every kind of layer and step.
const SOUND: [&str; 7] = [
    include_str!("../../../fixtures/accepted/every-key.toml"),
    include_str!("../../../fixtures/accepted/every-layer.toml"),
    include_str!("../../../fixtures/accepted/expect.toml"),
    include_str!("../../../fixtures/accepted/second-article.toml"),
    include_str!("../../../fixtures/accepted/throughput.toml"),
    include_str!("../../../scenarios/nbd-striped-ocfs2/linear.toml"),
    include_str!("../../../scenarios/gnbd-drbd-multipath/membership.toml"),
];

/// Pieces that mean something at the wrong place, and some that mean nothing anywhere.
const PIECES: [&str; 21] = [
    "",
    "\"",
    "'''",
    "[",
    "]]",
    "{",
    "}",
    "=",
    "\n",
    "0",
    "-1",
    "99999999999999999999",
    "1e400",
    "true",
    "\"0B\"",
    "\"16777215TiB\"",
    "vix[0-255]",
    "client[0-1]",
    "é\u{202e}",
    "\u{feff}",
    "[[step]]\n",
];

fn check(text: &str) -> Result<(), TestCaseError> {
    let Err(mistakes) = sanlab_plan::parse(Path::new("mutated.toml"), text) else {
        return Ok(());
    };
    prop_assert!(
        mistakes.iter().next().is_some(),
        "rejected without a reason"
    );
    for mistake in mistakes.iter() {
        for span in mistake
            .also
            .iter()
            .map(|(span, _)| span)
            .chain([&mistake.span])
        {
            prop_assert!(
                text.get(span.clone()).is_some(),
                "{span:?} is no part of the text"
            );
        }
        prop_assert!(!mistake.help.is_empty(), "no way out of: {}", mistake.title);
    }
    prop_assert!(mistakes.render(false).contains("help: "));
    Ok(())
}

/// The character boundary that an index falls on.
fn boundary(text: &str, index: Index) -> usize {
    let at = index.index(text.len() + 1);
    (0..=at)
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mutated_scenarios_are_answered(
        sound in select(&SOUND),
        cuts in prop::collection::vec((any::<Index>(), 0_usize..12, select(&PIECES)), 1..4),
    ) {
        let mut text = sound.to_owned();
        for (from, length, piece) in cuts {
            let start = boundary(&text, from);
            let end = text[start..].char_indices().nth(length).map_or(text.len(), |(at, _)| start + at);
            text.replace_range(start..end, piece);
        }
        check(&text)?;
    }

    #[test]
    fn shuffled_lines_are_answered(sound in select(&SOUND), order in any::<prop::sample::Selector>(), keep in 1_usize..60) {
        let mut lines: Vec<&str> = sound.lines().collect();
        let mut shuffled = Vec::new();
        while !lines.is_empty() && shuffled.len() < keep {
            let line = order.select(lines.iter().copied().enumerate().collect::<Vec<_>>());
            shuffled.push(lines.remove(line.0));
        }
        check(&shuffled.join("\n"))?;
    }

    #[test]
    fn anything_is_answered(text in "\\PC{0,80}") {
        check(&text)?;
    }
}
