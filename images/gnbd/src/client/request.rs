//! Control requests to a server, each on a connection of its own, and the login that begins a data phase.

use std::fmt::{self, Display, Formatter};
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use rustix::net::sockopt;

use crate::protocol::{
    DeviceName, ExportRecord, LOGIN_REPLY_SIZE, LONGEST_LIST, LoginReply, LoginRequest, NodeName,
    ProtocolError, Request, Uid,
};

/// How long a server may take to accept a connection, and to answer what needs no waiting there.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// How long a server may take to end a node's connections: it waits for the last write.
pub const LONG_PATIENCE: Duration = Duration::from_secs(60);

/// How long a connection may take on the way to another login. A machine that has just come up answers the next
/// attempt sooner than the kernel's own repetitions of this one, which are further and further apart.
const DIAL: Duration = Duration::from_secs(3);
/// A server may say nothing for long while it ends a node's connections. So the kernels ask each other after this time,
/// and this often, whether both machines live; in milliseconds, after how long without a word they do not.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(4);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);
const SILENCE: u32 = 10_000;

/// `ENODEV`: no such export.
const ENODEV: u32 = 19;
/// `EPERM`: banned.
const EPERM: u8 = 1;

/// A server's address, as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// Why a server gave no good answer.
#[derive(Debug)]
pub enum RequestError {
    /// There is no connection.
    Connect {
        /// The resolver's number if the host is unknown, else -1.
        code: i32,
        /// Why.
        source: io::Error,
    },
    /// The connection broke, or took too long.
    Transfer(io::Error),
    /// The answer is none.
    Protocol(ProtocolError),
    /// The server refused, with a positive errno.
    Refused(u32),
    /// The server speaks another version of the protocol.
    WrongVersion(u16),
}

impl Display for RequestError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect { source, .. } => write!(f, "connect: {source}"),
            Self::Transfer(source) => write!(f, "get an answer: {source}"),
            Self::Protocol(error) => error.fmt(f),
            Self::Refused(errno) => {
                write!(f, "be served: {}", crate::command::strerror_of(*errno))
            }
            Self::WrongVersion(version) => {
                write!(
                    f,
                    "log in: the server speaks version {version} of the protocol"
                )
            }
        }
    }
}

impl std::error::Error for RequestError {}

impl From<io::Error> for RequestError {
    fn from(error: io::Error) -> Self {
        Self::Transfer(error)
    }
}

impl From<ProtocolError> for RequestError {
    fn from(error: ProtocolError) -> Self {
        Self::Protocol(error)
    }
}

impl RequestError {
    /// Whether there is no point in trying again: the server answers, and will not have us.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::WrongVersion(_))
            || matches!(self, Self::Refused(errno) if *errno == u32::from(EPERM))
    }

    /// Whether a kernel said that nobody listens there.
    pub fn is_refusal(&self) -> bool {
        let refused = io::ErrorKind::ConnectionRefused;
        matches!(self, Self::Connect { source, .. } if source.kind() == refused)
    }
}

