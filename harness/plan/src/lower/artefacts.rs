//! Lowers the artefacts: who gets which.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::diagnostic::{Diagnostic, Mistakes, Span};
use crate::document::Document;
use crate::document::read::At;
use crate::document::sources::beside;
use crate::lower::node_set::NodeSet;
use crate::plan::artefact::{ArtefactEntry, Written};
use crate::plan::{Arch, Artefact, ArtefactKind, Known};
use crate::values::names::{GuestPath, ImageName, NodeName};

/// Where a guest mounts things of its own over what a root image has, and links there.
const COVERED: [&str; 7] = [
    "/dev",
    "/proc",
    "/run",
    "/sys",
    "/tmp",
    "/var/lock",
    "/var/run",
];

/// Files by which a guest knows who it is: the lab writes them.
const IDENTITY: [&str; 3] = ["/etc/hostname", "/etc/hosts", "/etc/machine-id"];

pub(crate) fn lower(
    document: &Document,
    source: &Path,
    node_set: &NodeSet,
    mistakes: &mut Mistakes,
) -> Vec<Artefact> {
    let entries = document.artefact.as_ref().map(|list| list.value.as_slice());
    let mut artefacts: Vec<(Artefact, Span)> = Vec::new();
    for entry in entries.unwrap_or_default() {
        let on = nodes(entry, node_set, mistakes);
        let what = entry
            .kind
            .as_ref()
            .and_then(|kind| what(kind, source, mistakes));
        let (Some(on), Some((kind, from))) = (on, what) else {
            continue;
        };
        let artefact = Artefact { kind, from, on };
        check_archs(&artefact, &entry.span, node_set, mistakes);
        check_alone(&artefact, &entry.span, &artefacts, mistakes);
        artefacts.push((artefact, entry.span.clone()));
    }
    artefacts.into_iter().map(|(one, _)| one).collect()
}

/// What is known of a module as it is packaged, says nothing about another one. `is_own` says whether nodes boot that image's
/// kernel anyway.
pub(crate) fn still_known(
    known: Option<Known>,
    module: Option<&str>,
    artefacts: &[Artefact],
    is_own: impl Fn(&ImageName, &[NodeName]) -> bool,
) -> Option<Known> {
    let is_replaced = |module: &str| {
        artefacts.iter().any(|artefact| match &artefact.kind {
            ArtefactKind::Kernel { image: Some(image) } => !is_own(image, &artefact.on),
            ArtefactKind::Kernel { image: None } => true,
            ArtefactKind::Module => {
                Artefact::module_name(&artefact.from) == module.replace('-', "_")
            }
            ArtefactKind::File { .. } | ArtefactKind::Deb => false,
        })
    };
    known.filter(|_| !module.is_some_and(is_replaced))
}

fn nodes(
    entry: &At<ArtefactEntry>,
    node_set: &NodeSet,
    mistakes: &mut Mistakes,
) -> Option<Vec<NodeName>> {
    let named = match &entry.on {
        Some(list) => Some(node_set.expand(list, mistakes)?),
        None => None,
    };
    let is_named = |name: &NodeName| {
        let named = named.as_ref();
        named.is_none_or(|list| list.iter().any(|one| one.value == *name))
    };
    let fits = |arch| {
        let wanted = entry.arch.as_ref();
        wanted.is_none_or(|wanted| wanted.value == arch)
    };
    let nodes = node_set.nodes.iter();
    let on: Vec<NodeName> = nodes
        .filter(|node| is_named(&node.name) && fits(node.hardware.arch))
        .map(|node| node.name.clone())
        .collect();
    if let (Some(arch), true, true) = (&entry.arch, on.is_empty(), node_set.is_whole()) {
        let among = if named.is_some() {
            "none of the nodes in `on`"
        } else {
            "no node"
        };
        mistakes.note(
            Diagnostic::at(&arch.span, format!("{among} is {}", arch.value))
                .label("nobody gets this artefact")
                .help("name another architecture, or leave the artefact out"),
        );
    }
    (!on.is_empty()).then_some(on)
}

