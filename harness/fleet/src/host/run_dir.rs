//! The folder of one run: its sockets, disks and claims.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sanlab_lock::FileLock;
use tokio::task::spawn_blocking;

use crate::error::FleetError;
use crate::host::locked::{LOCK, Locked};

/// `sun_path` has 108 bytes, the last of which ends the string (unix(7)).
const SOCKET_PATH: usize = 107;

/// A run's folder. Its name is short because socket paths are; dropping this removes it with all that is in it.
#[derive(Debug)]
pub struct RunDir {
    // Removed before the lock is given up.
    dir: tempfile::TempDir,
    _lock: FileLock,
}

impl RunDir {
    /// Makes and locks a folder; the registry's lock keeps sweepers from seeing it in between.
    pub(crate) fn create(registry: &Locked) -> Result<Self, FleetError> {
        let dir = tempfile::Builder::new()
            .prefix("")
            .rand_bytes(6)
            .permissions(PermissionsExt::from_mode(0o700))
            .tempdir_in(registry.path())?;
        // Nobody else can have it: the folder is a moment old, and sweepers wait for the registry.
        let lock = FileLock::try_take(&dir.path().join(LOCK))?
            .ok_or_else(|| std::io::Error::other("a new folder's lock is taken"))?;
        Ok(Self { dir, _lock: lock })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The folder's name, which is the run's.
    pub fn name(&self) -> String {
        self.path()
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    }

    /// The path of a socket in the folder, if a socket can have it.
    pub fn socket(&self, name: &str) -> Result<PathBuf, FleetError> {
        let path = self.path().join(name);
        let bytes = path.as_os_str().len();
        if bytes > SOCKET_PATH {
            return Err(FleetError::LongSocketPath {
                path,
                bytes,
                limit: SOCKET_PATH,
            });
        }
        Ok(path)
    }

    /// Removes the folder, which may hold gigabytes; unlike dropping it, says so when that fails.
    pub async fn remove(self) -> Result<(), FleetError> {
        let removed = spawn_blocking(move || match self.dir.close() {
            // A sweeper that saw it half removed finished the work.
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        });
        Ok(removed.await.map_err(std::io::Error::from)??)
    }
}

#[cfg(test)]
mod tests {
    use crate::Registry;

    #[test]
    fn a_long_socket_path_names_the_way_out() {
        let dir = tempfile::tempdir().unwrap();
        // The run's own name, with its slashes, takes 8 bytes, and the shortest socket one.
        let padding = super::SOCKET_PATH - dir.path().as_os_str().len() - 12;
        let base = dir.path().join("x".repeat(padding));
        let (registry, _) = Registry::at(&base).unwrap();
        let run = registry.create_run().unwrap();
        assert!(run.socket("a").is_ok());
        let error = run
            .socket("a-node-with-a-long-name/agent.sock")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(
                "unix sockets allow 107; set SANLAB_RUNTIME to a folder with a shorter path"
            ),
            "{error}"
        );
    }
}
