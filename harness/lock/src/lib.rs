//! File locks between processes of the host. In the pipeline this crate stands before all that use it: `image`, `vm`, `fleet`.
//!
//! The kernel drops a lock with the process that holds it, however that ends. So a lock that is free proves that its holder
//! is done or dead.
//!
//! ```
//! # let folder = tempfile::tempdir()?;
//! use sanlab_lock::{FileLock, is_locked};
//!
//! let path = folder.path().join("name");
//! let lock = FileLock::try_take(&path)?.expect("nobody else has it");
//! assert!(is_locked(&path)?);
//! drop(lock);
//! assert!(!is_locked(&path)?);
//! # Ok::<(), std::io::Error>(())
//! ```

mod file_lock;
mod shared;

pub use file_lock::{FileLock, LockError, holder, is_locked};
pub use shared::{is_at, lock_shared, try_lock};
