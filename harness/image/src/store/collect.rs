//! What the store holds, and how it is kept within its limit.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use fs_err::File;
use sanlab_lock::try_lock;
use sanlab_plan::ByteSize;

use crate::error::ImageError;
use crate::store::claim::{MOMENT, remove_tree};
use crate::store::held::{is_whole, made};
use crate::store::{Kind, Store};

/// How many bytes a store takes on the disk at most, unless `SANLAB_CACHE_LIMIT` says otherwise.
pub const DEFAULT_LIMIT: u64 = 16 << 30;

/// Not the name of a lock of [`Store::claim`]: those have a kind before their key.
const REMOVAL: &str = "removal";

/// Nobody locks this name, so that everybody sweeps what stands under it.
const REMOVED: &str = "removed";

/// Something in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// Under which key it is stored.
    pub key: String,
    /// Its label's `about`, or an image's kernel release: what it is for, in a few words.
    pub about: String,
    /// The lengths of its files together.
    pub apparent_bytes: u64,
    /// What its files take on the disk: holes cost nothing.
    pub real_bytes: u64,
    /// When it was published.
    pub made: SystemTime,
    /// When it was last held.
    pub used: SystemTime,
    /// Somebody holds it now.
    pub held: bool,
    /// It can be used. Otherwise its label is damaged, or the host has booted since it was made and may have lost
    /// some of it: it counts as missing, and is the first that [`Store::collect`] removes.
    pub whole: bool,
}

/// What [`Store::collect`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collected {
    /// What is gone, in the order in which it went.
    pub removed: Vec<Entry>,
    /// On the disk by entries that somebody holds.
    pub held_bytes: u64,
    /// On the disk by all entries that are left; more than was asked for if too many are held.
    pub real_bytes: u64,
}

impl Store {
    /// The limit that the user set in `SANLAB_CACHE_LIMIT`, else [`DEFAULT_LIMIT`].
    pub fn limit() -> Result<u64, ImageError> {
        limit(
            std::env::var_os("SANLAB_CACHE_LIMIT").map(|text| text.to_string_lossy().into_owned()),
        )
    }

    /// All entries, of each [`Kind`] sorted by key.
    pub fn entries(&self) -> Result<Vec<Entry>, ImageError> {
        self.sweep(None)?;
        let _removal = self.lock(REMOVAL, MOMENT, |_| ())?;
        self.list()
    }

    /// Removes what cannot be used, then those that were not used for longest, until all together take at most
    /// `max_bytes` on the disk. What is held stays.
    pub fn collect(&self, max_bytes: u64) -> Result<Collected, ImageError> {
        self.sweep(None)?;
        let removal = self.lock(REMOVAL, MOMENT, |_| ())?;
        let mut entries = self.list()?;
        entries.sort_by_key(|entry| (entry.whole, entry.used));
        let mut collected = Collected {
            removed: Vec::new(),
            held_bytes: 0,
            real_bytes: entries.iter().map(|entry| entry.real_bytes).sum(),
        };
        let mut trashes = Vec::new();
        for entry in entries {
            let is_due = !entry.whole || collected.real_bytes > max_bytes;
            // Somebody may have taken hold of it a moment ago.
            let label =
                File::open(self.entry(entry.kind, &entry.key).join(entry.kind.label())).ok();
            let is_held = label
                .as_ref()
                .is_some_and(|label| !try_lock(label).unwrap_or(false));
            if entry.held || is_held {
                collected.held_bytes += entry.real_bytes;
            } else if is_due {
                trashes.push(self.move_to_trash(entry.kind, &entry.key)?);
                collected.real_bytes -= entry.real_bytes;
                collected.removed.push(entry);
            }
        }
        drop(removal);
        for trash in trashes.into_iter().flatten() {
            remove_tree(&trash);
        }
        Ok(collected)
    }

    /// Removes an entry that was found damaged, held or not: its open files live on. Says whether there was anything.
    ///
    /// Only for the holder of its claim, or another may have put a good one in its place; [`crate::Held::discard`]
    /// looks.
    pub fn discard(&self, kind: Kind, key: &str) -> Result<bool, ImageError> {
        self.remove_if(kind, key, || Ok(true))
    }

    /// Removes an entry if `condition` is true while nobody else removes any.
    pub(crate) fn remove_if(
        &self,
        kind: Kind,
        key: &str,
        condition: impl FnOnce() -> io::Result<bool>,
    ) -> Result<bool, ImageError> {
        let removal = self.lock(REMOVAL, MOMENT, |_| ())?;
        let trash = if condition()? {
            self.move_to_trash(kind, key)?
        } else {
            None
        };
        drop(removal);
        if let Some(trash) = &trash {
            remove_tree(trash);
        }
        Ok(trash.is_some())
    }

