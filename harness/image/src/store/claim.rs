//! From the right to build an entry to the entry: claim, workspace, publish.
//!
//! An entry appears by one rename, so it is whole or not there. What a killed builder leaves lies in `building/`, and
//! since the builder's lock is free by then, the next one that looks there removes it.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fs_err::File;
use sanlab_lock::{FileLock, LockError, is_locked, lock_shared};
use serde::Serialize;
use tempfile::TempDir;

use crate::error::ImageError;
use crate::store::held::{BOOT, Held, made, this_boot};
use crate::store::{Kind, Store};

/// QEMU opens a file of memory for writing even where it maps it privately.
const OPENED_FOR_WRITING: &str = "ram";

/// How long another may build what is wanted here. Its own waits end earlier.
const BUILDING_PATIENCE: Duration = Duration::from_secs(3600);

/// How long another may have a name of the store's own: for some files that are read, written or renamed.
pub(crate) const MOMENT: Duration = Duration::from_secs(120);

/// The right to build an entry, until this and its workspaces are dropped.
#[derive(Debug)]
pub struct Claim {
    store: Store,
    kind: Kind,
    key: String,
    lock: Arc<FileLock>,
}

/// A folder in which an entry is built. Dropped unpublished, it goes with all that is in it.
#[derive(Debug)]
pub struct Workspace {
    store: Store,
    kind: Kind,
    key: String,
    // In this order: while the folder is there, the lock that protects it is held.
    folder: TempDir,
    _lock: Arc<FileLock>,
}

impl Store {
    /// Waits until nobody else builds that entry; `on_wait` hears of the wait, and of the builder's process id. An hour
    /// is more than a build takes.
    ///
    /// Whoever waited looks again whether the entry is there: the other has probably made it.
    pub fn claim(
        &self,
        kind: Kind,
        key: &str,
        on_wait: impl FnOnce(Option<u32>),
    ) -> Result<Claim, ImageError> {
        let lock = self.lock(&lock_name(kind, key), BUILDING_PATIENCE, on_wait)?;
        self.claimed(kind, key, lock)
    }

    /// The same without a wait: `None` while somebody else builds the entry.
    pub fn try_claim(&self, kind: Kind, key: &str) -> Result<Option<Claim>, ImageError> {
        let lock = FileLock::try_take(&self.locks().join(lock_name(kind, key)))?;
        lock.map(|lock| self.claimed(kind, key, lock)).transpose()
    }

    fn claimed(&self, kind: Kind, key: &str, lock: FileLock) -> Result<Claim, ImageError> {
        self.sweep(Some(&lock_name(kind, key)))?;
        Ok(Claim {
            store: self.clone(),
            kind,
            key: key.to_owned(),
            lock: Arc::new(lock),
        })
    }

    /// Waits until nobody else has that name.
    pub(crate) fn lock(
        &self,
        name: &str,
        patience: Duration,
        on_wait: impl FnOnce(Option<u32>),
    ) -> Result<FileLock, ImageError> {
        FileLock::take(&self.locks().join(name), patience, on_wait).map_err(|error| match error {
            LockError::Io(error) => error.into(),
            LockError::Held(holder) => ImageError::Waited {
                name: name.to_owned(),
                holder,
                patience,
            },
        })
    }

    /// Removes what killed builders and removers left, and whatever is left of `own`, whose lock the caller holds.
    pub(crate) fn sweep(&self, own: Option<&str>) -> Result<(), ImageError> {
        for entry in fs_err::read_dir(self.building())? {
            let path = entry?.path();
            let owner = path.file_stem().unwrap_or_default().to_string_lossy();
            if own == Some(&*owner) || !is_locked(&self.locks().join(&*owner))? {
                remove_tree(&path);
            }
        }
        Ok(())
    }
}

impl Claim {
    /// A new, empty folder on the store's file system.
    pub fn workspace(&self) -> Result<Workspace, ImageError> {
        let folder = tempfile::Builder::new()
            .prefix(&format!("{}.", lock_name(self.kind, &self.key)))
            .tempdir_in(self.store.building())?;
        Ok(Workspace {
            store: self.store.clone(),
            kind: self.kind,
            key: self.key.clone(),
            folder,
            _lock: Arc::clone(&self.lock),
        })
    }
}

