//! An entry in use: it is not removed while a process holds it.
//!
//! To hold an entry is to have a shared lock on its label. Whoever removes one needs that lock alone.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use fs_err::File;
use sanlab_lock::{is_at, lock_shared};
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::error::ImageError;
use crate::store::{Kind, Store};

/// The boot of the host in which an entry was written that nobody waited to see on the disk.
pub(crate) const BOOT: &str = "boot";

/// An entry of the store that stays there until the last clone of this is dropped.
#[derive(Debug, Clone)]
pub struct Held {
    store: Store,
    kind: Kind,
    key: String,
    path: PathBuf,
    label: Arc<Label>,
}

#[derive(Debug)]
struct Label {
    /// Locked.
    file: File,
    text: Vec<u8>,
    made: SystemTime,
}

impl Store {
    /// The entry, which stays in the store while the result lives; this is its last use. `None` if it is not there,
    /// or not whole.
    pub fn hold(&self, kind: Kind, key: &str) -> Result<Option<Held>, ImageError> {
        Held::take(self, kind, key)
    }
}

impl Held {
    /// The entry, unless it is not there or not whole.
    pub(crate) fn take(store: &Store, kind: Kind, key: &str) -> Result<Option<Self>, ImageError> {
        let path = store.entry(kind, key);
        let label = path.join(kind.label());
        let Some(mut file) = lock_shared(&label)? else {
            return Ok(None);
        };
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        if !is_whole(&path, &text) {
            return Ok(None);
        }
        Self::new(store, kind, key, file, text).map(Some)
    }

    /// `file` is the locked label of an entry that is whole. It is used now.
    pub(crate) fn new(
        store: &Store,
        kind: Kind,
        key: &str,
        file: File,
        text: Vec<u8>,
    ) -> Result<Self, ImageError> {
        let path = store.entry(kind, key);
        match file.file().set_modified(SystemTime::now()) {
            // Someone else's store can be read, and is not ours to tidy.
            Err(error)
                if !matches!(
                    error.kind(),
                    io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
                ) =>
            {
                return Err(error.into());
            }
            _ => {}
        }
        let made = made(&path)?;
        Ok(Self {
            store: store.clone(),
            kind,
            key: key.to_owned(),
            path,
            label: Arc::new(Label { file, text, made }),
        })
    }

    /// An entry that has just appeared, made at that time. Nothing can fail any more: whoever published it would take it
    /// for not published, and go on writing to its files.
    pub(crate) fn published(
        store: &Store,
        kind: Kind,
        key: &str,
        file: File,
        text: Vec<u8>,
        made: SystemTime,
    ) -> Self {
        Self {
            store: store.clone(),
            kind,
            key: key.to_owned(),
            path: store.entry(kind, key),
            label: Arc::new(Label { file, text, made }),
        }
    }

    /// The entry's folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it is.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Under which key it is stored.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// When it was made.
    pub fn made(&self) -> SystemTime {
        self.label.made
    }

    /// What was written about it when it was published.
    pub fn label<T: DeserializeOwned>(&self) -> Result<T, ImageError> {
        serde_json::from_slice(&self.label.text).map_err(|error| ImageError::Label {
            path: self.path.join(self.kind.label()),
            reason: error.to_string(),
        })
    }

    /// Removes the entry, which was found damaged, unless another has taken its place already. Files of it that are
    /// open live on.
    pub fn discard(self) -> Result<(), ImageError> {
        let label = self.path.join(self.kind.label());
        let is_same = || is_at(&self.label.file, &label);
        self.store.remove_if(self.kind, &self.key, is_same)?;
        Ok(())
    }
}

/// Whether an entry with that label can be believed.
///
/// What the host had not brought to the disk before a crash reads as zeros afterwards, under the right name and with
/// the right size. So an entry that was not synced is good until the host boots again.
pub(crate) fn is_whole(folder: &Path, label: &[u8]) -> bool {
    let in_this_boot = match fs_err::read_to_string(folder.join(BOOT)) {
        Ok(boot) => boot == this_boot(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    in_this_boot && serde_json::from_slice::<IgnoredAny>(label).is_ok()
}

/// The kernel's name for the time since it started.
pub(crate) fn this_boot() -> String {
    fs_err::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default()
}

/// Nothing is added to an entry's folder after its label, the last of its files.
pub(crate) fn made(folder: &Path) -> io::Result<SystemTime> {
    fs_err::metadata(folder)?.modified()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde::Deserialize;

    use super::*;
    use crate::store::claim::tests::{publish, store};

    #[test]
    fn says_what_its_label_says() {
        #[derive(Debug, Deserialize)]
        struct Words {
            about: String,
        }
        let (_folder, store) = store();
        let held = publish(&store, Kind::Template, "00ff", 1);
        assert_eq!(held.label::<Words>().unwrap().about, "a test");
        assert_eq!((held.kind(), held.key()), (Kind::Template, "00ff"));
        let error = held.label::<Vec<u8>>().unwrap_err().to_string();
        let expected = format!("read the label {}", held.path().display());
        assert!(error.starts_with(&expected), "{error}");
    }

    #[test]
    fn is_used_when_it_is_held() {
        let (_folder, store) = store();
        let first = publish(&store, Kind::Template, "00ff", 1);
        let label = File::open(first.path().join("label.json")).unwrap();
        let long_ago = SystemTime::now() - Duration::from_secs(3600);
        label.file().set_modified(long_ago).unwrap();
        let second = store.hold(Kind::Template, "00ff").unwrap().unwrap();
        assert!(label.metadata().unwrap().modified().unwrap() > long_ago);
        assert_eq!(first.made(), second.made());
    }

    #[test]
    fn discards_only_itself() {
        let (_folder, store) = store();
        let damaged = publish(&store, Kind::Checkpoint, "00ff", 1);
        let seen_by_another = damaged.clone();
        let mut open = File::open(damaged.path().join("n1.ram")).unwrap();
        damaged.discard().unwrap();
        assert!(store.hold(Kind::Checkpoint, "00ff").unwrap().is_none());
        let mut byte = [0];
        open.read_exact(&mut byte).unwrap();
        assert_eq!(byte, [1]);

        publish(&store, Kind::Checkpoint, "00ff", 2);
        seen_by_another.discard().unwrap();
        assert!(store.hold(Kind::Checkpoint, "00ff").unwrap().is_some());
        assert_eq!(fs_err::read_dir(store.building()).unwrap().count(), 0);
    }
}
