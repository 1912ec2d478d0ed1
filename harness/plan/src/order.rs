//! The layers as written: what must stand below what, and what cannot stand side by side.

use crate::diagnostic::{Diagnostic, Mistakes};
use crate::document::{self, Layer as Entry};
use crate::plan::LayerKind;
use crate::read::At;
use crate::units::ByteSize;

/// The layers as written, lowest first.
pub(crate) struct Order<'a, 'd> {
    pub(crate) kinds: &'a [&'d At<Entry>],
    pub(crate) whole: bool,
}

/// Those that offer devices to whatever stands on them.
const DEVICES: &[LayerKind] = &[LayerKind::Nbd, LayerKind::Drbd, LayerKind::Gnbd];

/// Kind, and what must stand somewhere below: one of each list.
const NEEDS: [(LayerKind, &[&[LayerKind]]); 5] = [
    (LayerKind::Striped, &[DEVICES]),
    (LayerKind::Linear, &[DEVICES]),
    (LayerKind::Md, &[DEVICES]),
    (LayerKind::Multipath, &[&[LayerKind::Gnbd]]),
    (LayerKind::Ocfs2, &[DEVICES, &[LayerKind::O2cb]]),
];

impl<'d> Order<'_, 'd> {
    pub(crate) fn find_nbd(&self) -> Option<&'d document::Nbd> {
        self.kinds.iter().find_map(|kind| match &kind.value {
            Entry::Nbd(nbd) => Some(nbd),
            _ => None,
        })
    }

    /// The largest disk that a layer asks of a node.
    pub(crate) fn largest_disk(&self) -> Option<ByteSize> {
        let disk = |kind: &&At<Entry>| {
            match &kind.value {
                Entry::Nbd(nbd) => nbd.disk.as_ref(),
                Entry::Drbd(drbd) => drbd.disk.as_ref(),
                Entry::Gnbd(gnbd) => gnbd.disk.as_ref(),
                _ => None,
            }
            .map(|disk| disk.value)
        };
        self.kinds.iter().filter_map(|kind| disk(kind)).max()
    }

    pub(crate) fn check(&self, mistakes: &mut Mistakes) {
        for (at, entry) in self.kinds.iter().enumerate() {
            let word = kind(entry);
            if let Some(first) = self.kinds[..at]
                .iter()
                .find(|other| same_storey(kind(other), word))
            {
                mistakes.note(
                    Diagnostic::at(&entry.span, format!("`{word}` on top of `{}`", kind(first)))
                        .label("a second layer of its sort")
                        .also(&first.span, "the first one")
                        .help("keep one of them"),
                );
            }
            for needs in NEEDS
                .iter()
                .filter(|(kind, _)| *kind == word)
                .flat_map(|(_, needs)| *needs)
            {
                self.check_need(at, needs, mistakes);
            }
        }
        self.check_nothing_above(mistakes);
        self.check_ports(mistakes);
    }

    fn check_need(&self, at: usize, needs: &[LayerKind], mistakes: &mut Mistakes) {
        let entry = self.kinds[at];
        let word = kind(entry);
        // What stands on devices without a uid is told so, not that they are missing.
        let below = |needs: &[LayerKind]| {
            let mut others = self.kinds[..at].iter();
            others.any(|other| needs.contains(&kind(other)))
        };
        if below(needs) || word == LayerKind::Multipath && below(DEVICES) {
            return;
        }
        if let Some(above) = self.kinds[at..]
            .iter()
            .find(|other| needs.contains(&kind(other)))
        {
            let need = kind(above);
            mistakes.note(
                Diagnostic::at(
                    &entry.span,
                    format!("`{word}` stands below the `{need}` that it needs"),
                )
                .label(format!("needs `{need}` below"))
                .also(&above.span, format!("`{need}` comes later"))
                .help(format!(
                    "move the `{need}` layer before `{word}`: the lowest layer comes first"
                )),
            );
        } else if self.whole {
            let (missing, label) = match needs {
                [need] => (format!("`{need}`"), format!("needs `{need}` below")),
                _ => (
                    "a device".to_owned(),
                    "needs `nbd`, `drbd` or `gnbd` below".to_owned(),
                ),
            };
            mistakes.note(
                Diagnostic::at(&entry.span, format!("`{word}` without {missing}"))
                    .label(label)
                    .help(format!(
                        "add a `[[layer]]` with `{}` before it",
                        example(needs[0])
                    )),
            );
        }
    }

    fn check_nothing_above(&self, mistakes: &mut Mistakes) {
        let Some(at) = self
            .kinds
            .iter()
            .position(|entry| kind(entry) == LayerKind::Ocfs2)
        else {
            return;
        };
        let misplaced = |entry: &&&At<Entry>| {
            let word = kind(entry);
            let before = self.kinds[..at].iter();
            let twice = before.clone().any(|other| same_storey(kind(other), word));
            let on_devices =
                is_joining(word) || matches!(word, LayerKind::Gnbd | LayerKind::Multipath);
            on_devices && !twice // a second one is told as such
        };
        if let Some(above) = self.kinds[at..].iter().find(misplaced) {
            let word = kind(above);
            mistakes.note(
                Diagnostic::at(&above.span, format!("`{word}` on top of `ocfs2`"))
                    .label("nothing stands on a file system")
                    .also(&self.kinds[at].span, "the file system")
                    .help(format!(
                        "move the `{word}` layer before `ocfs2`: the lowest layer comes first"
                    )),
            );
        }
    }

    /// Two programs that listen on the same node cannot have the same port.
    fn check_ports(&self, mistakes: &mut Mistakes) {
        let mut taken: Vec<(&At<u16>, LayerKind)> = Vec::new();
        for entry in self.kinds {
            let port = match &entry.value {
                Entry::Nbd(nbd) => &nbd.port,
                Entry::Gnbd(gnbd) => &gnbd.port,
                Entry::O2cb(o2cb) => &o2cb.port,
                _ => continue,
            };
            let Some(port) = port else { continue };
            let word = kind(entry);
            let other = taken
                .iter()
                .find(|(other, kind)| other.value == port.value && *kind != word);
            if let Some((first, other)) = other {
                mistakes.note(
                    Diagnostic::at(&port.span, format!("port {} is taken", port.value))
                        .label(format!("`{word}` listens on it"))
                        .also(&first.span, format!("and so does `{other}`"))
                        .help("give them different ports; the defaults are 4300 (`nbd`), 14567 (`gnbd`) and 7777 (`o2cb`)"),
                );
            }
            taken.push((port, word));
        }
    }
}