impl Workspace {
    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Labels the folder and moves it to its place, its files read-only. An entry that is already there and whole
    /// stays, and is the result.
    pub fn publish(self, label: &impl Serialize) -> Result<Held, ImageError> {
        let key = self.key.clone();
        self.publish_as(&key, label)
    }

    /// The same under a key that was not known before the entry was built.
    pub(crate) fn publish_as(self, key: &str, label: &impl Serialize) -> Result<Held, ImageError> {
        let (kind, folder) = (self.kind, self.folder.path());
        let text = serde_json::to_vec_pretty(label).map_err(io::Error::from)?;
        if !kind.is_synced() {
            fs_err::write(folder.join(BOOT), this_boot())?;
        }
        let label = folder.join(kind.label());
        fs_err::write(&label, &text)?;
        for file in fs_err::read_dir(folder)? {
            let path = file?.path();
            // An entry of the lab's own sources has folders too: without root nobody enters one that is as its files are.
            if path.is_dir() {
                continue;
            }
            if kind.is_synced() {
                File::open(&path)?.sync_all()?;
            }
            let written = path
                .extension()
                .is_some_and(|ext| ext == OPENED_FOR_WRITING);
            let mode = if written { 0o600 } else { 0o444 };
            fs_err::set_permissions(&path, Permissions::from_mode(mode))?;
        }
        fs_err::set_permissions(folder, Permissions::from_mode(0o755))?;
        // Locked before it can be seen, so that there is no moment at which it could be removed.
        let label = lock_shared(&label)?.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let made = made(folder)?;
        let place = self.store.entry(kind, key);
        loop {
            match fs_err::rename(folder, &place) {
                Ok(()) => return Ok(Held::published(&self.store, kind, key, label, text, made)),
                Err(error) if !place.exists() => return Err(error.into()),
                Err(_) => {}
            }
            if let Some(held) = Held::take(&self.store, kind, key)? {
                return Ok(held);
            }
            self.store.discard(kind, key)?;
        }
    }
}

fn lock_name(kind: Kind, key: &str) -> String {
    format!("{kind}-{key}")
}

