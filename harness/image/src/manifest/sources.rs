//! The sources of the guests' programs: the cargo workspace that they are in.
//!
//! Its manifests, its lock and the crates' code without their tests. So a change elsewhere is no reason to compile, and
//! Debian's cargo needs neither the lab nor a network.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use flate2::read::GzDecoder;

use crate::build::child;
use crate::error::{ImageError, Product};
use crate::manifest::Programs;
use crate::manifest::guest_files::{Kind, read_tree};

/// Where cargo leaves the crates that others wrote.
const VENDOR: &str = "vendor";

/// The same as a file beside the workspace, which an installed program has: it may have no cargo.
const VENDORED: &str = "vendor.tar.gz";

/// They come out of cargo's own cache, or from the network when they are not there.
const VENDOR_DEADLINE: Duration = Duration::from_secs(300);

/// A cargo workspace in memory: path to content.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sources {
    pub(crate) files: BTreeMap<PathBuf, Vec<u8>>,
    /// The archive of the crates of others, if there is one.
    pub(crate) vendored: Option<PathBuf>,
}

impl Sources {
    /// Reads the crates and the workspace that they are the members of, the next above them.
    pub(crate) fn read(programs: &Programs) -> Result<Self, ImageError> {
        let root = workspace_of(&programs.crates[0])?;
        let mut files = BTreeMap::new();
        for name in ["Cargo.toml", "Cargo.lock"] {
            files.insert(name.into(), fs_err::read(root.join(name))?);
        }
        for folder in &programs.crates {
            let below = folder.strip_prefix(root).map_err(|_| {
                let reason = format!("it is not in the workspace {}", root.display());
                wrong(folder, &reason)
            })?;
            let manifest = fs_err::read(folder.join("Cargo.toml"))?;
            files.insert(below.join("Cargo.toml"), manifest);
            for file in read_tree(&folder.join("src"))? {
                let is_of_a_test = file.path.iter().any(|part| part == "snapshots");
                if let (Kind::File { bytes, .. }, false) = (file.kind, is_of_a_test) {
                    files.insert(below.join("src").join(file.path), bytes);
                }
            }
        }
        let vendored = Some(root.join(VENDORED)).filter(|archive| archive.is_file());
        Ok(Self { files, vendored })
    }

    /// Writes the workspace to a folder, with the crates of others that it needs.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), ImageError> {
        for (path, bytes) in &self.files {
            let path = folder.join(path);
            fs_err::create_dir_all(path.parent().unwrap_or(folder))?;
            fs_err::write(path, bytes)?;
        }
        if let Some(archive) = &self.vendored {
            let crates = GzDecoder::new(fs_err::File::open(archive)?);
            tar::Archive::new(crates).unpack(folder.join(VENDOR))?;
            return Ok(());
        }
        let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(program);
        command
            .args([
                "vendor",
                "--quiet",
                "--locked",
                "--respect-source-config",
                VENDOR,
            ])
            .current_dir(folder);
        let ended = child::run(command, VENDOR_DEADLINE, |line| tracing::debug!("{line}"))
            .map_err(|error| {
                let why = "it fetches the crates that the programs depend on";
                wrong(folder, &format!("cargo cannot be started ({why}): {error}"))
            })?;
        let (program, tail) = ("cargo vendor", ended.tail.join("\n"));
        match ended.status {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(ImageError::Tool {
                product: Product::Programs,
                program,
                status: status.to_string(),
                tail,
            }),
            None => Err(ImageError::TimedOut {
                product: Product::Programs,
                program,
                deadline: VENDOR_DEADLINE,
                tail,
            }),
        }
    }
}

/// The nearest folder above that has a lock.
fn workspace_of(folder: &Path) -> Result<&Path, ImageError> {
    folder
        .ancestors()
        .find(|folder| folder.join("Cargo.lock").is_file())
        .ok_or_else(|| wrong(folder, "no folder above it has a `Cargo.lock`"))
}

fn wrong(path: &Path, reason: &str) -> ImageError {
    ImageError::Sources {
        path: path.to_owned(),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn checkout() -> (tempfile::TempDir, Programs) {
        let folder = tempfile::tempdir().unwrap();
        let files = [
            ("Cargo.toml", "[workspace]  # the lab's"),
            ("images/Cargo.toml", "[workspace]"),
            ("images/Cargo.lock", "version = 4"),
            ("images/writer/Cargo.toml", "[package]  # writer"),
            ("images/writer/src/main.rs", "fn main() {}"),
            ("images/writer/src/words/mod.rs", "//! Words."),
            ("images/writer/src/snapshots/words.snap", "a word"),
            ("images/writer/tests/words.rs", "//! Tests."),
            ("images/reader/Cargo.toml", "[package]  # reader"),
            ("images/reader/src/main.rs", "fn main() {}"),
            ("images/overlay/etc/hosts", "127.0.0.1 localhost"),
        ];
        for (path, text) in files {
            let path = folder.path().join(path);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
        }
        let programs = Programs {
            crates: ["images/writer", "images/reader"]
                .map(|path| folder.path().join(path))
                .to_vec(),
            compiler: vec!["cargo-web".to_owned()],
            libraries: vec!["libc6-dev".to_owned()],
        };
        (folder, programs)
    }

    #[test]
    fn holds_what_is_compiled_and_nothing_else() {
        let (_folder, programs) = checkout();
        let sources = Sources::read(&programs).unwrap();
        let shown = sources
            .files
            .iter()
            .map(|(path, bytes)| format!("{}: {}", path.display(), String::from_utf8_lossy(bytes)));
        insta::assert_snapshot!(shown.collect::<Vec<_>>().join("\n"), @r"
        Cargo.lock: version = 4
        Cargo.toml: [workspace]
        reader/Cargo.toml: [package]  # reader
        reader/src/main.rs: fn main() {}
        writer/Cargo.toml: [package]  # writer
        writer/src/main.rs: fn main() {}
        writer/src/words/mod.rs: //! Words.
        ");
    }

    #[test]
    fn crates_that_were_brought_along_need_no_cargo() {
        let (folder, programs) = checkout();
        let archive = folder.path().join("images").join(VENDORED);
        let packed = GzEncoder::new(fs_err::File::create(&archive).unwrap(), Compression::fast());
        let mut packed = tar::Builder::new(packed);
        packed
            .append_path_with_name(folder.path().join("Cargo.toml"), "rustix/Cargo.toml")
            .unwrap();
        packed.into_inner().unwrap().finish().unwrap();
        let sources = Sources::read(&programs).unwrap();
        let out = folder.path().join("out");
        sources.write(&out).unwrap();
        let text = |path: &str| fs_err::read_to_string(out.join(path)).unwrap();
        assert_eq!(text("vendor/rustix/Cargo.toml"), "[workspace]  # the lab's");
        assert_eq!(text("writer/src/main.rs"), "fn main() {}");
    }

    #[test]
    fn says_what_is_wrong() {
        let (folder, mut programs) = checkout();
        let said = |programs: &Programs| {
            let error = Sources::read(programs).unwrap_err().to_string();
            error.replace(folder.path().to_str().unwrap(), "/lab")
        };
        programs.crates[1] = folder.path().join("elsewhere");
        let elsewhere = said(&programs);
        fs_err::remove_file(folder.path().join("images/Cargo.lock")).unwrap();
        insta::assert_snapshot!([elsewhere, said(&programs)].join("\n"), @r"
        read the sources of the guests' programs: /lab/elsewhere: it is not in the workspace /lab/images
        read the sources of the guests' programs: /lab/images/writer: no folder above it has a `Cargo.lock`
        ");
    }
}
