//! The layers as written: what must stand below what, and what cannot stand side by side.

use crate::diagnostic::{Diagnostic, Mistakes};
use crate::document::read::At;
use crate::layers::{LayerKind, Property, WrittenLayer as Entry};
use crate::values::units::ByteSize;

/// The layers as written, lowest first.
pub(crate) struct Order<'a, 'd> {
    pub(crate) kinds: &'a [&'d At<Entry>],
    pub(crate) whole: bool,
}

impl<'d> Order<'_, 'd> {
    /// The disk of each NBD server.
    pub(crate) fn nbd_disk(&self) -> Option<&'d At<ByteSize>> {
        let mut kinds = self.kinds.iter();
        kinds
            .find(|entry| entry.kind() == LayerKind::Nbd)
            .and_then(|entry| entry.disk())
    }

    /// The largest disk that a layer asks of a node.
    pub(crate) fn largest_disk(&self) -> Option<ByteSize> {
        let disks = self.kinds.iter().filter_map(|entry| entry.disk());
        disks.map(|disk| disk.value).max()
    }

    pub(crate) fn check(&self, mistakes: &mut Mistakes) {
        for (at, entry) in self.kinds.iter().enumerate() {
            let word = entry.kind();
            if let Some(first) = self.first_of(at) {
                mistakes.note(
                    Diagnostic::at(
                        &entry.span,
                        format!("`{word}` on top of `{}`", first.kind()),
                    )
                    .label("a second layer of its sort")
                    .also(&first.span, "the first one")
                    .help("keep one of them"),
                );
            }
            for property in word.properties() {
                match property {
                    Property::NeedsDevice => {
                        self.check_need(at, &sources(), Some("a device"), mistakes);
                    }
                    Property::Needs(kinds) => self.check_need(at, kinds, None, mistakes),
                    _ => {}
                }
            }
        }
        self.check_nothing_above(mistakes);
        self.check_ports(mistakes);
    }

    /// The layer of the same sort before the one at that place, where there can be only one.
    pub(crate) fn first_of(&self, at: usize) -> Option<&'d At<Entry>> {
        let word = self.kinds[at].kind();
        let mut before = self.kinds[..at].iter().copied();
        before.find(|other| same_layer(other.kind(), word))
    }

    /// That one of these stands below; `missing` is what they have in common.
    fn check_need(
        &self,
        at: usize,
        needs: &[LayerKind],
        missing: Option<&str>,
        mistakes: &mut Mistakes,
    ) {
        let entry = self.kinds[at];
        let word = entry.kind();
        // What stands on devices without a uid is told so, not that they are missing.
        let below = |needs: &[LayerKind]| {
            let mut others = self.kinds[..at].iter();
            others.any(|other| needs.contains(&other.kind()))
        };
        if below(needs) || word == LayerKind::Multipath && below(&sources()) {
            return;
        }
        if let Some(above) = self.kinds[at..]
            .iter()
            .find(|other| needs.contains(&other.kind()))
        {
            let need = above.kind();
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
            let any = one_of(needs);
            let missing = missing.unwrap_or(&any);
            mistakes.note(
                Diagnostic::at(&entry.span, format!("`{word}` without {missing}"))
                    .label(format!("needs {any} below"))
                    .help(format!(
                        "add a `[[layer]]` with `{} = {}` before it",
                        needs[0],
                        needs[0].example()
                    )),
            );
        }
    }

    fn check_nothing_above(&self, mistakes: &mut Mistakes) {
        let Some(at) = self
            .kinds
            .iter()
            .position(|entry| entry.kind().is_file_system())
        else {
            return;
        };
        let misplaced = |entry: &&&At<Entry>| {
            let word = entry.kind();
            let before = self.kinds[..at].iter();
            let twice = before.clone().any(|other| same_layer(other.kind(), word));
            word.has(Property::OnDevices) && !twice // a second one is told as such
        };
        if let Some(above) = self.kinds[at..].iter().find(misplaced) {
            let (word, file_system) = (above.kind(), self.kinds[at].kind());
            mistakes.note(
                Diagnostic::at(&above.span, format!("`{word}` on top of `{file_system}`"))
                    .label("nothing stands on a file system")
                    .also(&self.kinds[at].span, "the file system")
                    .help(format!(
                        "move the `{word}` layer before `{file_system}`: the lowest layer comes first"
                    )),
            );
        }
    }

    /// Two programs that listen on the same node cannot have the same port.
    fn check_ports(&self, mistakes: &mut Mistakes) {
        let mut taken: Vec<(&At<u16>, LayerKind)> = Vec::new();
        for entry in self.kinds {
            let Some(port) = entry.port() else { continue };
            let word = entry.kind();
            let other = taken
                .iter()
                .find(|(other, kind)| other.value == port.value && *kind != word);
            if let Some((first, other)) = other {
                mistakes.note(
                    Diagnostic::at(&port.span, format!("port {} is taken", port.value))
                        .label(format!("`{word}` listens on it"))
                        .also(&first.span, format!("and so does `{other}`"))
                        .help("give them different ports; the defaults are 4300 (`nbd`), 14567 (`gnbd`), 3260 (`iscsi`) and 7777 (`o2cb`)"),
                );
            }
            taken.push((port, word));
        }
    }
}

/// The layers that give devices, be there any below or not.
fn sources() -> Vec<LayerKind> {
    LayerKind::with(Property::Source).collect()
}

/// "`nbd`, `drbd` or `gnbd`"
fn one_of(kinds: &[LayerKind]) -> String {
    let words: Vec<String> = kinds.iter().map(|kind| format!("`{kind}`")).collect();
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

fn same_layer(one: LayerKind, other: LayerKind) -> bool {
    let both = |property| one.has(property) && other.has(property);
    one == other && !one.has(Property::Several)
        || both(Property::Joins)
        || both(Property::FileSystem)
}
