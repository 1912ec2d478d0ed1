//! Code under test in members that were cloned from a template without it.

use object::write::Object;
use object::{Architecture, BinaryFormat, Endianness, SectionKind};
use sanlab_fleet::{Fleet, FleetError};
use sanlab_plan::{Arch, Artefact, ArtefactKind, NodeName};

use crate::fixture::{den, images, listener, names, spec, store};

/// A file says that it is a module for the guest's kernel, and has nothing else: the error has the kernel's words.
pub(crate) async fn refused_module() {
    let image = &images()[&Arch::X86_64];
    let from = den().join("dm_delay.ko");
    fs_err::write(&from, not_a_module(image.vermagic.as_ref().unwrap())).unwrap();
    let artefact = Artefact {
        kind: ArtefactKind::Module,
        from,
        on: vec![NodeName::parse("vix0").unwrap()],
    };
    let store = store();
    let mut spec = spec(&store, "module");
    let image = image.with_artefacts([&artefact], None).unwrap();
    spec.images.insert("vix0".to_owned(), image);
    spec.absent = names(&["vix1", "vix2", "vix3", "vc"]);
    let (events, _) = listener();
    let started = Fleet::start(spec, &names(&["vix0"]), None, events).await;
    let error = started.err().unwrap();
    assert!(matches!(error, FleetError::Artefacts { .. }), "{error:?}");
    let error = error.to_string();
    let kernel = error.split_once("the given module dm_delay does not load; the kernel says:");
    let (_, kernel) = kernel.expect(&error);
    assert!(kernel.contains("dm_delay: "), "{error}");
}

fn not_a_module(vermagic: &str) -> Vec<u8> {
    let mut file = Object::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
    let section = file.add_section(Vec::new(), b".modinfo".to_vec(), SectionKind::ReadOnlyData);
    let text = format!("name=dm_delay\0vermagic={vermagic} \0");
    file.append_section_data(section, text.as_bytes(), 1);
    file.write().unwrap()
}
