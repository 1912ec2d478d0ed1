//! The process behind a device's relay, which does nothing but start another when the relay has died.
//!
//! A relay does not die by itself; somebody may kill it. The kernel holds new requests until the next one is there,
//! and sends it those that the dead relay had when it looks after them: see `LOOK` in `receiver.rs`.

use std::ffi::OsString;
use std::path::Path;
use std::process::Child;
use std::thread::park_timeout;
use std::time::{Duration, Instant};

use super::attach::Driver;
use super::device::Device;
use super::receiver::{self, Beginning, PROGRAM};
use crate::daemon;
use crate::error::Error;
use crate::log::Log;
use crate::pid_file::PidFile;

/// Between two attempts to start a relay.
const PAUSE: Duration = Duration::from_secs(2);

/// The word that tells the relay's process from its supervisor's, and one for each beginning.
const RELAY: &str = "relay";
const RESTART: &str = "again";
const REVIVAL: &str = "revived";

/// The command line of the background process for a device that is new, or whose relay is dead.
pub(super) fn arguments(index: u32, again: bool) -> Vec<OsString> {
    let words = again.then_some(RESTART);
    [index.to_string()]
        .into_iter()
        .chain(words.map(str::to_owned))
        .map(OsString::from)
        .collect()
}

/// Runs in the background, by the words of its command line, until the device is ended.
pub fn run(folder: &Path, words: &[OsString]) -> Result<(), Error> {
    let words: Vec<&str> = words.iter().filter_map(|word| word.to_str()).collect();
    let usage = |reason: &str| Error::Command {
        command: PROGRAM.to_owned(),
        reason: reason.to_owned(),
    };
    let Some(index) = words.first().and_then(|word| word.parse().ok()) else {
        daemon::fail("no device number");
        return Err(usage("no device number"));
    };
    match words[1..] {
        [] => supervise(folder, index, &[RELAY]),
        [RESTART] => supervise(folder, index, &[RELAY, RESTART]),
        [RELAY] => receiver::run(folder, index, Beginning::Import).map(drop),
        [RELAY, RESTART] => receiver::run(folder, index, Beginning::Restart).map(drop),
        [RELAY, REVIVAL] => receiver::run(folder, index, Beginning::Revival).map(drop),
        _ => Err(usage("unknown words")),
    }
}

/// Starts a relay; what it says.
fn start(index: u32, words: &[&str]) -> Result<Result<(String, Child), String>, Error> {
    let words = words.iter().map(OsString::from);
    daemon::spawn(
        [OsString::from(index.to_string())]
            .into_iter()
            .chain(words)
            .collect(),
    )
}

fn supervise(folder: &Path, index: u32, words: &[&str]) -> Result<(), Error> {
    daemon::detach()?;
    let _ = rustix::thread::set_name(c"gnbd_monitor");
    let (text, mut relay) = match start(index, words)? {
        Ok(started) => started,
        Err(text) => {
            daemon::fail(&text);
            return Err(Error::Command {
                command: PROGRAM.to_owned(),
                reason: text,
            });
        }
    };
    let log = receiver::log(folder, index);
    receiver::stay_in_memory(&log);
    daemon::ready(&text)?;
    loop {
        let began = Instant::now();
        let status = relay
            .wait()
            .map_err(|source| Error::host("wait for the relay", source))?;
        if status.success() {
            return Ok(());
        }
        log.line(format_args!(
            "the relay of device #{index} has died: {status}"
        ));
        // One that dies at once again and again is not worth a processor.
        if began.elapsed() < PAUSE {
            park_timeout(PAUSE);
        }
        match revive(folder, index, &log) {
            Some(revived) => relay = revived,
            None => return Ok(()),
        }
    }
}

/// Starts relays until one works. `None` if there is nothing to do for it.
fn revive(folder: &Path, index: u32, log: &Log) -> Option<Child> {
    let mut first = true;
    while is_orphaned(folder, index) {
        let why = match start(index, &[RELAY, REVIVAL]) {
            Ok(Ok((_, relay))) => {
                log.line(format_args!("another relay serves device #{index}"));
                return Some(relay);
            }
            Ok(Err(text)) => text,
            Err(error) => format!("failed to {error}"),
        };
        // The others will say the same.
        if std::mem::take(&mut first) {
            log.line(why);
        }
        park_timeout(PAUSE);
    }
    None
}

/// Whether the kernel has the device still, and nobody serves it.
fn is_orphaned(folder: &Path, index: u32) -> bool {
    let known = matches!(Device::load(folder, index), Ok(Some(_)));
    let relay = folder.join(format!("{PROGRAM}-{index}.pid"));
    let served = matches!(PidFile::holder(&relay), Ok(Some(_)));
    // A driver that cannot be asked may have it.
    let connected = Driver::open()
        .and_then(|mut driver| driver.devices())
        .map_or(true, |devices| devices.contains(&(index, true)));
    known && !served && connected
}
