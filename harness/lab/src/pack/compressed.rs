//! The file of an archive while it is made: what is written to it is compressed by zstd, and it has its name only when it is whole.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use fs_err::File;
use tempfile::TempPath;

use super::error::PackError;
use crate::LabError;

/// As of any file that a program makes; the process's mask takes bits away.
const MODE: u32 = 0o666;

/// The place of an archive that is being made. Dropped before it is taken, it leaves nothing.
pub(crate) struct Place {
    half: TempPath,
    to: PathBuf,
}

/// What compresses an archive.
pub(crate) struct Zstd {
    child: Child,
    out: File,
}

/// Begins an archive that is to be called `to`, in the same folder: whatever is lacking for that is told before GiB are read.
pub(crate) fn begin(to: &Path) -> Result<(Place, Zstd), LabError> {
    if to.symlink_metadata().is_ok() {
        return Err(PackError::Exists(to.to_owned()).into());
    }
    let name = to.file_name().unwrap_or_default().to_string_lossy();
    let half = tempfile::Builder::new()
        .prefix(&format!(".{name}."))
        .suffix(".part")
        .permissions(Permissions::from_mode(MODE))
        .tempfile_in(folder_of(to))
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                PackError::NoFolder(to.to_owned()).into()
            }
            _ => LabError::Io(error),
        })?;
    let (out, half) = half.into_parts();
    let out = File::from_parts(out, &half);
    let child = Command::new("zstd")
        .args(["-q", "-T0", "-c"])
        .stdin(Stdio::piped())
        .stdout(out.file().try_clone()?)
        .stderr(Stdio::piped())
        .spawn()
        .map_err(PackError::NoCompressor)?;
    let to = to.to_owned();
    Ok((Place { half, to }, Zstd { child, out }))
}

impl Place {
    /// Gives the archive, which is whole, its name, unless a file has that by now.
    pub(crate) fn take(self) -> Result<(), LabError> {
        let Self { half, to } = self;
        half.persist_noclobber(&to)
            .map_err(|error| match error.error.kind() {
                io::ErrorKind::AlreadyExists => PackError::Exists(to.clone()).into(),
                _ => LabError::Io(error.error),
            })?;
        Ok(File::open(folder_of(&to))?.sync_all()?)
    }
}

impl Zstd {
    /// Has everything compressed that `write` writes. When this returns it is on the disk. How many bytes.
    pub(crate) fn compress(
        mut self,
        write: impl FnOnce(ChildStdin) -> Result<(), LabError>,
    ) -> Result<u64, LabError> {
        let input = self.child.stdin.take();
        let input = input.ok_or_else(|| io::Error::other("zstd has no input"))?;
        let written = write(input);
        // It has read all, or its input is closed: it ends.
        let ended = self.end();
        // Why it ended early tells more than that it did not read on.
        ended?;
        written?;
        self.out.sync_all()?;
        Ok(self.out.metadata()?.len())
    }

    fn end(&mut self) -> Result<(), LabError> {
        let mut said = String::new();
        if let Some(mut words) = self.child.stderr.take() {
            // Its status says whether it did its part.
            let _ = io::Read::read_to_string(&mut words, &mut said);
        }
        let status = self.child.wait()?;
        if status.success() {
            return Ok(());
        }
        Err(PackError::Compressor {
            status: status.to_string(),
            said: said.trim().to_owned(),
        }
        .into())
    }
}

impl Drop for Zstd {
    fn drop(&mut self) {
        // Most have ended by now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The folder that a file is in.
fn folder_of(file: &Path) -> &Path {
    let folder = file.parent().filter(|it| !it.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}
