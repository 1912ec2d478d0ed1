//! What a caller learns while an image is being built.

use std::fmt;

use sanlab_plan::Arch;

use crate::store::image::Sizes;

/// One piece of news from [`crate::store::ensure`]; nothing is said when the store has the image.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// Another process builds the same image; its result will be used.
    Waiting {
        /// For which architecture.
        arch: Arch,
        /// Process id of the builder, if it could be read.
        builder: Option<u32>,
    },
    /// A phase of the build begins.
    Phase {
        /// For which architecture.
        arch: Arch,
        /// Which.
        phase: Phase,
    },
    /// The image is in the store.
    Built {
        /// For which architecture.
        arch: Arch,
        /// Wall time of the whole build.
        seconds: f64,
        /// How large things were and are.
        sizes: Sizes,
    },
}

/// A part of a build, in the order in which they happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The compiler of the guests' programs is fetched and unpacked.
    Compiler,
    /// The guests' programs are compiled, for all architectures.
    Compile,
    /// The mirror's indexes and packages are fetched.
    Download,
    /// Packages are unpacked and configured.
    Install,
    /// The kernel package is fetched and unpacked, its modules chosen.
    Kernel,
    /// The root image is written.
    Root,
    /// The kernel is uncompressed, the initramfs packed.
    Initramfs,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Compiler => "unpack compiler",
            Self::Compile => "compile programs",
            Self::Download => "download packages",
            Self::Install => "install packages",
            Self::Kernel => "choose kernel modules",
            Self::Root => "write root image",
            Self::Initramfs => "unpack kernel, pack initramfs",
        })
    }
}
