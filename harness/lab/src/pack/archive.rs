//! A saved fleet becomes one file: manifest, states, disks, images and record, as tar, compressed by zstd.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use fs_err::File;
use sanlab_fleet::Store;
use sanlab_image::Image;
use sanlab_run::{SAVED, SAVED_LABEL};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::error::PackError;
use super::manifest::{MANIFEST, Manifest, Packed};
use super::ready::Ready;
use super::sources::Sources;
use crate::LabError;

/// Read at once; a block of zeros takes nothing on a disk.
pub(crate) const BLOCK: usize = 64 << 10;

/// The folder of images in an archive, each in one that is called by its digest.
pub(crate) const IMAGES: &str = "images";

/// Packs the saved fleet of that folder into a new file. `tell` hears what is done. How long the file is.
pub(crate) fn pack(
    folder: &Path,
    store: &Store,
    to: &Path,
    tell: &(dyn Fn(&str) + Sync),
) -> Result<u64, LabError> {
    if to.exists() {
        return Err(PackError::Exists(to.to_owned()).into());
    }
    // Held until the end: an image in use stays in the store.
    let ready = Ready::of_folder(folder, store)?;
    let mut images: BTreeMap<&str, &Image> = BTreeMap::new();
    for image in ready.images.values() {
        images.insert(&image.digest, image);
    }
    let held = images.values().map(|image| image.hold());
    let _held = held.collect::<Result<Vec<_>, _>>()?;
    let mut files = states(folder)?;
    for image in images.values() {
        for file in image.files() {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            files.push((format!("{IMAGES}/{}/{name}", image.digest), file.to_owned()));
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
    let labels = images.iter().map(|(digest, image)| {
        let label = image.label()?;
        Ok(((*digest).to_owned(), label))
    });
    let labels = labels.collect::<Result<_, LabError>>()?;
    let saved: Value = serde_json::from_slice(&fs_err::read(folder.join(SAVED_LABEL))?)
        .map_err(LabError::Record)?;
    let manifest = Manifest::new(Sources::read(folder)?, saved, labels, packed);
    let part = part_of(to);
    let done = compress(&manifest, &files, &part, tell);
    if let Err(error) = done {
        // The first error tells more.
        let _ = fs_err::remove_file(&part);
        return Err(error);
    }
    fs_err::rename(&part, to)?;
    Ok(fs_err::metadata(to)?.len())
}

/// Where it is written, beside its place.
fn part_of(to: &Path) -> PathBuf {
    let mut name = to.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    to.with_file_name(name)
}

/// The guests' files of a saved fleet, with their names in the archive.
fn states(folder: &Path) -> Result<Vec<(String, PathBuf)>, LabError> {
    let mut files = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_none_or(|it| it != "json") {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            files.push((format!("{SAVED}/{name}"), path));
        }
    }
    files.sort_unstable();
    Ok(files)
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

fn compress(
    manifest: &Manifest,
    files: &[(String, PathBuf)],
    to: &Path,
    tell: &(dyn Fn(&str) + Sync),
) -> Result<(), LabError> {
    let out = File::create(to)?.into_parts().0;
    let mut zstd = Command::new("zstd")
        .args(["-q", "-T0", "-c"])
        .stdin(Stdio::piped())
        .stdout(out)
        .stderr(Stdio::piped())
        .spawn()
        .map_err(PackError::NoCompressor)?;
    let input = zstd.stdin.take();
    let input = input.ok_or_else(|| io::Error::other("zstd has no input"))?;
    let written = write(manifest, files, input, tell);
    // It has read all, or its input is closed: it ends.
    let ended = end(zstd);
    // Why it ended early tells more than that it did not read on.
    ended?;
    written
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

fn end(zstd: Child) -> Result<(), LabError> {
    let output = zstd.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(PackError::Compressor {
        status: output.status.to_string(),
        said: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    }
    .into())
}
