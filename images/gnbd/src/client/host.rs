//! What `gnbd_import` needs of the machine: the driver, the relays, device nodes. A trait, for its tests have none.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::thread::park_timeout;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, mkdir, open, readlink, symlink, unlink};
use rustix::io::Errno;
use rustix::process::{Signal, kill_process};

use super::attach::Driver;
use super::device::Device;
use super::remote::Status;
use super::{status, supervisor, usage};
use crate::error::Error;
use crate::pid_file::PidFile;
use crate::run_dir;

/// How long an ended device's relay may take to end as well: it drains what is outstanding.
const FAREWELL: Duration = Duration::from_secs(8);

/// More devices than this nobody has.
const MOST: u32 = 1 << 16;

/// A machine that imports devices.
pub trait Host {
    /// Where records are.
    fn folder(&self) -> &Path;
    /// Where devices appear by name: `/dev/gnbd`.
    fn nodes(&self) -> PathBuf;
    /// Whether the nbd driver is there.
    fn has_driver(&self) -> bool;
    /// The lowest device that is not connected and not in `taken`.
    fn free_index(&mut self, taken: &[u32]) -> Result<u32, Error>;
    /// Starts a relay from its device's record: what it says when it is ready, or why it is not. `again`: for a device
    /// whose relay died.
    fn start_relay(&mut self, index: u32, again: bool) -> Result<Result<String, String>, Error>;
    /// Whether the relay lives.
    fn has_relay(&self, index: u32) -> bool;
    /// How the relay fares, if it lives.
    fn status(&self, index: u32) -> Option<Status>;
    /// Has a living relay log in at once.
    fn retry(&mut self, index: u32);
    /// Whether somebody uses the device.
    fn is_open(&self, index: u32) -> bool;
    /// Whether the kernel waits for answers from the device.
    fn is_pending(&self, index: u32) -> bool;
    /// Ends a device and its relay.
    fn disconnect(&mut self, index: u32) -> Result<(), Error>;
    /// Tells udev of a new device: to the driver it is an old one that has changed.
    fn announce(&mut self, index: u32);
    /// Lets time pass until it is worth looking again.
    fn pause(&mut self, time: Duration);

    /// The pid file of a device's relay.
    fn relay_file(&self, index: u32) -> PathBuf {
        self.folder().join(format!("gnbd_recvd-{index}.pid"))
    }

    /// Makes the folder of devices; whether it was not there.
    fn make_nodes(&mut self) -> Result<bool, Error> {
        let folder = self.nodes();
        match mkdir(&folder, Mode::from_raw_mode(0o755)) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(errno) => Err(Error::host(format!("create {}", folder.display()), errno)),
        }
    }

    /// Gives a device its name: a link to the driver's node.
    fn link(&mut self, device: &Device) -> Result<(), Error> {
        let link = self.nodes().join(device.name.as_str());
        let target = format!("../nbd{}", device.index);
        // udev may have made it from the record already, or an old one is left.
        if readlink(&link, Vec::new()).is_ok() {
            let _ = unlink(&link);
        }
        match symlink(&target, &link) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(Error::host(format!("link {}", link.display()), errno)),
        }
    }

    /// Forgets a device: name and record.
    fn forget(&mut self, device: &Device) {
        let _ = unlink(self.nodes().join(device.name.as_str()));
        let _ = unlink(Device::file(self.folder(), device.index));
        let _ = unlink(status::socket_file(self.folder(), device.index));
        let _ = unlink(self.relay_file(device.index));
    }
}

/// The machine that this program runs on.
#[derive(Debug)]
pub struct Machine {
    folder: PathBuf,
}

impl Machine {
    /// With the folder of the environment.
    pub fn new() -> Result<Self, Error> {
        let folder = run_dir::run_dir();
        run_dir::make(&folder)
            .map_err(|source| Error::host(format!("create {}", folder.display()), source))?;
        Ok(Self { folder })
    }
}

impl Host for Machine {
    fn folder(&self) -> &Path {
        &self.folder
    }

    fn nodes(&self) -> PathBuf {
        PathBuf::from("/dev/gnbd")
    }

    fn has_driver(&self) -> bool {
        Driver::open().is_ok()
    }

    fn free_index(&mut self, taken: &[u32]) -> Result<u32, Error> {
        let devices = Driver::open()?.devices()?;
        let is_free = |index: &u32| {
            !taken.contains(index) && !devices.contains(&(*index, true)) && !is_held(*index)
        };
        // Beyond those that exist the driver makes one.
        Ok((0..MOST).find(is_free).unwrap_or_default())
    }

    fn start_relay(&mut self, index: u32, again: bool) -> Result<Result<String, String>, Error> {
        crate::daemon::start(supervisor::arguments(index, again))
    }

    fn has_relay(&self, index: u32) -> bool {
        matches!(PidFile::holder(&self.relay_file(index)), Ok(Some(_)))
    }

    fn status(&self, index: u32) -> Option<Status> {
        status::query(&self.folder, index)
    }

    fn retry(&mut self, index: u32) {
        let _ = status::retry(&self.folder, index);
    }

    fn is_open(&self, index: u32) -> bool {
        let device = PathBuf::from(format!("/dev/nbd{index}"));
        // A device without a node cannot be opened.
        usage::is_open(&device, Path::new("/proc")).unwrap_or(false)
    }

    fn is_pending(&self, index: u32) -> bool {
        usage::is_pending(&format!("nbd{index}"), Path::new("/sys"))
    }

    fn disconnect(&mut self, index: u32) -> Result<(), Error> {
        let mut driver = Driver::open()?;
        if driver.devices()?.contains(&(index, true)) || self.has_relay(index) {
            match driver.disconnect(index) {
                Ok(()) => {}
                // It was gone already.
                Err(Error::Host { source, .. }) if source.kind() == io::ErrorKind::InvalidInput => {
                }
                Err(error) => return Err(error),
            }
        }
        let deadline = Instant::now() + FAREWELL;
        while self.has_relay(index) && Instant::now() < deadline {
            self.pause(Duration::from_millis(10));
        }
        if let Ok(Some(pid)) = PidFile::holder(&self.relay_file(index)) {
            let _ = kill_process(pid, Signal::KILL);
        }
        Ok(())
    }

    fn announce(&mut self, index: u32) {
        // Without udev there is nobody to tell.
        let _ = write(&format!("/sys/block/nbd{index}/uevent"), "add");
    }

    fn pause(&mut self, time: Duration) {
        park_timeout(time);
    }
}

/// Whether the driver's device has an owner that netlink does not tell of: one attached by ioctl.
fn is_held(index: u32) -> bool {
    Path::new(&format!("/sys/block/nbd{index}/pid")).exists()
}

fn write(path: &str, text: &str) -> io::Result<()> {
    let file = open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    std::fs::File::from(file).write_all(text.as_bytes())
}
