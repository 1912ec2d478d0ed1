use std::fs::Permissions;

use object::write::Object;
use object::{Architecture, BinaryFormat, Endianness, SectionKind};
use sanlab_plan::{Arch, GuestPath, NodeName};

use super::*;
use crate::store::image::Wanted;

const MAGIC: &str = "6.1.0-50-amd64 SMP preempt mod_unload modversions";

/// What passes for a module here.
pub(super) fn a_module(arch: Arch, name: &str, vermagic: &str, depends: &str) -> Vec<u8> {
    let architecture = match arch {
        Arch::X86 => Architecture::I386,
        Arch::X86_64 => Architecture::X86_64,
    };
    let mut file = Object::new(BinaryFormat::Elf, architecture, Endianness::Little);
    let section = file.add_section(Vec::new(), b".modinfo".to_vec(), SectionKind::ReadOnlyData);
    let text = format!("depends={depends}\0name={name}\0vermagic={vermagic} \0");
    file.append_section_data(section, text.as_bytes(), 1);
    file.write().unwrap()
}

/// An image of which nothing is in a store.
fn image() -> Image {
    let words = |words: &[&str]| words.iter().map(ToString::to_string).collect();
    Image {
        arch: Arch::X86_64,
        digest: "00ff".to_owned(),
        kernel: "vmlinux".into(),
        initramfs: "initramfs".into(),
        root: "root.erofs".into(),
        kernel_release: "6.1.0-50-amd64".to_owned(),
        packages: Vec::new(),
        provides: Vec::new(),
        sizes: Sizes::default(),
        vermagic: Some(MAGIC.to_owned()),
        wanted: Wanted {
            modules: words(&["nbd", "fs/ocfs2/"]),
            boot_modules: words(&["virtio_blk", "erofs", "overlay"]),
        },
        layer: None,
        artefacts: Vec::new(),
        setup: String::new(),
        base: None,
    }
}

fn artefact(kind: ArtefactKind, from: &Path) -> Artefact {
    Artefact {
        kind,
        from: from.to_owned(),
        on: vec![NodeName::parse("n0").unwrap()],
    }
}

fn file(from: &Path) -> Artefact {
    let to = GuestPath::parse("/usr/bin/nbdkit").unwrap();
    artefact(ArtefactKind::File { to }, from)
}

/// Why an artefact is refused; what the folder is called is left out.
fn refused(folder: &Path, artefact: &Artefact) -> String {
    let error = image().with_artefacts([artefact], None).unwrap_err();
    error.to_string().replace(&folder.display().to_string(), "")
}

#[test]
fn what_cannot_fit_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        fs_err::write(&path, bytes).unwrap();
        path
    };
    let i386 = a_module(Arch::X86, "ocfs2", MAGIC, "");
    // An executable one.
    let mut program = i386.clone();
    program[16] = 2;
    let other = a_module(Arch::X86_64, "ocfs2", "6.12.0-1-amd64 SMP", "");
    let said = [
        file(&folder.join("nowhere")),
        file(folder),
        file(&write("i386", &program)),
        file(&write("short", b"\x7fELF")),
        file(&write("unpacked", b"#!/bin/sh")),
        artefact(ArtefactKind::Module, &write("text.ko", b"text")),
        artefact(ArtefactKind::Module, &write("i386.ko", &i386)),
        artefact(ArtefactKind::Module, &write("ocfs2.ko", &other)),
        artefact(
            ArtefactKind::Module,
            &write("packed.ko.zst", b"\x28\xb5\x2f\xfd"),
        ),
        artefact(ArtefactKind::Kernel { image: None }, &folder.join("linux")),
        artefact(
            ArtefactKind::Kernel { image: None },
            &write("script", b"#!/bin/sh"),
        ),
        artefact(ArtefactKind::Kernel { image: None }, folder),
    ]
    .map(|artefact| refused(folder, &artefact));
    insta::assert_snapshot!(said.join("\n\n"));
}

#[test]
fn a_module_says_what_it_is() {
    let bytes = a_module(Arch::X86_64, "dm-mod", MAGIC, "libcrc32c,virtio");
    let found = module::check(&bytes, Path::new("dm-mod.ko"), &image());
    assert_eq!(found.as_deref(), Ok("dm_mod"));
    let found = module::check(&bytes, Path::new("dm-mine.ko"), &image());
    let said = "it is the module dm_mod, and its file is called dm_mine: call the file dm_mod.ko";
    assert_eq!(found.unwrap_err(), said);
    assert_eq!(module::depends(&bytes), ["libcrc32c", "virtio"]);
}

#[test]
fn a_module_that_drives_a_device_is_used_at_boot() {
    let used = |alias: &str, name: &str| {
        let module = a_module(Arch::X86_64, name, MAGIC, &format!("\0alias={alias}"));
        module::is_used_at_boot(&module, name)
    };
    assert!(used("virtio:d00000001v*", "virtio_net"));
    assert!(used("fs-configfs", "configfs"));
    assert!(!used("fs-ocfs2", "ocfs2"));
    assert!(!used("devname:mapper/control", "dm_mod"));
}

