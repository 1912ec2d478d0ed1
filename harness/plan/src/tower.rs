//! The layers as a whole: which stands on which.

use crate::diagnostic::{Diagnostic, Mistakes, Span};
use crate::document::{Layer as Entry, LayerEntry};
use crate::layers;
use crate::plan::Layer;
use crate::read::{At, Field};
use crate::roster::Roster;
use crate::units::ByteSize;
use crate::{document, plan};

/// The layers of a scenario, and what the steps must know of them.
#[derive(Debug, Default)]
pub(crate) struct Tower {
    pub(crate) layers: Vec<Layer>,
    pub(crate) file_system: Option<At<plan::Ocfs2>>,
    pub(crate) slots: Option<Span>,
    pub(crate) volume: Option<ByteSize>,
    /// Every layer was readable. If one was not, a layer that is missing here proves nothing.
    pub(crate) whole: bool,
}

/// Kind, and the kinds that must stand somewhere below.
const NEEDS: [(&str, &[&str]); 5] = [
    ("nbd", &[]),
    ("striped", &["nbd"]),
    ("linear", &["nbd"]),
    ("o2cb", &[]),
    ("ocfs2", &["nbd", "o2cb"]),
];

impl Tower {
    pub(crate) fn lower(
        entries: Option<&At<Vec<At<LayerEntry>>>>,
        roster: &Roster,
        mistakes: &mut Mistakes,
    ) -> Self {
        let Some(entries) = entries else {
            return Self::default();
        };
        let kinds: Vec<_> = entries
            .iter()
            .filter_map(|entry| entry.kind.as_ref())
            .collect();
        let mut tower = Self {
            whole: kinds.len() == entries.len(),
            ..Self::default()
        };
        let order = Order {
            kinds: &kinds,
            whole: tower.whole,
        };
        order.check(roster, mistakes);
        let disk = order.find_nbd().and_then(|nbd| nbd.disk.as_ref());
        if roster.is_whole() {
            tower.volume = order
                .find_nbd()
                .and_then(|nbd| layers::volume(nbd.disk.as_ref(), roster.at_start()));
        }
        for kind in &kinds {
            let layer = match &kind.value {
                Entry::Nbd(nbd) => layers::nbd(nbd, mistakes).map(Layer::Nbd),
                Entry::Striped(striped) => {
                    layers::striped(striped, disk, mistakes).map(Layer::Striped)
                }
                Entry::Linear(linear) => layers::linear(linear).map(Layer::Linear),
                Entry::O2cb(o2cb) => layers::o2cb(o2cb, mistakes).map(Layer::O2cb),
                Entry::Ocfs2(ocfs2) => {
                    let lowered = layers::ocfs2(ocfs2, tower.volume, mistakes);
                    tower.whole &= lowered.is_some();
                    tower.slots = ocfs2.slots.as_ref().map(|slots| slots.span.clone());
                    tower.file_system = lowered.clone().map(|value| At {
                        value,
                        span: kind.span.clone(),
                    });
                    lowered.map(Layer::Ocfs2)
                }
            };
            tower.layers.extend(layer);
        }
        tower
    }
}

/// The layers as written, lowest first.
struct Order<'a> {
    kinds: &'a [&'a At<Entry>],
    whole: bool,
}

