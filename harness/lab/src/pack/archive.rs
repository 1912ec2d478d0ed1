//! A saved fleet becomes one file: manifest, states, disks, images and record, as tar, compressed by zstd.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};

use fs_err::File;
use sanlab_fleet::{SavedFile, Store};
use sanlab_image::Image;
use sanlab_run::{SAVED, SAVED_LABEL};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::compressed::Zstd;
use super::error::PackError;
use super::manifest::{MANIFEST, Manifest, Packed};
use super::ready::Ready;
use crate::LabError;

/// Read at once; a block of zeros takes nothing on a disk.
pub(crate) const BLOCK: usize = 64 << 10;

/// The folder of images in an archive, each in one that is called by its digest.
pub(crate) const IMAGES: &str = "images";

/// Packs the saved fleet of that folder. `tell` hears what is done. How long the archive is.
pub(crate) fn pack(
    folder: &Path,
    store: &Store,
    zstd: Zstd,
    tell: &(dyn Fn(&str) + Sync),
) -> Result<u64, LabError> {
    // Held until the end: an image in use stays in the store.
    let ready = Ready::of_folder(folder, store)?;
    let saved = ready.saved.files();
    let mut files = states(folder, &saved)?;
    let mut images: BTreeMap<&str, &Image> = BTreeMap::new();
    for image in ready.images.values() {
        images.insert(&image.digest, image);
    }
    let held = images.values().map(|image| image.hold());
    let _held = held.collect::<Result<Vec<_>, _>>()?;
    for image in images.values() {
        for file in image.files() {
            files.push((name_of(&image.digest, file), file.to_owned()));
        }
    }
    let record = folder.parent().map(|parent| parent.join("record.json"));
    files.extend(
        record
            .filter(|record| record.is_file())
            .map(|record| ("record.json".to_owned(), record)),
    );
    let mut packed = Vec::new();
    for (name, path) in &files {
        tell(&format!("reads {name}"));
        packed.push(measure(name, path)?);
    }
    is_as_saved(&packed, &saved).map_err(|why| PackError::NotWhole {
        path: folder.to_owned(),
        why,
    })?;
    let labels = images.iter().map(|(digest, image)| {
        let label = image.label()?;
        Ok(((*digest).to_owned(), label))
    });
    let labels = labels.collect::<Result<_, LabError>>()?;
    let label: Value = serde_json::from_slice(&fs_err::read(folder.join(SAVED_LABEL))?)
        .map_err(LabError::Record)?;
    let manifest = Manifest::new(ready.sources.clone(), label, labels, packed);
    zstd.compress(|input| write(&manifest, &files, input, tell))
}

/// The name in an archive of a file of an image.
pub(super) fn name_of(digest: &str, file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    format!("{IMAGES}/{digest}/{name}")
}

/// The guests' files of a saved fleet, with their names in the archive, if all are there with their lengths. What else lies in the
/// folder is left out.
pub(super) fn states(
    folder: &Path,
    saved: &[SavedFile],
) -> Result<Vec<(String, PathBuf)>, LabError> {
    let not_whole = |why: String| PackError::NotWhole {
        path: folder.to_owned(),
        why,
    };
    let mut files = Vec::new();
    for SavedFile { name, bytes, .. } in saved {
        let path = folder.join(name);
        match fs_err::metadata(&path) {
            Ok(found) if found.len() == *bytes => files.push((format!("{SAVED}/{name}"), path)),
            Ok(found) => {
                let why = format!("{name} has {} bytes and not {bytes}", found.len());
                return Err(not_whole(why).into());
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(not_whole(format!("{name} is missing")).into());
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(files)
}

/// Whether files of an archive are what a saved fleet's label says of them; the error says which is not.
pub(super) fn is_as_saved(packed: &[Packed], saved: &[SavedFile]) -> Result<(), String> {
    for file in saved {
        let name = format!("{SAVED}/{}", file.name);
        let found = packed.iter().find(|packed| packed.name == name);
        let Some(found) = found else {
            return Err(format!("it lacks {name}"));
        };
        if found.bytes != file.bytes {
            return Err(format!(
                "{name} has {} bytes and not {}",
                found.bytes, file.bytes
            ));
        }
        if let Some(sha256) = file.sha256.as_ref().filter(|it| **it != found.sha256) {
            return Err(format!(
                "the SHA-256 of {name} is {} and not {sha256}",
                found.sha256
            ));
        }
    }
    Ok(())
}

/// Reads a file once, for what the manifest says of it.
pub(super) fn measure(name: &str, path: &Path) -> Result<Packed, LabError> {
    let mut file = File::open(path)?;
    let mut block = vec![0; BLOCK];
    let (mut bytes, mut data_bytes, mut digest) = (0, 0, Sha256::new());
    loop {
        let length = file.read(&mut block)?;
        if length == 0 {
            break;
        }
        let read = &block[..length];
        digest.update(read);
        bytes += length as u64;
        if read.iter().any(|byte| *byte != 0) {
            data_bytes += length as u64;
        }
    }
    Ok(Packed {
        name: name.to_owned(),
        bytes,
        data_bytes,
        sha256: hex::encode(digest.finalize()),
    })
}

/// Everything in the manifest's order.
pub(super) fn write(
    manifest: &Manifest,
    files: &[(String, PathBuf)],
    to: impl Write,
    tell: &(dyn Fn(&str) + Sync),
) -> Result<(), LabError> {
    let mut archive = tar::Builder::new(to);
    let text = serde_json::to_vec_pretty(manifest).map_err(LabError::Record)?;
    archive.append_data(&mut header(text.len() as u64), MANIFEST, &*text)?;
    for ((name, path), packed) in files.iter().zip(&manifest.files) {
        tell(&format!("packs {name}"));
        let file = File::open(path)?.take(packed.bytes);
        archive.append_data(&mut header(packed.bytes), name, file)?;
    }
    archive.into_inner()?.flush()?;
    Ok(())
}

fn header(bytes: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes);
    header.set_mode(0o644);
    header
}
