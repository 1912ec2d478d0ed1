//! From manifest and lock to kernel, initramfs and root image. In the pipeline this crate stands before `fleet`, which boots them.
//!
//! A [`Manifest`] (`images/NAME.toml`) says which packages and kernel modules a guest has; the lock beside it says
//! which versions went in. [`ensure`] looks the result up in a [`Store`] whose keys are digests of everything that
//! goes in, and builds it with the host's mmdebstrap and mkfs.erofs when it is not there.
//!
//! The store also keeps what later stages make: templates and checkpoints. A process that wants an entry holds it
//! ([`Store::hold`]); if there is none, it claims the key, builds the entry in a workspace and publishes it
//! ([`Store::claim`]). [`Store::collect`] keeps the store within its limit. Processes may do all this concurrently and be
//! killed at any moment.
//!
//! ```no_run
//! use sanlab_image::{Manifest, Store, ensure};
//! use sanlab_plan::Arch;
//!
//! let manifest = Manifest::load("images/debian-bookworm.toml".as_ref())?;
//! let image = ensure(&Store::open_default()?, &manifest, Arch::X86, false, &|_| ())?;
//! assert!(image.kernel.exists());
//! # Ok::<(), sanlab_image::ImageError>(())
//! ```

mod artefacts;
mod build;
mod error;
mod manifest;
mod store;
mod symbols;
mod user_namespace;

pub use artefacts::{ARTEFACTS_BYTES, Laid};
pub use build::headers::{Headers, headers};
pub use build::host_tools::{HostTool, missing_host_tools};
pub use build::progress::{Phase, Progress};
pub use build::sparse::{copy_sparse, copy_sparse_unless};
pub use error::{ImageError, Product};
pub use manifest::lock_diff::{LockDiff, LockedPackage};
pub use manifest::{KernelSource, Manifest};
pub use store::claim::{Claim, Workspace};
pub use store::collect::{Collected, DEFAULT_LIMIT, Entry};
pub use store::ensure::ensure;
pub use store::held::Held;
pub use store::image::{Image, Sizes, Wanted};
pub use store::{Kind, Store};
pub use symbols::{Call, DebugFiles, Symbols, debug_files};
pub use user_namespace::{UserNamespace, user_namespace};