    /// Space that is left on the store's file system for this user.
    pub fn free_bytes(&self) -> Result<u64, ImageError> {
        let stat = rustix::fs::statvfs(self.root()).map_err(io::Error::from)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Takes an entry away by one rename, to where everybody sweeps. The caller has the lock of removals.
    fn move_to_trash(&self, kind: Kind, key: &str) -> io::Result<Option<PathBuf>> {
        let place = self.entry(kind, key);
        let number = match fs_err::metadata(&place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?.ino(),
        };
        // No two folders that exist have the same number.
        let trash = self.building().join(format!("{REMOVED}.{number}"));
        fs_err::rename(place, &trash)?;
        Ok(Some(trash))
    }

    fn list(&self) -> Result<Vec<Entry>, ImageError> {
        let mut entries = Vec::new();
        for kind in Kind::ALL {
            let mut keys = Vec::new();
            for found in fs_err::read_dir(self.entries_of(kind))? {
                keys.push(found?.file_name().to_string_lossy().into_owned());
            }
            keys.sort_unstable();
            for key in keys {
                entries.push(self.examine(kind, key)?);
            }
        }
        Ok(entries)
    }

    /// The caller has the lock of removals: nothing vanishes, and nobody else tries whether something is held.
    fn examine(&self, kind: Kind, key: String) -> Result<Entry, ImageError> {
        let folder = self.entry(kind, &key);
        let made = made(&folder)?;
        let (mut apparent_bytes, mut real_bytes) = (0, 0);
        measure(&folder, &mut apparent_bytes, &mut real_bytes)?;
        let mut entry = Entry {
            kind,
            key,
            about: String::new(),
            apparent_bytes,
            real_bytes,
            made,
            used: made,
            held: false,
            whole: false,
        };
        let path = folder.join(kind.label());
        let label = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(entry),
            other => other?,
        };
        entry.used = label.metadata()?.modified()?;
        entry.held = !try_lock(&label)?;
        let text = fs_err::read(path)?;
        entry.whole = is_whole(&folder, &text);
        entry.about = about(&text).unwrap_or_default();
        Ok(entry)
    }
}

fn about(label: &[u8]) -> Option<String> {
    let label: serde_json::Value = serde_json::from_slice(label).ok()?;
    let about = label.get("about").or_else(|| label.get("kernel_release"));
    Some(about?.as_str()?.to_owned())
}

fn measure(folder: &Path, apparent: &mut u64, real: &mut u64) -> io::Result<()> {
    /// The unit of `st_blocks`, whatever the file system's own blocks are.
    const BLOCK: u64 = 512;
    for found in fs_err::read_dir(folder)? {
        let found = found?;
        let meta = found.metadata()?;
        // Entries may share a file: each has its part of it.
        *real += meta.blocks() * BLOCK / meta.nlink().max(1);
        if meta.is_dir() {
            measure(&found.path(), apparent, real)?;
        } else {
            *apparent += meta.len();
        }
    }
    Ok(())
}

