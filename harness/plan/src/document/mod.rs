//! The scenario file as written, key by key. The guide for authors is `docs/reference/scenarios.md`.
//!
//! Every struct mirrors a table of the file, every field a key: its type, and whether it is required, optional or has
//! a default; an example follows `required`. See [`crate::document::table`] for the notation.

pub(crate) mod base;
pub(crate) mod expect;
pub(crate) mod matrix;
pub(crate) mod pattern;
pub(crate) mod read;
pub(crate) mod schema;
pub(crate) mod sources;
pub(crate) mod table;
pub(crate) mod value;
pub(crate) mod vary;
pub(crate) mod word;

use std::time::Duration;

use serde_json::{Value as Json, json};
use toml::Spanned;
use toml::de::DeValue;

use crate::diagnostic::Mistakes;
use crate::layers::WrittenLayer;

use crate::document::expect::Expected;
use crate::document::matrix::Matrix;
use crate::document::pattern::Pattern;
use crate::document::read::{At, Field, Table, Value, read};
use crate::document::table::table;
use crate::document::vary::Vary;
use crate::plan::Tier;
use crate::plan::artefact::ArtefactEntry;
use crate::plan::network::{NetworkTable, Written as Network};
use crate::plan::node::Written as Node;
pub(crate) use crate::steps::WrittenAction as Action;
use crate::values::names::{CheckpointName, ImageName, StepLabel};

table! {
    /// A scenario: nodes, the storage layers on them, and the steps to take.
    Document, "a scenario", "" {
        /// The scenario in a few words.
        name: String, required r#""hot node addition""#;
        /// Which test run takes it: `test`, every one; `nightly`, the nightly one alone, or `--include-ignored`.
        tier: Tier, default Tier::Nightly;
        /// Build it from nothing in every run: fork no checkpoint and keep none.
        fresh: bool, default false;
        /// Take the layers down when all steps have passed, topmost first; `false`: end the guests at once.
        take_down: bool, default false;
        /// Why time-outs of the layers contradict each other on purpose; without it that is refused.
        mistimed: String, optional;
        /// The failure by which runs are known to end: such a run is a known failure, and a run that passes has failed.
        known: KnownEntry, optional;
        /// The manifest under `images/`, without `.toml`, that the guests boot.
        image: ImageName, default default_image();
        /// A file in a folder `base`, relative to this one, with nodes, network, layers and image that several scenarios share.
        /// What the scenario says itself overrides it.
        base: String, optional;
        /// The first network, which joins all nodes.
        network: Network, optional;
        /// Further networks, by their names: each is a further card in its nodes, on a switch of its own.
        networks: NetworkTable, optional;
        /// Every node that will ever take part, in the order of their numbers.
        nodes: NodeTable, required r#"{ vix0 = { arch = "x86_64" } }"#;
        /// Values of some keys, written as for `--set`, of which `run` runs every combination.
        matrix: Matrix, optional;
        /// Ranges of some keys, written as for `--set`, in which `explore` looks for values that fail. `run` uses what stands at the
        /// keys themselves.
        vary: Vary, optional;
        /// Code under test: files, packages, modules and kernels that nodes get in place of their image's.
        artefact: Vec<At<ArtefactEntry>>, default Vec::new();
        /// The storage stack, lowest layer first.
        layer: Vec<At<LayerEntry>>, default Vec::new();
        /// What is done once the layers are up, in order.
        step: Vec<At<StepEntry>>, default Vec::new();
    }
}

fn default_image() -> ImageName {
    ImageName::parse("debian-bookworm").expect("a valid name")
}

table! {
    /// A failure that is known.
    KnownEntry, "`known`", r#"{ pattern = "no free slots", because = "...", source = "https://..." }"# {
        /// Found in everything that failed: the sentence of each failure or its command's output, and each finding (a regular expression).
        pattern: String, required r#""no free slots""#;
        /// Why runs fail so, in a sentence.
        because: String, required r#""the file system has fewer slots than nodes""#;
        /// Where that is reported or discussed: an address, a message-id, a commit.
        source: String, required r#""https://lore.kernel.org/...""#;
        /// The kernel module that has the defect: where a run is given a module of that name or a kernel of its own, nothing is
        /// known.
        module: String, optional;
    }
}

/// `[nodes]`: names or ranges of names, each with its table, in the order of the file.
#[derive(Debug, Clone)]
pub(crate) struct NodeTable(pub(crate) Vec<(Field<Pattern>, Field<Node>)>);

table! {
    /// One layer of the storage stack.
    LayerEntry, "a `[[layer]]`", r#"{ nbd = { disk = "1GiB" } }"# {
        /// Which.
        kind: WrittenLayer, one_of;
    }
}

table! {
    /// One thing done to the running stack.
    StepEntry, "a `[[step]]`", "{ mount = {} }" {
        /// Its name in the record; unique, of letters, digits, spaces, `-`, `_` and `.`. Default: the action's word, then with
        /// `-2`, `-3`.
        label: StepLabel, optional;
        /// It begins so long after the step before it, up to an hour.
        after: Duration, default Duration::ZERO;
        /// Leave the step out.
        skip: bool, default false;
        /// The longest that it may take, 1s to 24 hours. Default: see each action.
        deadline: Duration, optional;
        /// Keep the whole fleet under this name after the step, so that later runs can fork it.
        checkpoint: CheckpointName, optional;
        /// Trouble that the step brings about on purpose, in one table or a list of them: it does not count against the stack,
        /// and it must come.
        expect: Expected, optional;
        /// What is done.
        action: Action, one_of;
    }
}

impl Value for NodeTable {
    const WANTED: &'static str = "a table of nodes";
    const EXAMPLE: &'static str = r#"{ vix0 = { arch = "x86_64" } }"#;

    fn read(value: &Spanned<DeValue<'_>>, mistakes: &mut Mistakes) -> Option<Self> {
        let table = Table::open::<Self>("`nodes`", value, mistakes)?;
        let nodes = table.entries().map(|(key, entry)| {
            let name = Spanned::new(key.span(), DeValue::String(key.get_ref().clone()));
            (read(&name, mistakes), read(entry, mistakes))
        });
        Some(Self(nodes.collect()))
    }

    fn schema() -> Json {
        json!({ "type": "object", "additionalProperties": Node::schema() })
    }
}
