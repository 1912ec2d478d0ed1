//! A device of the kernel's nbd driver whose connection is made anew when it ends.

use std::fmt::{self, Display, Formatter};
use std::io;
use std::net::{Shutdown, TcpStream};
use std::thread::park_timeout;
use std::time::Duration;

use gnbd::Error;
use gnbd::client::Driver;
use gnbd::client::netlink::Attach;
use gnbd::log::Log;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::dial::{Export, Server};

/// Between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(500);

/// How often a new socket is offered again, once in a second: the driver ignores one as long as it takes the old one for alive.
const OFFERS: u32 = 5;

/// An imported device.
#[derive(Debug)]
pub(crate) struct Device {
    server: Server,
    export: Export,
    attach: Attach,
    /// The driver has it too.
    stream: TcpStream,
}

impl Device {
    /// Makes the device.
    pub(crate) fn import(
        server: Server,
        index: u32,
        block_size: u64,
        timeout: u64,
        dead_timeout: u64,
    ) -> Result<Self, Error> {
        let (stream, export) = server.dial()?;
        let attach = Attach {
            index,
            bytes: export.bytes,
            block_size,
            flags: u64::from(export.flags),
            timeout,
            dead_timeout,
            identifier: server.to_string(),
            socket: 0,
        };
        Driver::open()?.connect(attach.clone(), &stream)?;
        Ok(Self {
            server,
            export,
            attach,
            stream,
        })
    }

    /// Connects again and again, until the device is disconnected.
    pub(crate) fn keep(&mut self, log: &Log) -> Result<(), Error> {
        let mut offers = 0;
        loop {
            let wait = (offers > 0).then_some(Duration::from_secs(1));
            if self.has_ended(wait)? {
                log.line(format_args!("the connection to {} has ended", self.server));
                if !self.reconnect(log)? {
                    log.line("the device is disconnected");
                    return Ok(());
                }
                offers = OFFERS;
            } else {
                offers -= 1;
            }
            if offers > 0 {
                self.offer()?;
            }
        }
    }

    /// Whether the connection ends within that time, or ever.
    fn has_ended(&self, wait: Option<Duration>) -> Result<bool, Error> {
        let wait = wait.map(|wait| Timespec {
            tv_sec: wait.as_secs().try_into().unwrap_or(1),
            tv_nsec: 0,
        });
        loop {
            let mut watched = [PollFd::new(&self.stream, PollFlags::RDHUP)];
            match poll(&mut watched, wait.as_ref()) {
                Ok(count) => return Ok(count > 0),
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(Error::host("watch the connection", errno)),
            }
        }
    }

    /// Makes another connection. `false`: the device is not there any more.
    fn reconnect(&mut self, log: &Log) -> Result<bool, Error> {
        // The driver notices at once, if it has not yet.
        match self.stream.shutdown(Shutdown::Both) {
            Err(error) if error.kind() != io::ErrorKind::NotConnected => {
                log.line(format_args!("failed to end the old connection: {error}"));
            }
            _ => {}
        }
        let mut first = true;
        while self.is_there()? {
            match self.server.dial() {
                Ok((stream, export)) if export == self.export => {
                    log.line(format_args!("connected to {} again", self.server));
                    self.stream = stream;
                    return Ok(true);
                }
                Ok((_, Export { bytes, flags })) => {
                    let Export {
                        bytes: before,
                        flags: could,
                    } = self.export;
                    return Err(Error::Command {
                        command: format!("connect to {} again", self.server),
                        reason: format!(
                            "its export has {bytes} bytes and flags {flags:#x}, and had {before} bytes and flags {could:#x}"
                        ),
                    });
                }
                // The others will say the same.
                Err(error) if std::mem::take(&mut first) => {
                    log.line(format_args!("failed to {error}; trying on"));
                }
                Err(_) => {}
            }
            park_timeout(PAUSE);
        }
        Ok(false)
    }

    fn is_there(&self) -> Result<bool, Error> {
        let devices = Driver::open()?.devices()?;
        Ok(devices.contains(&(self.attach.index, true)))
    }

    /// Gives the driver the socket, if it has none.
    fn offer(&self) -> Result<(), Error> {
        Driver::open()?.reconfigure(self.attach.clone(), &self.stream)
    }
}

impl Display for Device {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Attach { index, bytes, .. } = self.attach;
        write!(f, "nbd{index}: {bytes} bytes of {}", self.server)
    }
}
