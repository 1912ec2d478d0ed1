//! The process behind one imported device: the historic `gnbd_recvd`. Started by `gnbd_import` with a device's number,
//! it finds the rest in the device's record.

use std::io::Write as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::fs::{Mode, OFlags, open, unlink};
use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::configure_io_flusher_behavior;

use super::attach::Driver;
use super::device::Device;
use super::fencing::fencer;
use super::monitor::Policy;
use super::netlink::{Attach, HAS_FLAGS, READ_ONLY};
use super::relay::{End, Relay};
use super::request::{RequestError, Session};
use super::settings::{Settings, Timing};
use super::status;
use crate::command::strerror;
use crate::daemon;
use crate::error::Error;
use crate::log::Log;
use crate::pid_file::PidFile;
use crate::protocol::SECTOR_SIZE;

/// What it calls itself.
pub const PROGRAM: &str = "gnbd_recvd";

/// For how long the kernel keeps requests when the relay itself has died: until somebody starts it again. Eleven
/// days; the driver counts in ticks, and more does not fit a 32-bit machine's.
const HELD: u64 = 1_000_000;
/// Milliseconds after which the kernel looks after a request without an answer. If the relay that had it has died, that
/// is when the next relay gets it; otherwise there is a line in the kernel's log for it, "Possible stuck request", and
/// nothing more. By default this is half a minute, longer than some cluster's patience; much less than this fills the
/// log while a server is away.
const LOOK: &str = "10000";
/// By how much the kernel's own timer is later than the relay's. It must never be the first.
const MARGIN: u64 = 60;

impl Device {
    /// When its requests are given up.
    pub fn policy(&self) -> Policy {
        match self.fail_fast {
            _ if self.timeout == 0 => Policy::Wait,
            Some(seconds) => Policy::FailFast(Duration::from_secs(seconds.into())),
            None => Policy::Fence(Duration::from_secs(self.timeout.into())),
        }
    }

    /// How long things may take.
    pub fn timing(&self) -> Timing {
        let timing = Timing::default();
        let retry_most = self.retry.map_or(timing.retry_most, |pause| {
            Duration::from_millis(pause.into())
        });
        Timing {
            retry_first: timing.retry_first.min(retry_most),
            retry_most,
            ..timing
        }
    }

    /// What the kernel is told of it.
    pub fn attach(&self) -> Attach {
        let fail_fast = matches!(self.policy(), Policy::FailFast(_));
        let patience = self.timeout.max(self.fail_fast.unwrap_or_default());
        Attach {
            index: self.index,
            bytes: self.sectors * SECTOR_SIZE,
            block_size: SECTOR_SIZE,
            // No flush, no trim, no write-zeroes: GNBD has none, and writes are synchronous.
            flags: if self.read_only {
                HAS_FLAGS | READ_ONLY
            } else {
                HAS_FLAGS
            },
            // What waits for fencing must not be failed by anybody else.
            timeout: if fail_fast {
                u64::from(patience) + MARGIN
            } else {
                0
            },
            dead_timeout: if fail_fast { 0 } else { HELD },
            identifier: self.name.as_str().to_owned(),
            socket: 0,
        }
    }
}

/// Constant from this machine's boot to its next, as a historic client's is from module load to module load: servers
/// lift a ban when it changes. The boot's own random number, so that no setting of the clock touches it.
pub fn timestamp() -> u64 {
    let text = read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = text
        .chars()
        .filter(char::is_ascii_hexdigit)
        .take(16)
        .collect();
    u64::from_str_radix(&digits, 16).unwrap_or(1)
}

fn look_after(index: u32, log: &Log) {
    let path = format!("/sys/block/nbd{index}/queue/io_timeout");
    if let Err(error) = write(&path, LOOK) {
        // A kernel without it looks when it likes.
        log.line(format_args!("failed to write {path}: {error}"));
    }
}

fn write(path: &str, text: &str) -> std::io::Result<()> {
    let file = open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    std::fs::File::from(file).write_all(text.as_bytes())
}

fn read(path: &str) -> Option<String> {
    use std::io::Read as _;
    let file = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut text = String::new();
    std::fs::File::from(file).read_to_string(&mut text).ok()?;
    Some(text)
}

/// How a relay begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beginning {
    /// The device is new.
    Import,
    /// Somebody restarts it: the device waits for another relay, and the server must be there.
    Restart,
    /// The one before it died a moment ago. Whether or not the server is there, somebody has to see to requests.
    Revival,
}

/// Runs a relay in the background until the device is ended.
pub(super) fn run(folder: &Path, index: u32, beginning: Beginning) -> Result<End, Error> {
    daemon::detach()?;
    // Seen in lists of processes.
    let _ = rustix::thread::set_name(c"gnbd_recvd");
    match prepare(folder, index, beginning) {
        Ok(end) => end.wait(),
        Err(error) => {
            daemon::fail(&error);
            Err(Error::Command {
                command: PROGRAM.to_owned(),
                reason: error,
            })
        }
    }
}

/// A relay that works.
struct Running {
    relay: thread::JoinHandle<End>,
    _pid_file: PidFile,
}

impl Running {
    fn wait(self) -> Result<End, Error> {
        self.relay.join().map_err(|_| Error::Command {
            command: PROGRAM.to_owned(),
            reason: "the relay panicked".to_owned(),
        })
    }
}