fn what(
    kind: &At<Written>,
    source: &Path,
    mistakes: &mut Mistakes,
) -> Option<(ArtefactKind, PathBuf)> {
    let path = |written: &str| beside(source, written);
    Some(match &kind.value {
        Written::File(file) => {
            let to = file.to.as_ref()?;
            check_place(to, mistakes);
            let kind = ArtefactKind::File {
                to: to.value.clone(),
            };
            (kind, path(&file.from.as_ref()?.value))
        }
        Written::Deb(from) => (ArtefactKind::Deb, path(from)),
        Written::Module(from) => (ArtefactKind::Module, path(from)),
        Written::Kernel(from) if from.contains('/') => {
            (ArtefactKind::Kernel { image: None }, path(from))
        }
        Written::Kernel(name) => {
            let image = ImageName::parse(name).map_err(|error| {
                mistakes.note(
                    Diagnostic::at(
                        &kind.span,
                        format!("`{name}` is neither a path nor an image's name"),
                    )
                    .label("no kernel")
                    .help(format!(
                        "a path has a `/`, such as `./linux`; of a name, {error}"
                    )),
                );
            });
            let image = Some(image.ok()?);
            (ArtefactKind::Kernel { image }, PathBuf::from(name))
        }
    })
}

fn check_place(to: &At<GuestPath>, mistakes: &mut Mistakes) {
    if IDENTITY.contains(&to.as_str()) {
        mistakes.note(
            Diagnostic::at(&to.span, format!("`{}` of the user's own", to.value))
                .label("is written by the lab")
                .help(
                    "leave it out: a guest's name and the names of the others are the scenario's",
                ),
        );
    }
    let path = Path::new(to.as_str());
    if let Some(covered) = COVERED.iter().find(|folder| path.starts_with(folder)) {
        mistakes.note(
            Diagnostic::at(&to.span, format!("a file in {covered} of a guest"))
                .label("would not be seen")
                .help(format!(
                    "a guest mounts a file system of its own on {covered}: choose another folder"
                )),
        );
    }
}

/// No kernel, and no module, is for two architectures. A kernel that an image has is another one for each.
fn check_archs(artefact: &Artefact, span: &Span, node_set: &NodeSet, mistakes: &mut Mistakes) {
    let word = artefact.kind.as_str();
    let one = match artefact.kind {
        ArtefactKind::Kernel { ref image } => image.is_none(),
        ArtefactKind::Module => true,
        ArtefactKind::File { .. } | ArtefactKind::Deb => false,
    };
    let nodes = artefact.on.iter().filter_map(|name| node_set.get(name));
    let archs: BTreeSet<Arch> = nodes.map(|node| node.hardware.arch).collect();
    if one && archs.len() > 1 {
        mistakes.note(
            Diagnostic::at(span, format!("one {word} for guests of two architectures"))
                .label("fits only one of them")
                .help(format!(
                    "say by `arch` which guests get it; as a setting, `{word}.x86=...` or `{word}.x86_64=...`"
                )),
        );
    }
}

/// A node has one file of a path, and one kernel.
fn check_alone(
    artefact: &Artefact,
    span: &Span,
    before: &[(Artefact, Span)],
    mistakes: &mut Mistakes,
) {
    let taken = |other: &Artefact| match (&artefact.kind, &other.kind) {
        (ArtefactKind::File { to }, ArtefactKind::File { to: other }) if to == other => {
            Some(to.to_string())
        }
        (ArtefactKind::Kernel { .. }, ArtefactKind::Kernel { .. }) => Some("the kernel".to_owned()),
        (ArtefactKind::Module, ArtefactKind::Module) => {
            let [name, other] =
                [&artefact.from, &other.from].map(|path| Artefact::module_name(path));
            (name == other).then(|| format!("the module {name}"))
        }
        _ => None,
    };
    let clash = before.iter().find_map(|(other, place)| {
        let node = artefact.on.iter().find(|name| other.on.contains(name))?;
        Some((taken(other)?, node, place))
    });
    if let Some((what, node, first)) = clash {
        mistakes.note(
            Diagnostic::at(span, format!("two artefacts for {what} of {node}"))
                .label("the second one")
                .also(first, "the first one")
                .help("drop one of them, or say by `on` or `arch` which nodes get which"),
        );
    }
}