impl Order<'_> {
    fn find_nbd(&self) -> Option<&document::Nbd> {
        self.kinds.iter().find_map(|kind| {
            if let Entry::Nbd(nbd) = &kind.value {
                Some(nbd)
            } else {
                None
            }
        })
    }

    fn check(&self, roster: &Roster, mistakes: &mut Mistakes) {
        for (at, kind) in self.kinds.iter().enumerate() {
            let word = word(kind);
            if let Some(first) = self.kinds[..at]
                .iter()
                .find(|other| same_storey(other, kind))
            {
                mistakes.note(
                    Diagnostic::at(
                        &kind.span,
                        format!("`{word}` on top of `{}`", self::word(first)),
                    )
                    .label("a second layer of its sort")
                    .also(&first.span, "the first one")
                    .help("keep one of them"),
                );
            }
            for need in NEEDS
                .iter()
                .filter(|(kind, _)| *kind == word)
                .flat_map(|(_, needs)| *needs)
            {
                self.check_need(at, need, mistakes);
            }
        }
        self.check_single_device(roster, mistakes);
        self.check_ports(mistakes);
    }

    fn check_need(&self, at: usize, need: &str, mistakes: &mut Mistakes) {
        let kind = self.kinds[at];
        let word = word(kind);
        if self.kinds[..at]
            .iter()
            .any(|other| self::word(other) == need)
        {
            return;
        }
        if let Some(above) = self.kinds[at..]
            .iter()
            .find(|other| self::word(other) == need)
        {
            mistakes.note(
                Diagnostic::at(
                    &kind.span,
                    format!("`{word}` stands below the `{need}` that it needs"),
                )
                .label(format!("needs `{need}` below"))
                .also(&above.span, format!("`{need}` comes later"))
                .help(format!(
                    "move the `{need}` layer before `{word}`: the lowest layer comes first"
                )),
            );
        } else if self.whole {
            mistakes.note(
                Diagnostic::at(&kind.span, format!("`{word}` without `{need}`"))
                    .label(format!("needs `{need}` below"))
                    .help(format!(
                        "add a `[[layer]]` with `{} = {}` before it",
                        need,
                        example(need)
                    )),
            );
        }
    }

    /// A file system is made on one device; NBD alone offers one for each node.
    fn check_single_device(&self, roster: &Roster, mistakes: &mut Mistakes) {
        let Some(at) = self
            .kinds
            .iter()
            .position(|kind| matches!(kind.value, Entry::Ocfs2(_)))
        else {
            return;
        };
        let joined = self
            .kinds
            .iter()
            .position(|kind| matches!(kind.value, Entry::Striped(_) | Entry::Linear(_)));
        if let Some(above) = joined
            && above > at
        {
            let (kind, word) = (self.kinds[above], word(self.kinds[above]));
            mistakes.note(
                Diagnostic::at(&kind.span, format!("`{word}` on top of `ocfs2`"))
                    .label("nothing stands on a file system")
                    .also(&self.kinds[at].span, "the file system")
                    .help(format!(
                        "move the `{word}` layer before `ocfs2`: the lowest layer comes first"
                    )),
            );
        }
        let disks = roster.at_start();
        if joined.is_none()
            && self.find_nbd().is_some()
            && self.whole
            && roster.is_whole()
            && disks > 1
        {
            mistakes.note(
                Diagnostic::at(&self.kinds[at].span, format!("`ocfs2` on {disks} disks"))
                    .label("needs one device below")
                    .help(r#"join them with a layer `striped = { name = "san" }` or `linear = { name = "san" }`"#),
            );
        }
    }

    fn check_ports(&self, mistakes: &mut Mistakes) {
        let port = |field: &Field<u16>| field.clone();
        let nbd = self.find_nbd().and_then(|nbd| port(&nbd.port));
        let o2cb = self.kinds.iter().find_map(|kind| match &kind.value {
            Entry::O2cb(o2cb) => port(&o2cb.port),
            _ => None,
        });
        if let (Some(nbd), Some(o2cb)) = (nbd, o2cb)
            && nbd.value == o2cb.value
        {
            mistakes.note(
                Diagnostic::at(&o2cb.span, format!("port {} is taken", o2cb.value))
                    .label("o2cb listens on every node")
                    .also(&nbd.span, "and so does the NBD server")
                    .help("give them different ports; the defaults are 4300 and 7777"),
            );
        }
    }
}

fn word(kind: &Entry) -> &'static str {
    match kind {
        Entry::Nbd(_) => "nbd",
        Entry::Striped(_) => "striped",
        Entry::Linear(_) => "linear",
        Entry::O2cb(_) => "o2cb",
        Entry::Ocfs2(_) => "ocfs2",
    }
}

/// `striped` and `linear` do the same job.
fn same_storey(one: &Entry, other: &Entry) -> bool {
    let joins = |entry: &Entry| matches!(entry, Entry::Striped(_) | Entry::Linear(_));
    word(one) == word(other) || joins(one) && joins(other)
}

fn example(kind: &str) -> &'static str {
    match kind {
        "nbd" => r#"{ disk = "1GiB" }"#,
        _ => r#"{ cluster = "san" }"#,
    }
}