impl Server {
    /// A server on this port.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
        }
    }

    /// Its addresses, those of IPv6 first.
    pub fn resolve(&self) -> Result<Endpoint, RequestError> {
        let found = (self.host.as_str(), self.port)
            .to_socket_addrs()
            .map_err(|error| unknown_host(&error))?;
        let mut addresses: Vec<SocketAddr> = found.collect();
        addresses.sort_by_key(SocketAddr::is_ipv4);
        addresses.dedup();
        Ok(Endpoint { addresses })
    }

    /// The exports, newest first.
    pub fn names(&self) -> Result<Vec<ExportRecord>, RequestError> {
        let list = self.resolve()?.list(&Request::Names)?;
        Ok(ExportRecord::decode_all(&list)?)
    }

    /// The banned nodes.
    pub fn banned(&self) -> Result<Vec<NodeName>, RequestError> {
        let list = self.resolve()?.list(&Request::ListBanned)?;
        let nodes = list.chunks_exact(NodeName::SIZE);
        if !nodes.remainder().is_empty() {
            return Err(wrong_length(
                list.len().next_multiple_of(NodeName::SIZE),
                list.len(),
            ));
        }
        nodes
            .map(|node| Ok(NodeName::decode(&array(node))?))
            .collect()
    }

    /// The server's node name.
    pub fn node_name(&self) -> Result<NodeName, RequestError> {
        let name = self.resolve()?.list(&Request::NodeName)?;
        Ok(NodeName::new(text(&name)?)?)
    }

    /// Whether it answers at all, within this time.
    pub fn is_alive(&self, patience: Duration) -> bool {
        let endpoint = self.resolve();
        endpoint.is_ok_and(|it| it.ask(&Request::NodeName, patience, patience).is_ok())
    }

    /// An export's uid; an empty one if it has none.
    pub fn uid(&self, device: &DeviceName) -> Result<Uid, RequestError> {
        let uid = self.resolve()?.list(&Request::Uid(device.clone()))?;
        if uid.is_empty() {
            return Ok(Uid::none());
        }
        Ok(Uid::new(text(&uid)?)?)
    }

    /// Bans a node. When this returns well, nothing that it sent is still to be written.
    pub fn fence(&self, node: &NodeName) -> Result<(), RequestError> {
        self.resolve()?
            .bare(&Request::Fence(node.clone()), PATIENCE, LONG_PATIENCE)
    }

    /// Lifts a ban.
    pub fn unfence(&self, node: &NodeName) -> Result<(), RequestError> {
        self.resolve()?
            .bare(&Request::Unfence(node.clone()), PATIENCE, PATIENCE)
    }
}

impl Display for Server {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}, port {}", self.host, self.port)
    }
}

/// A server's addresses, resolved once: the way to write out must not lead through a name service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// In the order of trying.
    pub addresses: Vec<SocketAddr>,
}

/// A connection in its data phase.
#[derive(Debug)]
pub struct Session {
    /// The connection, blocking.
    pub stream: TcpStream,
    /// The export's size.
    pub sectors: u64,
}

