//! The program on a terminal, as somebody sits in front of it.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Instant;

use guest_trials::Failed;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};

use crate::place::Place;
use crate::{SOON, child};

/// A terminal with the program on it.
pub(crate) struct Screen {
    terminal: OwnedFd,
    /// The program's end, so that the terminal outlives it.
    theirs: OwnedFd,
    before: Termios,
    child: Child,
    pieces: Receiver<Vec<u8>>,
    /// What came, and has not been waited for.
    shown: String,
}

impl Screen {
    pub(crate) fn start(
        place: &Place,
        arguments: &[&str],
        rows: u16,
        columns: u16,
    ) -> Result<Self, Failed> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let terminal = openpt(flags)?;
        grantpt(&terminal)?;
        unlockpt(&terminal)?;
        let theirs = ioctl_tiocgptpeer(&terminal, flags)?;
        tcsetwinsize(&theirs, size(rows, columns))?;
        let before = tcgetattr(&theirs)?;
        // util-linux' setsid gives it the terminal; nothing else here can without unsafe code.
        let lab = place.command(arguments);
        let mut command = Command::new("setsid");
        command
            .args(["--ctty", "--wait"])
            .arg(lab.get_program())
            .args(lab.get_args());
        for (name, value) in lab.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        command
            .current_dir(crate::place::project())
            .stdin(theirs.try_clone()?)
            .stdout(theirs.try_clone()?)
            .stderr(theirs.try_clone()?);
        let child = command.spawn()?;
        let (sender, pieces) = channel();
        let mut reader = File::from(terminal.try_clone()?);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = reader.read(&mut bytes) {
                if sender.send(bytes[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        Ok(Self {
            terminal,
            theirs,
            before,
            child,
            pieces,
            shown: String::new(),
        })
    }

    pub(crate) fn types(&mut self, keys: &str) -> Result<(), Failed> {
        let mut terminal = File::from(self.terminal.try_clone()?);
        Ok(terminal.write_all(keys.as_bytes())?)
    }

    pub(crate) fn resize(&self, rows: u16, columns: u16) -> Result<(), Failed> {
        Ok(tcsetwinsize(&self.terminal, size(rows, columns))?)
    }

    /// Until this is shown; what came before it is done with.
    pub(crate) fn wait_for(&mut self, words: &str) -> Result<(), Failed> {
        let end = Instant::now() + SOON;
        loop {
            if let Some(place) = self.shown.find(words) {
                self.shown.drain(..place + words.len());
                return Ok(());
            }
            let left = end.saturating_duration_since(Instant::now());
            match self.pieces.recv_timeout(left) {
                Ok(bytes) => self.shown += &String::from_utf8_lossy(&bytes),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    return Err(
                        format!("waited for {words:?}; since then: {:?}", self.shown).into(),
                    );
                }
            }
        }
    }

    /// The program ends, and leaves the terminal as it was; `None`: by Ctrl-C.
    pub(crate) fn ends(mut self, code: Option<i32>) -> Result<(), Failed> {
        let status = child::ended(&mut self.child, SOON)?;
        while let Ok(bytes) = self.pieces.try_recv() {
            self.shown += &String::from_utf8_lossy(&bytes);
        }
        let Some(status) = status else {
            return Err(format!("it did not end within {SOON:?}: {:?}", self.shown).into());
        };
        // `setsid` ends with 130 where its program was ended by SIGINT, or says nothing.
        if code.is_some() && status.code() != code {
            return Err(format!(
                "expected exit code {code:?}, got {status}: {:?}",
                self.shown
            )
            .into());
        }
        let after = tcgetattr(&self.theirs)?;
        let modes = |it: &Termios| (it.input_modes, it.output_modes, it.local_modes);
        if modes(&after) != modes(&self.before) {
            return Err("the terminal is left in another mode".into());
        }
        Ok(())
    }
}

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}