fn limit(set: Option<String>) -> Result<u64, ImageError> {
    match set.filter(|text| !text.is_empty()) {
        None => Ok(DEFAULT_LIMIT),
        Some(text) => match ByteSize::parse(&text) {
            Ok(size) => Ok(size.bytes()),
            Err(error) => Err(ImageError::Limit {
                text,
                reason: error.reason,
            }),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::store::claim::tests::{publish, store};

    const MIB: usize = 1 << 20;

    fn used_before(store: &Store, kind: Kind, key: &str, minutes: u64) {
        let label = File::open(store.entry(kind, key).join(kind.label())).unwrap();
        let then = SystemTime::now() - Duration::from_secs(minutes * 60);
        label.file().set_modified(then).unwrap();
    }

    fn keys(entries: &[Entry]) -> Vec<&str> {
        entries.iter().map(|entry| entry.key.as_str()).collect()
    }

    #[test]
    fn lists_what_is_there() {
        let (_folder, store) = store();
        publish(&store, Kind::Template, "bb", MIB);
        let held = publish(&store, Kind::Checkpoint, "cc", 1);
        publish(&store, Kind::Image, "aa", 1);
        let holes = fs_err::OpenOptions::new()
            .write(true)
            .open(held.path().join("n1.ram"))
            .unwrap();
        holes.set_len(64 * MIB as u64).unwrap();
        let entries = store.entries().unwrap();
        assert_eq!(keys(&entries), ["aa", "bb", "cc"]);
        assert!(
            entries
                .iter()
                .all(|entry| entry.whole && entry.about == "a test")
        );
        assert!(entries[1].apparent_bytes >= MIB as u64 && entries[1].real_bytes >= MIB as u64);
        assert!(entries[2].apparent_bytes >= 64 * MIB as u64);
        assert!(entries[2].real_bytes < MIB as u64);
        assert_eq!(entries[2].made, held.made());
        let held = entries.iter().map(|entry| entry.held);
        assert_eq!(held.collect::<Vec<_>>(), [false, false, true]);
    }

    #[test]
    fn an_image_is_told_by_its_kernel() {
        assert_eq!(
            about(br#"{"kernel_release":"6.1"}"#).as_deref(),
            Some("6.1")
        );
        assert_eq!(about(br#"{"about":7}"#), None);
        assert_eq!(about(b"{"), None);
    }

    #[test]
    fn removes_what_was_not_used_for_longest() {
        let (_folder, store) = store();
        let ages = [
            (Kind::Image, "a", 30),
            (Kind::Template, "b", 10),
            (Kind::Checkpoint, "c", 20),
        ];
        for (kind, key, minutes) in ages {
            publish(&store, kind, key, MIB);
            used_before(&store, kind, key, minutes);
        }
        let all: u64 = store
            .entries()
            .unwrap()
            .iter()
            .map(|entry| entry.real_bytes)
            .sum();
        let nothing = store.collect(all).unwrap();
        assert_eq!((keys(&nothing.removed), nothing.real_bytes), (vec![], all));
        let one = store.collect(all - 1).unwrap();
        assert_eq!(keys(&one.removed), ["a"]);
        assert_eq!(one.real_bytes, all - one.removed[0].real_bytes);
        let rest = store.collect(0).unwrap();
        assert_eq!((keys(&rest.removed), rest.real_bytes), (vec!["c", "b"], 0));
        assert_eq!(fs_err::read_dir(store.building()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_held_stays() {
        let (_folder, store) = store();
        let held = publish(&store, Kind::Checkpoint, "a", MIB);
        used_before(&store, Kind::Checkpoint, "a", 10);
        publish(&store, Kind::Checkpoint, "b", MIB);
        let collected = store.collect(0).unwrap();
        assert_eq!(keys(&collected.removed), ["b"]);
        assert!(collected.held_bytes >= MIB as u64);
        assert_eq!(collected.real_bytes, collected.held_bytes);
        assert!(held.path().join("n1.ram").exists());
        let clone = held.clone();
        drop(held);
        assert_eq!(keys(&store.collect(0).unwrap().removed), [""; 0]);
        drop(clone);
        assert_eq!(keys(&store.collect(0).unwrap().removed), ["a"]);
    }

    #[test]
    fn what_cannot_be_used_goes_first() {
        let (_folder, store) = store();
        for key in ["a", "b", "c"] {
            publish(&store, Kind::Template, key, 1);
        }
        let label = store.entry(Kind::Template, "b").join("label.json");
        fs_err::remove_file(&label).unwrap();
        fs_err::write(label, "{").unwrap();
        fs_err::remove_file(store.entry(Kind::Template, "c").join("label.json")).unwrap();
        let whole = |entries: &[Entry]| entries.iter().map(|entry| entry.whole).collect::<Vec<_>>();
        assert_eq!(whole(&store.entries().unwrap()), [true, false, false]);
        let collected = store.collect(u64::MAX).unwrap();
        assert_eq!(whole(&collected.removed), [false, false]);
        assert_eq!(keys(&store.entries().unwrap()), ["a"]);
    }

    #[test]
    fn two_collectors_remove_no_more_than_one() {
        let (_folder, store) = store();
        for key in 0..16 {
            publish(&store, Kind::Template, &format!("{key:02}"), MIB);
        }
        let entries = store.entries().unwrap();
        let half = entries[..8].iter().map(|entry| entry.real_bytes).sum();
        let removed: usize = std::thread::scope(|scope| {
            let collectors = [(); 2].map(|()| scope.spawn(|| store.collect(half).unwrap()));
            let removed = collectors.map(|collector| collector.join().unwrap().removed.len());
            removed.iter().sum()
        });
        assert_eq!((removed, store.entries().unwrap().len()), (8, 8));
    }

    #[test]
    fn nothing_that_was_got_hold_of_is_removed() {
        const ROUNDS: usize = 300;
        let (_folder, store) = store();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    store.collect(0).unwrap();
                    store.entries().unwrap();
                }
            });
            let users = [(); 2].map(|()| {
                scope.spawn(|| {
                    for _ in 0..ROUNDS {
                        let held = match store.hold(Kind::Template, "a").unwrap() {
                            Some(held) => held,
                            None => publish(&store, Kind::Template, "a", 1),
                        };
                        assert!(held.path().join("n1.ram").exists());
                        assert!(held.path().join("label.json").exists());
                    }
                })
            });
            let ended = users.map(std::thread::ScopedJoinHandle::join);
            done.store(true, Ordering::Relaxed);
            assert!(ended.iter().all(Result::is_ok));
        });
    }

    #[test]
    fn the_limit_is_a_size() {
        assert_eq!(limit(None).unwrap(), DEFAULT_LIMIT);
        assert_eq!(limit(Some(String::new())).unwrap(), DEFAULT_LIMIT);
        assert_eq!(limit(Some("10GiB".to_owned())).unwrap(), 10 << 30);
        let error = limit(Some("ten".to_owned())).unwrap_err().to_string();
        assert!(
            error.starts_with("read SANLAB_CACHE_LIMIT `ten`: a size is"),
            "{error}"
        );
    }
}