/// Log in, take the memory, give the kernel its device. The error is for the user.
fn prepare(folder: &Path, index: u32, beginning: Beginning) -> Result<Running, String> {
    let told = |error: Error| format!("failed to {error}");
    let mut device = Device::load(folder, index)
        .ok()
        .flatten()
        .ok_or_else(|| format!("no record of device #{index}"))?;
    let pid_file = PidFile::take(&folder.join(format!("{PROGRAM}-{index}.pid")))
        .map_err(|error| format!("cannot create pid file : {}", strerror(&error)))?
        .ok_or_else(|| format!("{PROGRAM} already running for device #{index}"))?;
    let log = Arc::new(log(folder, index));
    stay_in_memory(&log);

    let host = device.server.host.clone();
    let refused = |error: RequestError| match error {
        RequestError::Connect { code, source } => {
            format!(
                "cannot connect to server {host} ({code}) : {}",
                strerror(&source)
            )
        }
        RequestError::WrongVersion(_) => "Protocol mismatch".to_owned(),
        error => format!("login to server {host} failed : failed to {error}"),
    };
    let endpoint = device.server.resolve().map_err(&refused)?;
    let timing = device.timing();
    let stamp = timestamp();
    let log_in = || endpoint.log_in(&device.name, &device.node, stamp, timing.dial);
    let session = match beginning {
        Beginning::Import | Beginning::Restart => Some(log_in().map_err(&refused)?),
        Beginning::Revival => None,
    };
    let sectors = match &session {
        // A size that the driver cannot have is no size: a historic server sends none when its file has changed.
        Some(Session { sectors, .. }) if *sectors == 0 || *sectors > u64::MAX / SECTOR_SIZE / 2 => {
            return Err(format!("server {host} gave a size of {sectors} sectors"));
        }
        Some(Session { sectors, .. }) => *sectors,
        None => device.sectors,
    };
    if beginning == Beginning::Import {
        device.sectors = sectors;
        device
            .save(folder)
            .map_err(|error| format!("cannot write device record : {}", strerror(&error)))?;
    }
    if sectors != device.sectors {
        return Err(format!("size of {} has changed", device.name));
    }

    let (kernel, ours) = UnixStream::pair().map_err(|error| error.to_string())?;
    let (relay_log, fence_log) = (Arc::clone(&log), Arc::clone(&log));
    let settings = Settings {
        endpoint,
        device: device.name.clone(),
        node: device.node.clone(),
        timestamp: stamp,
        sectors: device.sectors,
        read_only: device.read_only,
        policy: device.policy(),
        dead_peer_grace: device
            .dead_peer_grace
            .map(|seconds| Duration::from_secs(seconds.into())),
        timing,
        fencer: fencer(folder, &device, move |line| fence_log.line(line)),
        log: Box::new(move |line| relay_log.line(line)),
    };
    let relay = Relay::new(settings, ours, session).map_err(|error| error.to_string())?;
    let socket = status::socket_file(folder, index);
    let _ = unlink(&socket);
    let listener = UnixListener::bind(&socket).map_err(|error| error.to_string())?;
    let remote = relay.remote();
    // It works before the kernel has it: the kernel may read at once.
    let relay = spawn("relay", move || relay.run())?;
    let mut driver = Driver::open().map_err(told)?;
    match beginning {
        Beginning::Import => driver.connect(device.attach(), &kernel),
        Beginning::Restart | Beginning::Revival => driver.reconfigure(device.attach(), &kernel),
    }
    .map_err(told)?;
    if device.attach().timeout == 0 {
        look_after(index, &log);
    }
    // The kernel has its own hold on the socket. It must be the only one, so that the relay sees it go.
    drop(kernel);
    spawn("status", move || status::serve(&listener, &remote))?;
    daemon::ready(&format!("{PROGRAM} started")).map_err(told)?;
    Ok(Running {
        relay,
        _pid_file: pid_file,
    })
}

/// Where a device's relay and its supervisor tell of what happens.
pub(super) fn log(folder: &Path, index: u32) -> Log {
    Log::daemon(PROGRAM, &folder.join(format!("{PROGRAM}-{index}.log")))
}

/// A thread with a small stack: all of it is locked in memory.
fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<thread::JoinHandle<T>, String> {
    thread::Builder::new()
        .name(name.to_owned())
        .stack_size(256 << 10)
        .spawn(work)
        .map_err(|error| error.to_string())
}

/// The kernel writes out through this process to get memory: it must not need any for that. What is refused, as to
/// an ordinary user, is told and no more.
pub fn stay_in_memory(log: &Log) {
    if let Err(error) = configure_io_flusher_behavior(true) {
        log.line(format_args!("failed to become an I/O flusher: {error}"));
    }
    if let Err(error) = mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE) {
        log.line(format_args!("failed to lock memory: {error}"));
    }
    if let Err(error) = write("/proc/self/oom_score_adj", "-1000") {
        log.line(format_args!(
            "failed to hide from the out-of-memory killer: {error}"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timestamp_is_constant() {
        assert_eq!(timestamp(), timestamp());
        assert_ne!(timestamp(), 1);
    }
}
