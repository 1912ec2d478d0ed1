//! Everything that can go wrong, each with what it concerns and the remedy.

use std::path::PathBuf;
use std::time::Duration;
use std::{fmt, io};

use sanlab_plan::Arch;

use crate::build::host_tools::HostTool;
use crate::manifest::lock_diff::LockDiff;

/// What is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Product {
    /// Kernel, initramfs and root image.
    Image(Arch),
    /// Programs of ours for the guests of all architectures.
    Programs,
    /// What modules for the kernels of guests are compiled with.
    Headers,
    /// Debug symbols of the kernels of guests.
    Symbols,
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(arch) => write!(f, "the image for {arch}"),
            Self::Programs => f.write_str("the guests' programs"),
            Self::Headers => f.write_str("the kernels' headers"),
            Self::Symbols => f.write_str("the kernel's debug symbols"),
        }
    }
}

/// Why there is no image. Messages finish the words "failed to".
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The manifest's text is not what it should be.
    #[error("read the image manifest: {path}:{line}:{column}: {message}", path = path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// What is wrong with it.
        message: String,
    },
    /// The lock's text is not what `--update-lock` writes.
    #[error(
        "read the image lock: {path}:{line}: {message}\n  help: restore the file, or write it anew with `sanlab image build --update-lock`",
        path = path.display()
    )]
    LockText {
        /// The lock.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong with it.
        message: String,
    },
    /// No versions are recorded for this.
    #[error(
        "find locked packages for {product} in {path}\n  help: `sanlab image build --update-lock` records what the mirror has now",
        path = path.display()
    )]
    NotLocked {
        /// The lock.
        path: PathBuf,
        /// What its packages are for.
        product: Product,
    },
    /// The mirror has other packages than the lock.
    #[error(
        "match {path} for {product}: {diff}\n  help: if the change is wanted, `sanlab image build --update-lock` accepts it",
        path = path.display()
    )]
    LockMismatch {
        /// The lock.
        path: PathBuf,
        /// What they are for.
        product: Product,
        /// How.
        diff: LockDiff,
    },
    /// Programs that a build needs are not installed.
    #[error("find {}\n  help: apt-get install {}", list(tools, |tool| format!("{} ({})", tool.program, tool.why)), packages(tools))]
    MissingTools {
        /// All of them.
        tools: Vec<HostTool>,
    },
    /// No answer, or a wrong one, from the package mirror.
    #[error(
        "fetch packages from {mirror}: {detail}\n  help: check the network and http_proxy, or name another mirror in SANLAB_MIRROR"
    )]
    Mirror {
        /// Its address.
        mirror: String,
        /// apt's own words.
        detail: String,
    },
    /// A name in the manifest that the mirror does not know.
    #[error("resolve the packages of {path}, for {product}: {detail}\n  help: correct the name in the manifest", path = path.display())]
    UnknownPackage {
        /// The manifest.
        path: PathBuf,
        /// What was to be built.
        product: Product,
        /// The tool's own words.
        detail: String,
    },
    /// The file system of the store or of the temporary folder is full.
    #[error(
        "build {product}: no space left in {path}\n  help: a build needs about 2 GiB: free some, or point SANLAB_CACHE (and TMPDIR) to a larger disk",
        path = path.display()
    )]
    NoSpace {
        /// What was to be built.
        product: Product,
        /// The folder that was written to.
        path: PathBuf,
    },
    /// A tool of the build ended badly, for a reason of its own.
    #[error("build {product}: {program} ended with {status}; the end of its output:\n{tail}")]
    Tool {
        /// What was to be built.
        product: Product,
        /// The program.
        program: &'static str,
        /// Exit status or signal.
        status: String,
        /// The end of its output.
        tail: String,
    },
    /// A tool of the build did not end.
    #[error(
        "build {product}: {program} has not ended after {deadline:?}; the end of its output:\n{tail}"
    )]
    TimedOut {
        /// What was to be built.
        product: Product,
        /// The program.
        program: &'static str,
        /// How long it was given.
        deadline: Duration,
        /// The end of its output.
        tail: String,
    },
    /// The sources of the guests' programs are not what they should be.
    #[error("read the sources of the guests' programs: {path}: {reason}", path = path.display())]
    Sources {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The kernel file is not one that can be booted.
    #[error("take a kernel out of {path}: {reason}", path = path.display())]
    Kernel {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        reason: String,
    },
    /// A file, package or module of the user's cannot be used in these guests.
    #[error("use {artefact}: {reason}")]
    Artefact {
        /// Which.
        artefact: String,
        /// What is wrong with it, and the way out.
        reason: String,
    },
    /// There are no headers of the image's kernel.
    #[error("find headers of the kernel for {arch} of {path}: {reason}", path = path.display())]
    Headers {
        /// The manifest.
        path: PathBuf,
        /// For which guests.
        arch: Arch,
        /// Why not, and the way out.
        reason: String,
    },
    /// There are no debug symbols of the image's kernel.
    #[error("find debug symbols of the kernel for {arch} of {path}: {reason}", path = path.display())]
    Symbols {
        /// The manifest.
        path: PathBuf,
        /// For which guests.
        arch: Arch,
        /// Why not, and the way out.
        reason: String,
    },
    /// What is to be a new folder is there.
    #[error("make {path}: it exists already\n  help: name another folder, or remove it", path = .0.display())]
    FolderExists(PathBuf),
    /// The image's files are not there to be used.
    #[error("find the image {digest} in the store\n  help: `sanlab image build` makes it")]
    Stored {
        /// Its key.
        digest: String,
    },
    /// Another process did not give something back.
    #[error(
        "wait for {name} in the store: {} still has it after {patience:?}\n  help: look at what it does, and end it if it does nothing",
        holder.map_or("another process".to_owned(), |pid| format!("process {pid}"))
    )]
    Waited {
        /// The lock's name.
        name: String,
        /// The process that holds it, if that could be read.
        holder: Option<u32>,
        /// How long it was waited for.
        patience: Duration,
    },
    /// Neither `$SANLAB_CACHE` nor `$HOME` says where the store is.
    #[error(
        "find the image store: neither SANLAB_CACHE nor HOME is set\n  help: set SANLAB_CACHE to a folder with some GiB of space"
    )]
    NoStore,
    /// An entry's label is not what was expected of it.
    #[error(
        "read the label {path}: {reason}\n  help: remove the folder that it is in: it will be made anew",
        path = path.display()
    )]
    Label {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// `$SANLAB_CACHE_LIMIT` is no size.
    #[error("read SANLAB_CACHE_LIMIT `{text}`: {reason}")]
    Limit {
        /// What it says.
        text: String,
        /// What would be accepted.
        reason: String,
    },
    /// A file could not be read or written; the message names it.
    #[error("access the image store: {0}")]
    Io(#[from] io::Error),
}

impl ImageError {
    /// Gives a full disk its own message while something is being built in `path`.
    pub(crate) fn while_building(self, product: Product, path: &std::path::Path) -> Self {
        match self {
            Self::Io(error) if error.kind() == io::ErrorKind::StorageFull => Self::NoSpace {
                product,
                path: path.to_owned(),
            },
            other => other,
        }
    }
}

fn list(tools: &[HostTool], word: impl Fn(&HostTool) -> String) -> String {
    tools.iter().map(word).collect::<Vec<_>>().join(", ")
}

fn packages(tools: &[HostTool]) -> String {
    let mut packages: Vec<_> = tools.iter().map(|tool| tool.package).collect();
    packages.sort_unstable();
    packages.dedup();
    packages.join(" ")
}
