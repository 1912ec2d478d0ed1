//! Files of text that grow, shown as they do.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::Duration;

use fs_err as fs;

use crate::LabError;
use crate::terminal::Terminal;

/// How soon such a file is looked at again.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// What is looked at of it at once.
const SHOWN: u64 = 1 << 20;

/// A file of text that grows.
pub(crate) struct Follower {
    file: fs::File,
    read: u64,
    begun: String,
}

impl Follower {
    /// From its beginning.
    pub(crate) fn open(path: &Path) -> Result<Self, LabError> {
        Ok(Self {
            file: fs::File::open(path)?,
            read: 0,
            begun: String::new(),
        })
    }

    /// From where it ends now.
    pub(crate) fn open_at_end(path: &Path) -> Result<Self, LabError> {
        let mut follower = Self::open(path)?;
        follower.read = follower.file.seek(SeekFrom::End(0))?;
        Ok(follower)
    }

    /// Shows the lines that are new.
    pub(crate) fn show(&mut self, terminal: &mut Terminal) -> Result<(), LabError> {
        let mut bytes = Vec::new();
        self.file.seek(SeekFrom::Start(self.read))?;
        (&mut self.file).take(SHOWN).read_to_end(&mut bytes)?;
        self.read += bytes.len() as u64;
        self.begun.push_str(&String::from_utf8_lossy(&bytes));
        while let Some(end) = self.begun.find('\n') {
            terminal.line(&self.begun[..end]);
            self.begun.drain(..=end);
        }
        Ok(())
    }
}
