//! `dd` on nodes.

use std::time::Duration;

use super::{Figures, PlannedStep, StepTable, Walk, names};
use crate::diagnostic::suggest::did_you_mean;
use crate::diagnostic::{Diagnostic, Mistakes, Span};
use crate::document::read::{At, values};
use crate::document::table::table;
use crate::document::value::Nodes;
use crate::document::word::words;
use crate::steps::topology::{Background, Topology};
use crate::steps::writes::{SHARE, check_count, check_volume, writers};
use crate::values::names::{NodeName, StepLabel};
use crate::values::units::ByteSize;

const OFLAGS: [&str; 5] = ["direct", "dsync", "sync", "noatime", "nocache"];
const CONVS: [&str; 6] = ["fsync", "fdatasync", "notrunc", "excl", "nocreat", "sparse"];

table! {
    /// Writes with dd, from a common start when on several nodes.
    Written, "`dd`", r#"{ of = "{node}.img", bs = "1MiB", count = 64 }"# {
        /// The writers. Default: every node that has the volume mounted.
        on: Nodes, optional;
        /// `zero`, or `random` bytes made in the guest's memory beforehand.
        source: Source, default Source::Zero;
        /// File, relative to the mount point; `{node}` stands for the writer's name.
        of: String, required r#""{node}.img""#;
        /// Block size.
        bs: ByteSize, required r#""1MiB""#;
        /// Blocks.
        count: u64, required "400";
        /// dd's `oflag=`.
        oflag: Vec<At<String>>, default Vec::new();
        /// dd's `conv=`.
        conv: Vec<At<String>>, default Vec::new();
        /// Goes on during the next steps, until a `wait` for its label or the scenario's end.
        background: bool, default false;
    }
}

/// dd on one node, or on several from a common start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dd {
    /// The writers; never empty.
    pub on: Vec<NodeName>,
    /// What is written.
    pub source: Source,
    /// File under the mount point; `{node}` stands for the writer's name.
    pub of: String,
    /// Block size.
    pub bs: ByteSize,
    /// Blocks.
    pub count: u64,
    /// dd's `oflag=`.
    pub oflag: Vec<String>,
    /// dd's `conv=`.
    pub conv: Vec<String>,
    /// Goes on while the next steps run, until a `wait` step of this step's label or the scenario's end.
    pub background: bool,
}

impl Dd {
    /// Bytes that one writer writes.
    pub fn bytes(&self) -> u64 {
        self.bs.bytes().saturating_mul(self.count)
    }
}

words! {
    /// What dd reads.
    pub Source, "source", "sources", "a source", r#""random""# {
        /// `/dev/zero`, as in the article.
        Zero = "zero",
        /// Random bytes made in the guest's memory before the start; different on every node and each time they are made.
        Random = "random",
    }
}

impl StepTable for Written {
    type Planned = Dd;

    fn lower(&self, span: &Span, label: &StepLabel, walk: &mut Walk<'_>) -> Option<Dd> {
        walk.require_volume("write to", span)?;
        check_words("oflag", self.oflag.as_ref(), &OFLAGS, walk.mistakes);
        check_words("conv", self.conv.as_ref(), &CONVS, walk.mistakes);
        let on = writers(self.on.as_ref(), self.of.as_ref(), span, walk);
        if let Some(bs) = self.bs.as_ref().filter(|bs| bs.bytes() == 0) {
            let help = "give at least 1B, such as `1MiB`";
            walk.mistakes.note(
                Diagnostic::at(&bs.span, "impossible block size: 0B")
                    .label("nothing")
                    .help(help),
            );
        }
        check_count(self.count.as_ref(), walk.mistakes);
        let (bs, count) = (self.bs.as_ref()?, self.count.as_ref()?);
        let dd = Dd {
            on: on?,
            source: self.source.as_ref()?.value,
            of: self.of.as_ref()?.value.clone(),
            bs: bs.value,
            count: count.value,
            oflag: values(self.oflag.as_ref()?),
            conv: values(self.conv.as_ref()?),
            background: self.background.as_ref()?.value,
        };
        check_volume(dd.bytes(), &dd.on, count, &walk.topology, walk.mistakes);
        check_memory(&dd, bs, count, &walk.topology, walk.mistakes);
        walk.topology
            .write(self.of.as_ref()?, &dd.on, false, walk.mistakes);
        if dd.background {
            walk.topology.writing.push(Background {
                label: label.clone(),
                span: span.clone(),
                on: dd.on.clone(),
                journal: false,
                fails: walk.expects_failure(),
            });
        }
        Some(dd)
    }

    fn is_background(&self) -> bool {
        // One that is wrong may mean it.
        self.background
            .as_ref()
            .is_none_or(|background| background.value)
    }
}

impl PlannedStep for Dd {
    fn deadline(&self, _walk: &Walk<'_>) -> Duration {
        // Generous: under emulation four writers together came to 25 MiB/s; this allows for 2.
        let mib = (self.bytes() >> 20).saturating_mul(self.on.len() as u64);
        Duration::from_secs(120_u64.saturating_add(mib / 2))
    }

    fn is_background(&self) -> bool {
        self.background
    }

    fn figures(&self) -> Figures {
        if self.background {
            Figures::Samples
        } else {
            Figures::Once
        }
    }

    fn describe(&self) -> String {
        let background = if self.background {
            ", in the background"
        } else {
            ""
        };
        format!(
            "dd {} x {} to {} on {}{background}",
            self.count,
            self.bs,
            self.of,
            names(&self.on)
        )
    }
}

fn check_words(
    key: &str,
    list: Option<&At<Vec<At<String>>>>,
    known: &[&str],
    mistakes: &mut Mistakes,
) {
    for word in list
        .iter()
        .flat_map(|list| list.iter())
        .filter(|word| !known.contains(&word.as_str()))
    {
        mistakes.note(
            Diagnostic::at(
                &word.span,
                format!("unknown word `{}` in `{key}`", word.value),
            )
            .label(format!("not taken as dd's `{key}`"))
            .help(did_you_mean(word, "words", known.iter().copied())),
        );
    }
}

fn check_memory(
    dd: &Dd,
    bs: &At<ByteSize>,
    count: &At<u64>,
    topology: &Topology<'_>,
    mistakes: &mut Mistakes,
) {
    for name in &dd.on {
        let Some(node) = topology.node_set.get(name) else {
            continue;
        };
        let room = node.hardware.memory.bytes() / SHARE;
        let room_text = ByteSize::from_mib(room >> 20);
        if dd.source == Source::Random && dd.bytes() > room {
            let bytes = ByteSize::from_bytes(dd.bytes());
            mistakes.note(
                Diagnostic::at(&count.span, format!("{bytes} of random bytes do not fit the memory of `{name}`"))
                    .label("made in memory beforehand")
                    .also(topology.node_set.span(node), format!("`{name}` has {}", node.hardware.memory))
                    .help(format!(
                        "write at most {room_text}, a third of the memory, take `source = \"zero\"`, or give `{name}` more"
                    )),
            );
        } else if dd.bs.bytes() > room {
            mistakes.note(
                Diagnostic::at(
                    &bs.span,
                    format!("a block of {} does not fit the memory of `{name}`", dd.bs),
                )
                .label("dd keeps one block in memory")
                .also(
                    topology.node_set.span(node),
                    format!("`{name}` has {}", node.hardware.memory),
                )
                .help(format!("give at most {room_text}, a third of the memory")),
            );
        } else {
            continue;
        }
        return;
    }
}
