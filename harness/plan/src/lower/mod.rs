//! Lowers a document to a [`Plan`], or returns all mistakes in it.

pub(crate) mod artefacts;
pub(crate) mod network_set;
pub(crate) mod node_set;
pub(crate) mod patterns;

use std::ffi::OsStr;
use std::io;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::devices::resolved_stack::ResolvedStack;
use crate::diagnostic::{Diagnostic, Diagnostics, Mistakes, Span};
use crate::document::Document;
use crate::document::base::{self, BASE_FOLDER};
use crate::document::read::{At, Field, Value};
use crate::document::sources::{self, ReadFile};
use crate::lower::network_set::NetworkSet;
use crate::lower::node_set::NodeSet;
use crate::overlay::setting::Setting;
use crate::overlay::{self, SourceText};
use crate::plan::{Known, Plan};
use crate::steps;
use crate::values::names::{ImageName, NodeName};
use crate::values::range::Range;

/// Reads and checks a scenario. `source` names the file in messages, and its stem becomes the plan's
/// [`id`](Plan::id); nothing is read from it, and a scenario with a base is refused.
///
/// # Errors
///
/// All mistakes of the file at once. A file that is not TOML gets those of syntax alone.
pub fn parse(source: &Path, text: &str) -> Result<Plan, Diagnostics> {
    let no_files = |_: &Path| Err(io::Error::other("no other file is read here"));
    parse_with(source, text, &[], &no_files)
}

/// [`parse`] with bases, whose text `read` gives, and with some values replaced or added by settings, in the order given:
/// of two settings of one key the last counts.
///
/// # Errors
///
/// As of [`parse`]; what is wrong in a base or with a setting is shown with its own text. Where a base is missing or not
/// TOML, the scenario's nodes, layers and settings cannot be judged.
pub fn parse_with(
    source: &Path,
    text: &str,
    settings: &[Setting],
    read: ReadFile<'_>,
) -> Result<Plan, Diagnostics> {
    let mut source_text = SourceText::new(source, text);
    let mut mistakes = Mistakes::default();
    let texts = sources::gather(&mut source_text, read, &mut mistakes).unwrap_or_default();
    source_text.add_settings(settings);
    let values = source_text.values(settings);
    let mut tables = texts.iter().map(|text| {
        let (table, _) = DeTable::parse_recoverable(text);
        table.into_inner()
    });
    let plan = tables.next().and_then(|scenario| {
        let whole = mistakes.is_empty();
        let table = if whole {
            let mut table = base::merge(scenario, tables.collect(), &mut mistakes);
            overlay::lay(&mut table, settings, &source_text, &values, &mut mistakes);
            table
        } else {
            without_base(scenario)
        };
        // A key that is missing from the whole file is shown at its first line.
        let first_line: Span = 0..text.lines().next().map_or(0, str::len);
        let table = Spanned::new(first_line, DeValue::Table(table));
        let document = Document::read(&table, &mut mistakes)?;
        if whole {
            lower(&document, source, &mut mistakes)
        } else {
            None
        }
    });
    match plan {
        Some(plan) if mistakes.is_empty() => Ok(plan),
        _ => Err(Diagnostics::new(source_text, mistakes)),
    }
}

/// A scenario of which only that part is left that means something without the base.
fn without_base(mut scenario: DeTable<'_>) -> DeTable<'_> {
    scenario.remove("layer");
    let nodes = Spanned::new(0..0, DeValue::Table(DeTable::new()));
    scenario.insert(Spanned::new(0..0, "nodes".into()), nodes);
    scenario
}

fn lower(document: &Document, source: &Path, mistakes: &mut Mistakes) -> Option<Plan> {
    let mut node_set = NodeSet::lower(document.nodes.as_ref(), mistakes);
    node_set.networks = NetworkSet::lower(document, &node_set, mistakes);
    let resolved_stack = ResolvedStack::lower(document, &node_set, mistakes);
    let steps = steps::lower(document, &node_set, &resolved_stack, mistakes);
    let artefacts = artefacts::lower(document, source, &node_set, mistakes);
    let image = &document.image.as_ref()?.value;
    let is_own = |kernel: &ImageName, on: &[NodeName]| {
        let nodes = node_set.nodes.iter();
        let mut nodes = nodes.filter(|node| on.contains(&node.name));
        nodes.all(|node| {
            node.image
                .as_ref()
                .unwrap_or(image)
                .is_called(kernel.as_str())
        })
    };
    let known = lower_known(document, mistakes);
    let module = document.known.as_ref();
    let module = module.and_then(|known| Some(known.module.as_ref()?.value.as_str()));
    let known = artefacts::still_known(known, module, &artefacts, is_own);
    check_base(document, source, mistakes);
    Some(Plan {
        name: document.name.as_ref()?.value.clone(),
        id: identifier(source),
        source: source.to_owned(),
        tier: document.tier.as_ref()?.value,
        fresh: document.fresh.as_ref()?.value,
        take_down: document.take_down.as_ref()?.value,
        image: document.image.as_ref()?.value.clone(),
        networks: node_set.networks.networks,
        nodes: node_set.nodes,
        matrix: lower_matrix(document),
        vary: lower_vary(document),
        artefacts,
        layers: resolved_stack.layers,
        devices: resolved_stack.devices,
        steps,
        known,
        warnings: resolved_stack.warnings,
    })
}

fn lower_known(document: &Document, mistakes: &mut Mistakes) -> Option<Known> {
    let known = document.known.as_ref()?;
    let pattern = known.pattern.as_ref()?;
    patterns::check_selective(pattern, mistakes);
    Some(Known {
        pattern: pattern.value.clone(),
        because: known.because.clone()?.value,
        source: known.source.clone()?.value,
    })
}

fn lower_matrix(document: &Document) -> Vec<(String, Vec<String>)> {
    let entries = document.matrix.iter().flat_map(|matrix| &matrix.value.0);
    let axis = |(key, values): &(String, Field<Vec<At<String>>>)| {
        let values = values.as_ref()?.value.iter();
        let values = values.map(|value| value.value.clone()).collect();
        Some((key.clone(), values))
    };
    entries.filter_map(axis).collect()
}

fn lower_vary(document: &Document) -> Vec<(String, Range)> {
    let entries = document.vary.iter().flat_map(|vary| &vary.value.0);
    let one = |(key, range): &(String, Field<Range>)| Some((key.clone(), range.clone()?.value));
    entries.filter_map(one).collect()
}

fn check_base(document: &Document, source: &Path, mistakes: &mut Mistakes) {
    let Some(base) = &document.base else {
        return;
    };
    let path = sources::beside(source, base);
    let folder = path.parent().and_then(Path::file_name);
    if folder.is_none_or(|folder| folder != BASE_FOLDER) {
        mistakes.note(
            Diagnostic::at(&base.span, "a base among the scenarios")
                .label(format!("not in a folder called `{BASE_FOLDER}`"))
                .help(format!(
                    "move it into a folder `{BASE_FOLDER}` beside the scenario: files there are not taken for scenarios"
                )),
        );
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
