//! From text to a [`Plan`], or to everything that is wrong with it.

use std::ffi::OsStr;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::{Diagnostic, Diagnostics, Mistakes, Span};
use crate::document::Document;
use crate::overlay::{self, Sheet};
use crate::plan::{Network, Plan, Tier};
use crate::read::Value;
use crate::roster::Roster;
use crate::setting::Setting;
use crate::steps;
use crate::tower::Tower;
use crate::word::TierWord;

/// The limits of IPv4's minimum and of the virtio network card.
const MTU: std::ops::RangeInclusive<u32> = 576..=65535;

/// Reads and checks a scenario. `source` names the file in messages, and its stem becomes the plan's
/// [`id`](Plan::id); nothing is read from it.
///
/// # Errors
///
/// All mistakes of the file at once. A file that is not TOML gets those of syntax alone.
pub fn parse(source: &Path, text: &str) -> Result<Plan, Diagnostics> {
    parse_with(source, text, &[])
}

/// [`parse`] with some values replaced or added, in the order given: of two settings of one key the last counts.
///
/// # Errors
///
/// As of [`parse`]; what is wrong with a setting is shown with its own text.
pub fn parse_with(source: &Path, text: &str, settings: &[Setting]) -> Result<Plan, Diagnostics> {
    let sheet = Sheet::new(text, settings);
    let values = sheet.values(settings);
    let mut mistakes = Mistakes::default();
    let plan = read_table(text, &mut mistakes).and_then(|mut table| {
        overlay::lay(&mut table, settings, &sheet, &values, &mut mistakes);
        // A key that is missing from the whole file is shown at its first line.
        let first_line: Span = 0..text.lines().next().map_or(0, str::len);
        let table = Spanned::new(first_line, DeValue::Table(table));
        let document = Document::read(&table, &mut mistakes)?;
        lower(&document, source, &mut mistakes)
    });
    match plan {
        Some(plan) if mistakes.is_empty() => Ok(plan),
        _ => Err(Diagnostics::new(source, sheet, mistakes)),
    }
}

fn read_table<'a>(text: &'a str, mistakes: &mut Mistakes) -> Option<DeTable<'a>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        mistakes.note(
            Diagnostic::at(&span, format!("not TOML: {}", error.message()))
                .label("here")
                .help(syntax_help(error.message())),
        );
    }
    // What was recovered is a guess.
    errors.is_empty().then(|| table.into_inner())
}

fn syntax_help(message: &str) -> &'static str {
    if message.contains("duplicate key") {
        "keep one of them; a list of tables has `[[layer]]` or `[[step]]` before each"
    } else if message.contains("string") || message.contains("quote") {
        "put text between two `\"` on one line"
    } else {
        "a line is `key = value`, `[table]` or `[[list]]`; text, sizes and times stand in quotes: see https://toml.io"
    }
}

fn lower(document: &Document, source: &Path, mistakes: &mut Mistakes) -> Option<Plan> {
    let roster = Roster::lower(document.nodes.as_ref(), mistakes);
    let tower = Tower::lower(document, &roster, mistakes);
    let steps = steps::lower(document, &roster, &tower, mistakes);
    let tier = lower_tier(document, mistakes);
    let network = lower_network(document, &roster, mistakes);
    Some(Plan {
        name: document.name.as_ref()?.value.clone(),
        id: identifier(source),
        source: source.to_owned(),
        tier: tier?,
        fresh: document.fresh.as_ref()?.value,
        take_down: document.take_down.as_ref()?.value,
        image: document.image.as_ref()?.value.clone(),
        network,
        nodes: roster.nodes,
        layers: tower.layers,
        steps,
        warnings: tower.warnings,
    })
}

fn lower_tier(document: &Document, mistakes: &mut Mistakes) -> Option<Tier> {
    let tier = document.tier.as_ref()?;
    match (tier.value, &document.reason) {
        (TierWord::Default, None) => Some(Tier::Default),
        (TierWord::Long, Some(reason)) => Some(Tier::Long {
            reason: reason.value.clone(),
        }),
        (TierWord::Default, Some(reason)) => {
            mistakes.note(
                Diagnostic::at(&reason.span, "a reason without a tier")
                    .label("a reason for what?")
                    .help(r#"add `tier = "long"`, or drop the reason"#),
            );
            None
        }
        (TierWord::Long, None) => {
            mistakes.note(
                Diagnostic::at(&tier.span, "a long tier without a reason")
                    .label("`reason` is missing")
                    .help(r#"add `reason = "..."`: it is shown where the scenario is ignored"#),
            );
            None
        }
    }
}

fn lower_network(document: &Document, roster: &Roster, mistakes: &mut Mistakes) -> Network {
    let Some(network) = &document.network else {
        return Network {
            mtu: None,
            capture: Vec::new(),
        };
    };
    if let Some(mtu) = network.mtu.as_ref().filter(|mtu| !MTU.contains(&mtu.value)) {
        mistakes.note(
            Diagnostic::at(&mtu.span, format!("impossible MTU: {}", mtu.value))
                .label("no network carries that")
                .help(format!("give {} to {}", MTU.start(), MTU.end())),
        );
    }
    let capture = network
        .capture
        .as_ref()
        .and_then(|list| roster.expand(list, mistakes))
        .unwrap_or_default();
    Network {
        mtu: network.mtu.as_ref().map(|mtu| mtu.value),
        capture: capture.into_iter().map(|name| name.value).collect(),
    }
}

/// `scenarios/nbd-striped-ocfs2/hot-node-addition.toml` gives `nbd_striped_ocfs2/hot_node_addition`.
fn identifier(source: &Path) -> String {
    let word = |text: &OsStr| -> String {
        let letter = |c: char| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '_'
            }
        };
        text.to_string_lossy().chars().map(letter).collect()
    };
    let stem = word(source.file_stem().unwrap_or_default());
    match source.parent().and_then(Path::file_name) {
        Some(folder) => format!("{}/{stem}", word(folder)),
        None => stem,
    }
}