impl Endpoint {
    /// Connects within `patience` for each address.
    fn connect(&self, patience: Duration) -> Result<TcpStream, RequestError> {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in &self.addresses {
            match TcpStream::connect_timeout(address, patience) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    notice_death(&stream)?;
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(RequestError::Connect {
            code: -1,
            source: last,
        })
    }

    /// Sends a request and reads the status that every reply but LOGIN's begins with.
    fn ask(
        &self,
        request: &Request,
        connect: Duration,
        patience: Duration,
    ) -> Result<(TcpStream, u32), RequestError> {
        let mut stream = self.connect(connect)?;
        stream.set_write_timeout(Some(patience))?;
        stream.write_all(&request.encode())?;
        let status = u32::from_be_bytes(read(&mut stream, Instant::now() + patience)?);
        Ok((stream, status))
    }

    fn bare(
        &self,
        request: &Request,
        connect: Duration,
        patience: Duration,
    ) -> Result<(), RequestError> {
        match self.ask(request, connect, patience)?.1 {
            0 => Ok(()),
            errno => Err(RequestError::Refused(errno)),
        }
    }

    fn list(&self, request: &Request) -> Result<Vec<u8>, RequestError> {
        let (mut stream, status) = self.ask(request, PATIENCE, PATIENCE)?;
        if status != 0 {
            return Err(RequestError::Refused(status));
        }
        let deadline = Instant::now() + PATIENCE;
        let count = u32::from_be_bytes(read(&mut stream, deadline)?);
        if count > LONGEST_LIST {
            return Err(wrong_length(LONGEST_LIST as usize, count as usize));
        }
        let mut data = vec![0; count as usize];
        read_within(&mut stream, &mut data, deadline)?;
        Ok(data)
    }

    /// Has the server end a node's connections to an export, and waits for their last writes.
    pub fn kill(&self, device: &DeviceName, node: &NodeName) -> Result<(), RequestError> {
        self.end_connections(device, node, PATIENCE, LONG_PATIENCE)
    }

    /// There may be none, and no such export.
    fn end_connections(
        &self,
        device: &DeviceName,
        node: &NodeName,
        connect: Duration,
        patience: Duration,
    ) -> Result<(), RequestError> {
        let kill = Request::KillServer {
            device: device.clone(),
            node: node.clone(),
        };
        match self.bare(&kill, connect, patience) {
            Ok(()) | Err(RequestError::Refused(ENODEV)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Begins a data phase. First the connections that this node still has to the device are ended, and their last
    /// writes awaited: nothing that was sent before is applied after this.
    pub fn log_in(
        &self,
        device: &DeviceName,
        node: &NodeName,
        timestamp: u64,
        patience: Duration,
    ) -> Result<Session, RequestError> {
        let dial = DIAL.min(patience);
        self.end_connections(device, node, dial, LONG_PATIENCE.max(patience))?;
        let mut stream = self.connect(dial)?;
        stream.set_write_timeout(Some(patience))?;
        let login = LoginRequest::new(device.clone(), node.clone(), timestamp);
        // Nothing may be sent behind it: a historic server would lose it.
        stream.write_all(&Request::Login(login).encode())?;
        let reply: [u8; LOGIN_REPLY_SIZE] = read(&mut stream, Instant::now() + patience)?;
        match LoginReply::decode(&reply) {
            LoginReply::Welcome { sectors } => {
                stream.set_write_timeout(None)?;
                stream.set_read_timeout(None)?;
                Ok(Session { stream, sectors })
            }
            LoginReply::WrongVersion { version } => Err(RequestError::WrongVersion(version)),
            LoginReply::Refused { errno } => Err(RequestError::Refused(errno.into())),
        }
    }
}

fn notice_death(stream: &TcpStream) -> io::Result<()> {
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_user_timeout(stream, SILENCE)?;
    Ok(())
}

fn read<const N: usize>(
    stream: &mut TcpStream,
    deadline: Instant,
) -> Result<[u8; N], RequestError> {
    let mut bytes = [0; N];
    read_within(stream, &mut bytes, deadline)?;
    Ok(bytes)
}

/// `read_exact` with one deadline for all of it: a server that drips is no better than one that is silent.
fn read_within(
    stream: &mut TcpStream,
    bytes: &mut [u8],
    deadline: Instant,
) -> Result<(), RequestError> {
    let mut filled = 0;
    while filled < bytes.len() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(
                io::Error::from_raw_os_error(rustix::io::Errno::TIMEDOUT.raw_os_error()).into(),
            );
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut bytes[filled..]) {
            Ok(0) => return Err(io::Error::from(rustix::io::Errno::PIPE).into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn wrong_length(expected: usize, got: usize) -> RequestError {
    ProtocolError::WrongLength { expected, got }.into()
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(bytes);
    array
}

/// A string as it stands in a list: with its NUL.
fn text(bytes: &[u8]) -> Result<&str, RequestError> {
    let end = bytes.iter().position(|byte| *byte == 0);
    let end = end.ok_or(ProtocolError::Unterminated)?;
    std::str::from_utf8(&bytes[..end]).map_err(|_| ProtocolError::InvalidName.into())
}

/// The number of `getaddrinfo`, which the standard library gives as words only, and those words alone.
fn unknown_host(error: &io::Error) -> RequestError {
    let text = error.to_string();
    let reason = text.rsplit(": ").next().unwrap_or_default();
    let code = match reason {
        "Name or service not known" | "Name does not resolve" => -2,
        "Temporary failure in name resolution" | "Try again" => -3,
        "Non-recoverable failure in name resolution" => -4,
        "No address associated with hostname" => -5,
        _ => -1,
    };
    RequestError::Connect {
        code,
        source: io::Error::new(error.kind(), reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_hosts_have_the_resolvers_number() {
        let prefix = "failed to lookup address information: ";
        for (text, number) in [("Name or service not known", -2), ("Anything", -1)] {
            let error = unknown_host(&io::Error::other(format!("{prefix}{text}")));
            let RequestError::Connect { code, source } = error else {
                panic!("{error}");
            };
            assert_eq!((code, source.to_string().as_str()), (number, text));
        }
    }
}
