//! The initramfs: busybox, our init, and the modules that reach the root image. The same content gives the same bytes.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};

use crate::manifest::guest_files::{GuestFile, Kind};

/// Mode bits of a cpio entry's type.
const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;

/// Folders that init mounts things on.
const FOLDERS: [&str; 9] = [
    "artefacts",
    "bin",
    "dev",
    "lib",
    "lower",
    "proc",
    "root",
    "sys",
    "upper",
];

/// The list of the modules that init loads, and the folder that they are in.
const MODULES: &str = "modules";
const FOLDER_OF_MODULES: &str = "lib";

/// What goes in.
#[derive(Debug)]
pub(crate) struct Contents {
    /// A static busybox of the guest's architecture.
    pub(crate) busybox: Vec<u8>,
    /// File names and bytes, in the order in which they are loaded.
    pub(crate) modules: Vec<(String, Vec<u8>)>,
    /// Our own files, `/init` among them.
    pub(crate) files: Vec<GuestFile>,
}

struct Entry {
    mode: u32,
    bytes: Vec<u8>,
}

/// The archive, in cpio's newc form: sorted, everything root's, all times zero.
pub(crate) fn pack(contents: Contents) -> io::Result<Vec<u8>> {
    write(entries(contents))
}

fn write(entries: BTreeMap<PathBuf, Entry>) -> io::Result<Vec<u8>> {
    let mut archive = Vec::new();
    for (number, (path, entry)) in (1..).zip(entries) {
        let name = path
            .to_str()
            .ok_or_else(|| io::Error::other(format!("{} is not UTF-8", path.display())))?;
        let size = u32::try_from(entry.bytes.len()).map_err(io::Error::other)?;
        let builder = cpio::NewcBuilder::new(name)
            .ino(number)
            .mode(entry.mode)
            .nlink(1);
        let mut writer = builder.write(&mut archive, size);
        writer.write_all(&entry.bytes)?;
        writer.finish()?;
    }
    cpio::newc::trailer(&mut archive)?;
    Ok(archive)
}

/// The files' names of the modules that an initramfs loads, in that order.
pub(crate) fn modules(archive: &[u8]) -> io::Result<Vec<String>> {
    let mut rest = archive;
    loop {
        let mut reader = cpio::NewcReader::new(rest)?;
        if reader.entry().is_trailer() {
            return Ok(Vec::new());
        }
        if reader.entry().name() == MODULES {
            let mut text = String::new();
            reader.read_to_string(&mut text)?;
            return Ok(text.lines().map(str::to_owned).collect());
        }
        rest = reader.finish()?;
    }
}

/// An archive with other modules in the place of those that an initramfs has under these names; empty without any.
pub(crate) fn replacements(modules: Vec<(String, Vec<u8>)>) -> io::Result<Vec<u8>> {
    if modules.is_empty() {
        return Ok(Vec::new());
    }
    write(modules_in_place(modules))
}

/// An archive with all modules that an initramfs is to load, in this order, in the place of its own.
pub(crate) fn all_modules(modules: Vec<(String, Vec<u8>)>) -> io::Result<Vec<u8>> {
    let order = order_of(&modules);
    let mut entries = modules_in_place(modules);
    entries.insert(MODULES.into(), order);
    write(entries)
}

/// The list of modules, one a line.
fn order_of(modules: &[(String, Vec<u8>)]) -> Entry {
    let order: String = modules.iter().flat_map(|(name, _)| [name, "\n"]).collect();
    Entry {
        mode: FILE | 0o644,
        bytes: order.into_bytes(),
    }
}

fn modules_in_place(modules: Vec<(String, Vec<u8>)>) -> BTreeMap<PathBuf, Entry> {
    let entry = |(name, bytes)| {
        let mode = FILE | 0o644;
        (
            Path::new(FOLDER_OF_MODULES).join::<String>(name),
            Entry { mode, bytes },
        )
    };
    modules.into_iter().map(entry).collect()
}