#[test]
fn artefacts_that_hide_each_other_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nbdkit");
    fs_err::write(&path, "text").unwrap();
    fs_err::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    let said = [["/sbin/x", "/usr/sbin/x"], ["/etc/x", "/etc/x/y"]].map(|places| {
        let artefacts = places.map(|to| {
            let to = GuestPath::parse(to).unwrap();
            artefact(ArtefactKind::File { to }, &path)
        });
        let error = image().with_artefacts(&artefacts, None).unwrap_err();
        error.to_string()
    });
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn a_package_without_what_it_depends_on_is_refused() {
    let mut image = image();
    image.provides = vec!["awk".to_owned(), "libaio1 (= 0.3.113-4)".to_owned()];
    let control = |depends: &str| {
        let package = format!("Package: a\nVersion: 2\nArchitecture: all\nDepends: {depends}\n");
        let package = deb::parse(&package, Arch::X86_64).unwrap();
        let laid = Laid {
            kind: "deb".to_owned(),
            name: "a 2".to_owned(),
            sha256: String::new(),
        };
        let part = Part {
            laid,
            kind: PartKind::Deb,
            place: deb::place("a"),
            mode: 0o644,
            bytes: Vec::new(),
            package: Some(package),
        };
        deb::check_dependencies(&[part], &image).map_err(|error| error.to_string())
    };
    assert_eq!(control("awk, libaio1 (>= 0.3.100), a (>=2)"), Ok(()));
    insta::assert_snapshot!(control("awk,\n libaio1 (>= 0.4) | libaio2, mawk").unwrap_err());
}

#[test]
fn every_byte_and_mode_is_in_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nbdkit");
    let keys = [("one", 0o755), ("two", 0o755), ("two", 0o700)].map(|(text, mode)| {
        fs_err::write(&path, text).unwrap();
        fs_err::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let part = image().read(&file(&path)).unwrap();
        key("00ff", None, &[part])
    });
    assert!(keys[0] != keys[1] && keys[1] != keys[2], "{keys:?}");
}

/// A built kernel tree with these modules, and with these built in.
fn tree(folder: &Path, release: &str, modules: &[(&str, &str)], builtin: &[&str]) {
    let mut kernel = a_module(Arch::X86_64, "", "", "");
    kernel.extend(format!("Linux version {release} (gcc)").into_bytes());
    // The note by which QEMU starts it.
    kernel.extend([4, 0, 0, 0, 8, 0, 0, 0, 18, 0, 0, 0]);
    kernel.extend(b"Xen\0");
    fs_err::write(folder.join("vmlinux"), kernel).unwrap();
    let mut order = String::new();
    for (path, depends) in modules {
        let file = folder.join(format!("{path}.ko"));
        fs_err::create_dir_all(file.parent().unwrap()).unwrap();
        let name = Artefact::module_name(&file);
        let magic = format!("{release} SMP");
        fs_err::write(&file, a_module(Arch::X86_64, &name, &magic, depends)).unwrap();
        order.extend([path, ".o\n"]);
    }
    fs_err::write(folder.join("modules.order"), order).unwrap();
    let builtin: String = builtin
        .iter()
        .flat_map(|path| ["kernel/", path, ".ko\n"])
        .collect();
    fs_err::write(folder.join("modules.builtin"), builtin).unwrap();
}

#[test]
fn a_tree_gives_the_modules_that_guests_need() {
    let folder = tempfile::tempdir().unwrap();
    let modules = [
        ("drivers/block/virtio_blk", "virtio,virtio_ring"),
        ("drivers/virtio/virtio_ring", "virtio"),
        ("drivers/virtio/virtio", ""),
        ("fs/erofs/erofs", ""),
        ("fs/ocfs2/ocfs2", "jbd2"),
        ("fs/jbd2/jbd2", ""),
        ("sound/snd", ""),
    ];
    let builtin = [
        "drivers/virtio/virtio_pci",
        "drivers/net/virtio_net",
        "drivers/char/virtio_console",
        "fs/overlayfs/overlay",
    ];
    tree(folder.path(), "6.18.0-mine", &modules, &builtin);
    let kernel = Kernel::read(folder.path(), &image()).unwrap();
    assert_eq!(kernel.release, "6.18.0-mine");
    let modules = kernel.modules.unwrap();
    let boot: Vec<&str> = modules.boot.iter().map(|(file, _)| file.as_str()).collect();
    assert_eq!(
        boot,
        ["virtio.ko", "virtio_ring.ko", "virtio_blk.ko", "erofs.ko"]
    );
    let files: Vec<String> = modules
        .files
        .keys()
        .map(|path| path.display().to_string())
        .collect();
    insta::assert_snapshot!(files.join("\n"));
    assert_eq!(modules.vermagic().as_deref(), Some("6.18.0-mine SMP"));

    let error = {
        tree(folder.path(), "6.18.0-mine", &[("fs/erofs/erofs", "")], &[]);
        let configuration = "CONFIG_PROC_FS=y\nCONFIG_TMPFS=m\n# CONFIG_PCI is not set\n";
        fs_err::write(folder.path().join(".config"), configuration).unwrap();
        Kernel::read(folder.path(), &image()).unwrap_err()
    };
    insta::assert_snapshot!(error);
}

#[test]
fn a_kernel_alone_must_fit_the_images_modules() {
    let folder = tempfile::tempdir().unwrap();
    tree(folder.path(), "6.1.0-50-amd64", &[], &[]);
    let path = folder.path().join("vmlinux");
    let kernel = Kernel::read(&path, &image()).unwrap();
    assert!(kernel.modules.is_none());
    tree(folder.path(), "6.1.0-50-amd64+", &[], &[]);
    let error = Kernel::read(&path, &image()).unwrap_err();
    insta::assert_snapshot!(error);
}
