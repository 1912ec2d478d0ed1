//! An archive is read: its manifest alone, or all of it, into the store.

use std::cell::Cell;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::rc::Rc;

use fs_err::File;
use ruzstd::decoding::StreamingDecoder;
use sanlab_fleet::{Held, Kind, Store};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::archive::BLOCK;
use super::error::PackError;
use super::manifest::{LONGEST, MANIFEST, Manifest, Packed};
use crate::LabError;

/// What a file begins with that zstd has compressed.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// What must be left on the store's disk, so that a full one is not of our making.
const SPARE_BYTES: u64 = 1 << 30;

/// An archive whose manifest has been read.
pub(crate) struct Opened {
    pub(crate) manifest: Manifest,
    /// By which the store knows what is in it.
    key: String,
}

/// Whether a file looks like an archive.
pub(crate) fn is_archive(path: &Path) -> bool {
    let mut begin = [0; 4];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut begin));
    let is_called_so = path.extension().is_some_and(|it| it == "zst");
    is_called_so || (read.is_ok() && begin == ZSTD)
}

/// Reads the manifest, and no more.
pub(crate) fn open(path: &Path) -> Result<Opened, LabError> {
    let (source, ended) = source(path)?;
    let trouble = |error| trouble(path, &ended, &error);
    let mut archive = tar::Archive::new(source);
    let mut entries = archive.entries().map_err(trouble)?;
    let first = entries.next().transpose().map_err(trouble)?;
    let no_archive = |why: &str| PackError::NoArchive {
        path: path.to_owned(),
        why: why.to_owned(),
    };
    let first = first.filter(|first| *first.path_bytes() == *MANIFEST.as_bytes());
    let first = first.ok_or_else(|| no_archive("it does not begin with a manifest"))?;
    if first.size() > LONGEST {
        return Err(no_archive("its manifest is too long").into());
    }
    let mut text = Vec::new();
    first
        .take(LONGEST)
        .read_to_end(&mut text)
        .map_err(trouble)?;
    Ok(Opened {
        manifest: Manifest::parse(path, &text)?,
        key: hex::encode(Sha256::digest(&text)),
    })
}

impl Opened {
    /// All that is in it, in the store: unpacked now unless it is there. Each file is verified.
    pub(crate) fn unpacked(
        &self,
        path: &Path,
        store: &Store,
        tell: &(dyn Fn(&str) + Sync),
    ) -> Result<Held, LabError> {
        let (kind, key) = (Kind::Archive, &self.key);
        if let Some(held) = store.hold(kind, key)? {
            return Ok(held);
        }
        let (needed, free) = (self.manifest.data_bytes(), store.free_bytes()?);
        if free < needed.saturating_add(SPARE_BYTES) {
            let store = store.root().to_owned();
            return Err(PackError::NoRoom {
                needed,
                free,
                store,
            }
            .into());
        }
        let claim = store.claim(kind, key, |_| {
            tell("waits for another process that unpacks it");
        })?;
        if let Some(held) = store.hold(kind, key)? {
            return Ok(held);
        }
        let workspace = claim.workspace()?;
        self.unpack(path, workspace.path(), tell)?;
        let about = format!("{}: as it failed", self.manifest.sources.id);
        let held = workspace.publish(&json!({ "about": about }))?;
        store.collect(Store::limit()?)?;
        Ok(held)
    }

    /// The files that the manifest lists, in its order, and nothing else.
    pub(super) fn unpack(
        &self,
        path: &Path,
        folder: &Path,
        tell: &(dyn Fn(&str) + Sync),
    ) -> Result<(), LabError> {
        let (source, ended) = source(path)?;
        let trouble = |error| trouble(path, &ended, &error);
        let damaged = |why| PackError::Damaged {
            path: path.to_owned(),
            why,
        };
        let mut archive = tar::Archive::new(source);
        let mut entries = archive.entries().map_err(trouble)?.skip(1);
        for file in &self.manifest.files {
            tell(&format!("unpacks {}", file.name));
            let entry = entries.next().transpose().map_err(trouble)?;
            let entry = entry.ok_or_else(|| damaged(format!("it lacks {}", file.name)))?;
            let is_it = *entry.path_bytes() == *file.name.as_bytes()
                && entry.header().entry_type().is_file()
                && entry.size() == file.bytes;
            if !is_it {
                return Err(damaged(format!("{} is not where it belongs", file.name)).into());
            }
            let to = folder.join(&file.name);
            if let Some(parent) = to.parent() {
                fs_err::create_dir_all(parent)?;
            }
            let found = copy(entry, &to, file).map_err(|error| match error {
                Copying::Reading(error) => LabError::from(trouble(error)),
                Copying::Writing(error) => error.into(),
            })?;
            if found != file.sha256 {
                let why = format!("the SHA-256 of {} is {found}", file.name);
                return Err(damaged(why).into());
            }
        }
        if entries.next().transpose().map_err(trouble)?.is_some() {
            let why = "it has more files than its manifest lists".to_owned();
            return Err(damaged(why).into());
        }
        Ok(())
    }
}

enum Copying {
    Reading(io::Error),
    Writing(io::Error),
}

/// Writes a file with holes for zeros. Its SHA-256.
fn copy(mut from: impl Read, to: &Path, file: &Packed) -> Result<String, Copying> {
    let mut out = File::create_new(to).map_err(Copying::Writing)?;
    out.set_len(file.bytes).map_err(Copying::Writing)?;
    let (mut block, mut digest, mut place) = (vec![0; BLOCK], Sha256::new(), 0);
    loop {
        let length = from.read(&mut block).map_err(Copying::Reading)?;
        if length == 0 {
            return Ok(hex::encode(digest.finalize()));
        }
        let read = &block[..length];
        digest.update(read);
        if read.iter().any(|byte| *byte != 0) {
            let written = out.seek(SeekFrom::Start(place));
            written
                .and_then(|_| out.write_all(read))
                .map_err(Copying::Writing)?;
        }
        place += length as u64;
    }
}

/// What zstd has compressed, and whether the file's end has been seen.
fn source(path: &Path) -> Result<(impl Read, Rc<Cell<bool>>), LabError> {
    let ended = Rc::new(Cell::new(false));
    let file = Watched {
        file: File::open(path).map_err(LabError::Unreadable)?,
        ended: Rc::clone(&ended),
    };
    let decoder = StreamingDecoder::new(BufReader::new(file));
    let decoder = decoder.map_err(|_| PackError::NoArchive {
        path: path.to_owned(),
        why: "zstd has not compressed it".to_owned(),
    })?;
    Ok((decoder, ended))
}

/// An error within an archive: at its end it is cut short.
fn trouble(path: &Path, ended: &Cell<bool>, error: &io::Error) -> PackError {
    let path = path.to_owned();
    if ended.get() {
        return PackError::CutShort(path);
    }
    PackError::Damaged {
        path,
        why: error.to_string(),
    }
}

/// A file that remembers that its end was seen.
struct Watched {
    file: File,
    ended: Rc<Cell<bool>>,
}

impl Read for Watched {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read(into)?;
        self.ended
            .set(self.ended.get() || (length == 0 && !into.is_empty()));
        Ok(length)
    }
}
