//! Making, mending and ending nbd devices: a generic netlink socket.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, sendto,
    socket_with,
};

use super::netlink::{self as message, Answer, Attach};
use crate::error::Error;

/// How long the kernel may take: attaching starts threads, ending waits for requests.
const PATIENCE: Duration = Duration::from_secs(30);

/// The kernel's nbd driver.
#[derive(Debug)]
pub struct Driver {
    socket: OwnedFd,
    family: u16,
    sequence: u32,
}

impl Driver {
    /// Finds the driver. An error of kind `NotFound` means that its module is not loaded.
    pub fn open() -> Result<Self, Error> {
        let fail = |error: rustix::io::Errno| Error::host("open a netlink socket", error);
        let protocol = Some(netlink::GENERIC);
        let socket = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            protocol,
        )
        .map_err(fail)?;
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE)).map_err(fail)?;
        let mut driver = Self {
            socket,
            family: 0,
            sequence: 0,
        };
        let doing = "find the nbd driver";
        let answers = driver.ask(doing, |_, sequence| message::get_family(sequence))?;
        for answer in answers {
            if let Answer::Family(family) = answer {
                driver.family = family;
                return Ok(driver);
            }
        }
        Err(Error::host(doing, io::Error::from(io::ErrorKind::NotFound)))
    }

    /// Makes a device that `socket` serves.
    pub fn connect(&mut self, attach: Attach, socket: &impl AsFd) -> Result<(), Error> {
        let attach = with_socket(attach, socket);
        let doing = format!("connect nbd{}", attach.index);
        self.ask(&doing, |family, sequence| {
            message::connect(family, sequence, &attach)
        })
        .map(drop)
    }

    /// Gives a device another socket in the place of a dead one.
    pub fn reconfigure(&mut self, attach: Attach, socket: &impl AsFd) -> Result<(), Error> {
        let attach = with_socket(attach, socket);
        let doing = format!("reconnect nbd{}", attach.index);
        self.ask(&doing, |family, sequence| {
            message::reconfigure(family, sequence, &attach)
        })
        .map(drop)
    }

    /// Ends a device.
    pub fn disconnect(&mut self, index: u32) -> Result<(), Error> {
        let doing = format!("disconnect nbd{index}");
        self.ask(&doing, |family, sequence| {
            message::disconnect(family, sequence, index)
        })
        .map(drop)
    }

    /// Every device, and whether it has a connection.
    pub fn devices(&mut self) -> Result<Vec<(u32, bool)>, Error> {
        let answers = self.ask("list nbd devices", message::status)?;
        let lists = answers.into_iter().filter_map(|answer| match answer {
            Answer::Devices(devices) => Some(devices),
            _ => None,
        });
        Ok(lists.flatten().collect())
    }

    /// Sends a request; everything that comes before it is done.
    fn ask(
        &mut self,
        doing: &str,
        request: impl FnOnce(u16, u32) -> Vec<u8>,
    ) -> Result<Vec<Answer>, Error> {
        self.sequence += 1;
        let fail = |source: io::Error| Error::host(doing, source);
        let request = request(self.family, self.sequence);
        let kernel = netlink::SocketAddrNetlink::new(0, 0);
        sendto(&self.socket, &request, SendFlags::empty(), &kernel)
            .map_err(|errno| fail(errno.into()))?;
        let mut space = vec![0; 64 << 10];
        let mut all = Vec::new();
        loop {
            let (count, _) = match recv(&self.socket, &mut space[..], RecvFlags::empty()) {
                Err(rustix::io::Errno::INTR) => continue,
                other => other.map_err(|errno| fail(errno.into()))?,
            };
            let answers = message::answers(&space[..count], self.family, self.sequence)
                .map_err(|malformed| fail(io::Error::new(io::ErrorKind::InvalidData, malformed)))?;
            for answer in answers {
                match answer {
                    Answer::Done(Ok(())) => return Ok(all),
                    Answer::Done(Err(errno)) => {
                        let errno = errno.try_into().unwrap_or(i32::MAX);
                        return Err(fail(io::Error::from_raw_os_error(errno)));
                    }
                    answer => all.push(answer),
                }
            }
        }
    }
}

fn with_socket(mut attach: Attach, socket: &impl AsFd) -> Attach {
    // Descriptors are no negative numbers.
    attach.socket = socket.as_fd().as_raw_fd().unsigned_abs();
    attach
}
