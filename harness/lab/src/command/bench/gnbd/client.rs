//! A GNBD client that only reads, as fast as it can: the counterpart of nbdcopy.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// Requests under way: as many as nbdcopy has on a connection.
pub(super) const DEPTH: usize = 64;
/// Bytes of a request: GNBD's limit.
pub(super) const LENGTH: u32 = 128 << 10;

/// LOGIN, its protocol version, and READ: the wire is that of `images/gnbd`, which no crate of the lab uses.
const LOGIN: u32 = 6;
const VERSION: u16 = 2;
const REQUEST: u32 = 0x37a0_7e00;
const READ: u32 = 0;
const REPLY: u32 = 0x41f0_9370;

/// Reads the whole export once; how many bytes it has.
pub(super) async fn read_all(server: SocketAddr, export: &str) -> io::Result<u64> {
    let mut stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    stream.write_all(&login(export, "bench")).await?;
    let mut welcome = [0; 16];
    stream.read_exact(&mut welcome).await?;
    let [s0, s1, s2, s3, s4, s5, s6, s7, _, _, error, ..] = welcome;
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error.into()));
    }
    let size = u64::from_be_bytes([s0, s1, s2, s3, s4, s5, s6, s7]) * 512;
    let (source, mut sink) = stream.split();
    let mut source = BufReader::with_capacity(1 << 20, source);
    let mut sent = 0;
    let mut received = 0;
    let mut data = vec![0; LENGTH as usize];
    while received < size {
        let mut requests = Vec::new();
        while sent < size && sent - received < DEPTH as u64 * u64::from(LENGTH) {
            let length = u64::from(LENGTH).min(size - sent);
            requests.extend(REQUEST.to_be_bytes());
            requests.extend(READ.to_be_bytes());
            // The handle is the length: answers come in any order.
            requests.extend(length.to_be_bytes());
            requests.extend(sent.to_be_bytes());
            requests.extend(&length.to_be_bytes()[4..]);
            sent += length;
        }
        sink.write_all(&requests).await?;
        let magic = source.read_u32().await?;
        let error = source.read_u32().await?;
        let length = source.read_u64().await?;
        if (magic, error) != (REPLY, 0) || length > u64::from(LENGTH) {
            let text = format!("the server answered {magic:#x}, error {error:#x}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let count = usize::try_from(length).unwrap_or(0);
        source.read_exact(&mut data[..count]).await?;
        received += length;
    }
    Ok(size)
}

/// The request's number, then time stamp, version, padding and the export's name, then the node's.
fn login(export: &str, node: &str) -> Vec<u8> {
    let mut bytes = LOGIN.to_be_bytes().to_vec();
    bytes.extend(1_u64.to_be_bytes());
    bytes.extend(VERSION.to_be_bytes());
    bytes.extend([0; 6]);
    let mut name = |text: &str, size: usize| {
        let start = bytes.len();
        bytes.extend(text.bytes().take(size - 1));
        bytes.resize(start + size, 0);
    };
    name(export, 32);
    name(node, 65);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_as_the_protocol_has_it() {
        let bytes = login("disk", "bench");
        assert_eq!(bytes.len(), 4 + 48 + 65);
        assert_eq!(
            bytes[..20],
            [0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 0, 0, 0, 0, 0, 0]
        );
        assert_eq!(&bytes[20..25], b"disk\0");
        assert_eq!(&bytes[52..58], b"bench\0");
    }
}