pub(crate) fn kind(entry: &Entry) -> LayerKind {
    match entry {
        Entry::Nbd(_) => LayerKind::Nbd,
        Entry::Membership(_) => LayerKind::Membership,
        Entry::Drbd(_) => LayerKind::Drbd,
        Entry::Gnbd(_) => LayerKind::Gnbd,
        Entry::Multipath(_) => LayerKind::Multipath,
        Entry::Md(_) => LayerKind::Md,
        Entry::Striped(_) => LayerKind::Striped,
        Entry::Linear(_) => LayerKind::Linear,
        Entry::O2cb(_) => LayerKind::O2cb,
        Entry::Ocfs2(_) => LayerKind::Ocfs2,
    }
}

/// `striped`, `linear` and `md` do the same job.
fn is_joining(kind: LayerKind) -> bool {
    matches!(kind, LayerKind::Striped | LayerKind::Linear | LayerKind::Md)
}

fn same_storey(one: LayerKind, other: LayerKind) -> bool {
    let several = matches!(one, LayerKind::Membership | LayerKind::Drbd);
    one == other && !several || is_joining(one) && is_joining(other)
}

fn example(kind: LayerKind) -> &'static str {
    match kind {
        LayerKind::Nbd => r#"nbd = { disk = "1GiB" }"#,
        LayerKind::Gnbd => {
            r#"gnbd = { on = "storage", clients = "client", disk = "1GiB", cached = true }"#
        }
        _ => r#"o2cb = { cluster = "san" }"#,
    }
}
