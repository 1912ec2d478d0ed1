//! Why a saved fleet cannot be packed, or brought up.

use std::path::PathBuf;

use sanlab_fleet::Difference;

use crate::terminal::quantity::size;

/// Each says the way out, where there is one.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// Nothing is there.
    #[error(
        "{} is no folder: name that of a run, or of a scenario in it; `sanlab run` says it at its end",
        .0.display()
    )]
    NoRun(PathBuf),
    /// There is none.
    #[error(
        "{} has no saved fleet: `sanlab run --save-on-failure FILE` saves the fleet of a scenario that fails, beside its record",
        .0.display()
    )]
    NoneSaved(PathBuf),
    /// It does not say which.
    #[error("{} has several saved fleets; name one of them:\n  {}", .path.display(), .found.join("\n  "))]
    Several {
        /// The folder.
        path: PathBuf,
        /// Theirs.
        found: Vec<String>,
    },
    /// Whoever saved it did not come to the end, or its files have been changed.
    #[error("the saved fleet {} is not whole: {why}", .path.display())]
    NotWhole {
        /// Its folder.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Its guests run from files that are gone.
    #[error(
        "the store has no image {image} any more, which node {node} of the saved fleet runs from; where its manifest, its lock and the code under test are the same, running the scenario builds it again"
    )]
    ImageGone {
        /// The node.
        node: String,
        /// The image's digest, shortened.
        image: String,
    },
    /// Nothing is written over.
    #[error("{} is there already: name another file", .0.display())]
    Exists(PathBuf),
    /// Folders are not made.
    #[error("{} cannot be made, since its folder is not there: make that, or name another file", .0.display())]
    NoFolder(PathBuf),
    /// No compressor.
    #[error(
        "run zstd, which compresses the archive: {0}; it is in the package zstd of most distributions"
    )]
    NoCompressor(std::io::Error),
    /// It did not do its part.
    #[error("zstd did not compress the archive ({status}): {said}")]
    Compressor {
        /// How it ended.
        status: String,
        /// What it said.
        said: String,
    },
    /// Something else.
    #[error("{} is no archive of `sanlab pack`: {why}", .path.display())]
    NoArchive {
        /// The file.
        path: PathBuf,
        /// What is in its place.
        why: String,
    },
    /// By another version of the lab.
    #[error("the archive {} has format {format}, of sanlab {by}; this is sanlab {}, which reads format {}", .path.display(), env!("CARGO_PKG_VERSION"), super::manifest::FORMAT)]
    OtherFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u64,
        /// Who made it.
        by: String,
    },
    /// It ends too early.
    #[error("the archive {} is cut short: copy it again", .0.display())]
    CutShort(PathBuf),
    /// What is in it is not what its manifest says.
    #[error("the archive {} is damaged: {why}; copy it again", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// It cannot be unpacked.
    #[error(
        "the saved fleet takes {} unpacked, and {} are free in {}; `sanlab cache gc --max-size SIZE` makes room, and SANLAB_CACHE names another folder",
        size(*.needed), size(*.free), .store.display()
    )]
    NoRoom {
        /// Bytes.
        needed: u64,
        /// Bytes.
        free: u64,
        /// The store.
        store: PathBuf,
    },
    /// It does not go on here.
    #[error("the fleet that sanlab {by} saved cannot be brought up here: {difference}")]
    Differs {
        /// The version that saved it.
        by: String,
        /// Why.
        difference: Difference,
    },
    /// The same.
    #[error(
        "the saved fleet cannot be brought up here: its guests ran on KVM, and go on only there: {0}"
    )]
    NeedsKvm(String),
    /// What was given does not apply.
    #[error(
        "a saved fleet goes on as it was: --until, --from, --fresh, code under test and settings other than `--set qemu=DIR` are for scenario files"
    )]
    AsItWas,
}

impl PackError {
    /// Whether the host is at fault, and not what was asked for.
    pub(crate) fn is_the_hosts(&self) -> bool {
        matches!(self, Self::NoCompressor(_) | Self::Compressor { .. })
    }
}
