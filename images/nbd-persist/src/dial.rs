//! A connection to a server, up to where the kernel takes it over: the NBD project's doc/proto.md.

use std::fmt::{self, Display, Formatter};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use gnbd::Error;
use rustix::net::sockopt::set_socket_keepalive;

/// How long a server may take to accept, and for each of its answers.
const PATIENCE: Duration = Duration::from_secs(5);

/// `NBDMAGIC`, and `IHAVEOPT`: the server speaks of options.
const MAGIC: u64 = 0x4e42_444d_4147_4943;
const OPTIONS_MAGIC: u64 = 0x4948_4156_454f_5054;
/// Bits of the server's and of the client's flags: options are fixed, and no zeros follow the answer.
const FIXED: u16 = 1;
const NO_ZEROES: u16 = 2;
/// The option that names an export and ends the negotiation.
const EXPORT_NAME: u32 = 1;

/// What a server exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Export {
    /// Its size.
    pub bytes: u64,
    /// What the server can do, in NBD's own bits: those that the kernel is told.
    pub flags: u16,
}

/// A server's address. Resolved once: no name service stands in the way of a write-out.
#[derive(Debug, Clone)]
pub struct Server {
    name: String,
    addresses: Vec<SocketAddr>,
}

impl Server {
    /// Looks a host up.
    pub fn resolve(host: &str, port: u16) -> Result<Self, Error> {
        let name = format!("{host}:{port}");
        let doing = || format!("find the address of {host}");
        let found = (host, port)
            .to_socket_addrs()
            .map_err(|error| Error::host(doing(), error))?;
        let addresses: Vec<_> = found.collect();
        if addresses.is_empty() {
            return Err(Error::host(
                doing(),
                io::Error::from(io::ErrorKind::NotFound),
            ));
        }
        Ok(Self { name, addresses })
    }

    /// Connects, and asks for the default export.
    pub fn dial(&self) -> Result<(TcpStream, Export), Error> {
        let fail = |source: io::Error| Error::host(format!("connect to {self}"), source);
        let mut refused = io::Error::from(io::ErrorKind::NotFound);
        for address in &self.addresses {
            match TcpStream::connect_timeout(address, PATIENCE) {
                Ok(stream) => return speak(stream).map_err(fail),
                Err(error) => refused = error,
            }
        }
        Err(fail(refused))
    }
}

impl Display for Server {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

fn speak(mut stream: TcpStream) -> io::Result<(TcpStream, Export)> {
    stream.set_nodelay(true)?;
    set_socket_keepalive(&stream, true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let export = negotiate(&mut stream)?;
    // The kernel has times of its own.
    stream.set_read_timeout(None)?;
    stream.set_write_timeout(None)?;
    Ok((stream, export))
}

/// Asks for the default export on a new connection. What follows on it are requests and replies.
pub fn negotiate(stream: &mut (impl Read + Write)) -> io::Result<Export> {
    let magic = u64::from_be_bytes(take(stream)?);
    let options = u64::from_be_bytes(take(stream)?);
    if (magic, options) != (MAGIC, OPTIONS_MAGIC) {
        return Err(strange("it speaks no NBD with options"));
    }
    let flags = u16::from_be_bytes(take(stream)?) & (FIXED | NO_ZEROES);
    let mut request = Vec::new();
    request.extend(u32::from(flags).to_be_bytes());
    request.extend(OPTIONS_MAGIC.to_be_bytes());
    request.extend(EXPORT_NAME.to_be_bytes());
    request.extend(0_u32.to_be_bytes());
    stream.write_all(&request)?;
    let bytes = u64::from_be_bytes(take(stream)?);
    let export = Export {
        bytes,
        flags: u16::from_be_bytes(take(stream)?),
    };
    if flags & NO_ZEROES == 0 {
        take::<124>(stream)?;
    }
    Ok(export)
}

fn take<const N: usize>(stream: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn strange(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that says what it has to say, and keeps what it hears.
    struct Scripted<'a> {
        says: &'a [u8],
        hears: Vec<u8>,
    }

    impl Read for Scripted<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.says.read(buffer)
        }
    }

    impl Write for Scripted<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.hears.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn ask(says: &[u8]) -> (io::Result<Export>, Vec<u8>, usize) {
        let hears = Vec::new();
        let mut server = Scripted { says, hears };
        let export = negotiate(&mut server);
        (export, server.hears, server.says.len())
    }

    #[test]
    fn an_export_is_asked_for() {
        let says = b"NBDMAGICIHAVEOPT\0\x03\0\0\0\0\x02\0\0\0\0\x0d";
        let (export, heard, left) = ask(says);
        let wanted = Export {
            bytes: 32 << 20,
            flags: 0x0d,
        };
        assert_eq!((export.unwrap(), left), (wanted, 0));
        assert_eq!(heard, b"\0\0\0\x03IHAVEOPT\0\0\0\x01\0\0\0\0");
    }

    #[test]
    fn zeros_of_an_older_server_are_taken() {
        let mut says = b"NBDMAGICIHAVEOPT\0\x01\0\0\0\0\x02\0\0\0\0\x0d".to_vec();
        says.extend([0; 124]);
        let (export, heard, left) = ask(&says);
        assert_eq!((export.unwrap().flags, left), (0x0d, 0));
        assert_eq!(heard[..4], [0, 0, 0, 1]);
    }

    #[test]
    fn anything_else_is_refused() {
        let (export, ..) = ask(b"SSH-2.0-OpenSSH_9.2p1");
        assert_eq!(export.unwrap_err().kind(), io::ErrorKind::InvalidData);
        let (export, ..) = ask(b"NBDMAGICIHAVEOPT\0\x03");
        assert_eq!(export.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