/// Several may sweep at once, and what cannot be removed now is in nobody's way.
pub(crate) fn remove_tree(path: &Path) {
    match fs_err::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!("left over in the store: {error}");
        }
        _ => {}
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::mpsc;

    use serde_json::json;

    use super::*;

    const KEY: &str = "00ff";

    pub(crate) fn store() -> (TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path()).unwrap();
        (folder, store)
    }

    /// An entry with one file of that many bytes.
    pub(crate) fn publish(store: &Store, kind: Kind, key: &str, bytes: usize) -> Held {
        let claim = store.claim(kind, key, |_| ()).unwrap();
        let workspace = claim.workspace().unwrap();
        fs_err::write(workspace.path().join("n1.ram"), vec![1; bytes]).unwrap();
        workspace.publish(&json!({ "about": "a test" })).unwrap()
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs_err::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn one_of_two_builders_builds_and_the_other_waits() {
        let (_folder, store) = store();
        let (kind, store) = (Kind::Template, &store);
        let claim = store
            .claim(kind, KEY, |_| panic!("nobody else builds"))
            .unwrap();
        let (waits, other_waits) = mpsc::channel();
        std::thread::scope(|scope| {
            let other = scope.spawn(move || {
                let _claim = store
                    .claim(kind, KEY, |builder| waits.send(builder).unwrap())
                    .unwrap();
                store.hold(kind, KEY).unwrap()
            });
            assert_eq!(other_waits.recv().unwrap(), Some(std::process::id()));
            assert!(store.hold(kind, KEY).unwrap().is_none());
            let workspace = claim.workspace().unwrap();
            drop(claim);
            workspace.publish(&json!({})).unwrap();
            assert!(other.join().unwrap().is_some());
        });
        assert_eq!(names(&store.locks()), [""; 0]);
    }

    #[test]
    fn a_wait_ends_and_the_error_says_who_builds() {
        let (_folder, store) = store();
        let _claim = store.claim(Kind::Image, KEY, |_| ()).unwrap();
        let error = store
            .lock("image-00ff", Duration::from_millis(50), |_| ())
            .unwrap_err()
            .to_string();
        let us = std::process::id().to_string();
        insta::assert_snapshot!(error.replace(&us, "4711"), @r"
        wait for image-00ff in the store: process 4711 still has it after 50ms
          help: look at what it does, and end it if it does nothing
        ");
    }

    #[test]
    fn a_published_entry_is_written_to_by_nobody() {
        let (_folder, store) = store();
        let claim = store.claim(Kind::Checkpoint, KEY, |_| ()).unwrap();
        let workspace = claim.workspace().unwrap();
        for name in ["n1.disk", "n1.ram", "n1.state"] {
            fs_err::write(workspace.path().join(name), name).unwrap();
        }
        let held = workspace.publish(&json!({})).unwrap();
        assert_eq!(held.path(), store.root().join("checkpoints").join(KEY));
        let modes = names(held.path()).into_iter().map(|name| {
            let mode = fs_err::metadata(held.path().join(&name)).unwrap();
            format!("{:o} {name}", mode.permissions().mode() & 0o777)
        });
        let expected = "444 boot, 444 label.json, 444 n1.disk, 600 n1.ram, 444 n1.state";
        assert_eq!(modes.collect::<Vec<_>>().join(", "), expected);
        assert_eq!(names(&store.building()), [""; 0]);
    }

    #[test]
    fn a_second_result_leaves_the_first() {
        let (_folder, store) = store();
        publish(&store, Kind::Image, KEY, 1);
        let second = publish(&store, Kind::Image, KEY, 2);
        let file = second.path().join("n1.ram");
        assert_eq!(fs_err::metadata(file).unwrap().len(), 1);
        assert_eq!(names(&store.building()), [""; 0]);
    }

    #[test]
    fn what_is_not_whole_is_not_there_and_gives_way() {
        let (_folder, store) = store();
        for kind in Kind::ALL {
            for damage in ["", "{\"about\": \"a te", "gone"] {
                let held = publish(&store, kind, KEY, 1);
                let label = held.path().join(kind.label());
                fs_err::remove_file(&label).unwrap();
                if damage != "gone" {
                    fs_err::write(&label, damage).unwrap();
                }
                assert!(store.hold(kind, KEY).unwrap().is_none(), "{damage:?}");
                let again = publish(&store, kind, KEY, 2);
                let file = again.path().join("n1.ram");
                assert_eq!(fs_err::metadata(file).unwrap().len(), 2, "{damage:?}");
                again.discard().unwrap();
            }
        }
    }

    #[test]
    fn only_what_was_synced_outlives_the_hosts_boot() {
        let (_folder, store) = store();
        for (kind, outlives) in [
            (Kind::Image, true),
            (Kind::Template, false),
            (Kind::Checkpoint, false),
        ] {
            let held = publish(&store, kind, KEY, 1);
            let boot = held.path().join(BOOT);
            if boot.exists() {
                fs_err::remove_file(&boot).unwrap();
                fs_err::write(boot, "another").unwrap();
            }
            assert_eq!(store.hold(kind, KEY).unwrap().is_some(), outlives, "{kind}");
        }
    }

    #[test]
    fn what_is_not_published_goes() {
        let (_folder, store) = store();
        let claim = store.claim(Kind::Template, KEY, |_| ()).unwrap();
        let workspaces = [claim.workspace().unwrap(), claim.workspace().unwrap()];
        assert_eq!(names(&store.building()).len(), 2);
        drop(workspaces);
        assert_eq!(names(&store.building()), [""; 0]);
        assert!(store.hold(Kind::Template, KEY).unwrap().is_none());
    }

    #[test]
    fn sweeps_what_killed_builders_left() {
        let (_folder, store) = store();
        let abandoned = [
            "template-00ff.a",
            "checkpoint-00ff.b",
            "removed.17",
            "debian-x86.c",
        ];
        for name in abandoned {
            fs_err::create_dir(store.building().join(name)).unwrap();
        }
        let alive = store.claim(Kind::Checkpoint, "22bb", |_| ()).unwrap();
        let alive = alive.workspace().unwrap();
        // A builder that was killed leaves its lock's file as well.
        fs_err::write(store.locks().join("checkpoint-00ff"), "4711").unwrap();
        let _claim = store.claim(Kind::Template, KEY, |_| ()).unwrap();
        let alive = alive.path().file_name().unwrap().to_str().unwrap();
        assert_eq!(names(&store.building()), [alive]);
    }
}