/// Files by path, packed.
pub(crate) fn pack_files(files: &BTreeMap<PathBuf, Vec<u8>>) -> io::Result<Vec<u8>> {
    let entry = |(path, bytes): (&PathBuf, &Vec<u8>)| {
        let mode = FILE | 0o644;
        let bytes = bytes.clone();
        (path.clone(), Entry { mode, bytes })
    };
    write(files.iter().map(entry).collect())
}

/// What [`pack_files`] packed.
pub(crate) fn unpack_files(archive: &[u8]) -> io::Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut files = BTreeMap::new();
    let mut rest = archive;
    loop {
        let mut reader = cpio::NewcReader::new(rest)?;
        if reader.entry().is_trailer() {
            return Ok(files);
        }
        let path = PathBuf::from(reader.entry().name());
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes)?;
        files.insert(path, bytes);
        rest = reader.finish()?;
    }
}

fn entries(contents: Contents) -> BTreeMap<PathBuf, Entry> {
    let mut entries = BTreeMap::new();
    for folder in FOLDERS {
        entries.insert(
            PathBuf::from(folder),
            Entry {
                mode: FOLDER | 0o755,
                bytes: Vec::new(),
            },
        );
    }
    entries.insert(
        "bin/busybox".into(),
        Entry {
            mode: FILE | 0o755,
            bytes: contents.busybox,
        },
    );
    entries.insert(
        "bin/sh".into(),
        Entry {
            mode: LINK | 0o777,
            bytes: b"busybox".to_vec(),
        },
    );
    entries.insert(MODULES.into(), order_of(&contents.modules));
    entries.extend(modules_in_place(contents.modules));
    for file in contents.files {
        let entry = match file.kind {
            Kind::Folder => Entry {
                mode: FOLDER | 0o755,
                bytes: Vec::new(),
            },
            Kind::Link { target } => Entry {
                mode: LINK | 0o777,
                bytes: target.into_os_string().into_encoded_bytes(),
            },
            Kind::File { bytes, executable } => Entry {
                mode: FILE | if executable { 0o755 } else { 0o644 },
                bytes,
            },
        };
        entries.insert(file.path, entry);
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(reversed: bool) -> Contents {
        let mut files = vec![
            GuestFile {
                path: "init".into(),
                kind: Kind::File {
                    bytes: b"#!/bin/sh\n".to_vec(),
                    executable: true,
                },
            },
            GuestFile {
                path: "etc".into(),
                kind: Kind::Folder,
            },
            GuestFile {
                path: "etc/mtab".into(),
                kind: Kind::Link {
                    target: "/proc/mounts".into(),
                },
            },
        ];
        if reversed {
            files.reverse();
        }
        let modules = vec![
            ("virtio.ko".into(), vec![1; 5]),
            ("erofs.ko".into(), vec![2; 6]),
        ];
        Contents {
            busybox: vec![0; 7],
            modules,
            files,
        }
    }

    #[test]
    fn the_same_content_gives_the_same_bytes() {
        assert_eq!(
            pack(contents(false)).unwrap(),
            pack(contents(true)).unwrap()
        );
    }

    #[test]
    fn holds_what_the_guest_needs() {
        let archive = pack(contents(false)).unwrap();
        let mut listing = String::new();
        let mut rest = archive.as_slice();
        loop {
            let mut reader = cpio::NewcReader::new(rest).unwrap();
            if reader.entry().is_trailer() {
                break;
            }
            let mut bytes = Vec::new();
            io::Read::read_to_end(&mut reader, &mut bytes).unwrap();
            let entry = reader.entry();
            let line = format!(
                "{:06o} {} {} {}\n",
                entry.mode(),
                entry.mtime(),
                entry.name(),
                bytes.len()
            );
            listing.push_str(&line);
            if entry.name() == "modules" {
                assert_eq!(bytes, b"virtio.ko\nerofs.ko\n");
            }
            rest = reader.finish().unwrap();
        }
        insta::assert_snapshot!(listing);
    }
}
