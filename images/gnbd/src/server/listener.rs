//! Sockets to listen on, and what is set on those that are accepted.

use std::fs::Permissions;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use rustix::net::sockopt::{
    set_socket_keepalive, set_tcp_keepcnt, set_tcp_keepidle, set_tcp_keepintvl,
};

use crate::error::Error;

/// Where to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bind {
    /// Every address of the machine, of IPv6 and IPv4, or of IPv4 where there is no IPv6.
    Everywhere {
        /// The port; 0: the kernel chooses.
        port: u16,
    },
    /// One address.
    Address(SocketAddr),
}

/// After this long without a word a peer is asked whether it lives, this often, this many times.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_PROBES: u32 = 3;

pub(super) fn listen(bind: &Bind) -> Result<(TcpListener, SocketAddr), Error> {
    let listener = match bind {
        Bind::Address(address) => TcpListener::bind(address),
        Bind::Everywhere { port } => {
            let v6 = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), *port);
            let v4 = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), *port);
            TcpListener::bind(v6).or_else(|error| match error.kind() {
                ErrorKind::AddrInUse => Err(error),
                _ => TcpListener::bind(v4),
            })
        }
    };
    let listen = |listener: TcpListener| -> io::Result<_> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    listener.and_then(listen).map_err(|source| {
        let place = match bind {
            Bind::Everywhere { port } => format!("port {port}"),
            Bind::Address(address) => address.to_string(),
        };
        Error::host(format!("listen on {place}"), source)
    })
}

/// The socket is removed first: whoever calls this holds the pid file, so that it belongs to nobody who lives.
pub(super) fn listen_locally(socket: &Path) -> Result<UnixListener, Error> {
    let listen = || -> io::Result<UnixListener> {
        match rustix::fs::unlink(socket) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let listener = UnixListener::bind(socket)?;
        std::fs::set_permissions(socket, Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    listen().map_err(|source| Error::host(format!("listen on {}", socket.display()), source))
}

/// Prepares an accepted connection. Non-blocking until its request is whole.
pub(super) fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    set_socket_keepalive(stream, true)?;
    set_tcp_keepidle(stream, KEEPALIVE_IDLE)?;
    set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL)?;
    set_tcp_keepcnt(stream, KEEPALIVE_PROBES)?;
    Ok(())
}
