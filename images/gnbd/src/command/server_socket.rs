//! Asking the server on this machine, by its Unix socket.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;

use crate::protocol::local::{LocalRequest, SOCKET};
use crate::run_dir::run_dir;

/// Why there is no good answer.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// There is no server, or it does not let us.
    Connect(io::Error),
    /// It refused, or the talk with it broke.
    Refused(io::Error),
}

/// The longest list that is believed: more than the most exports that a server takes.
const LONGEST: u64 = 4 << 20;

/// Asks; the answer is the list's bytes for requests that list something, else empty.
pub(super) fn ask(request: &LocalRequest) -> Result<Vec<u8>, Unanswered> {
    let mut stream = UnixStream::connect(run_dir().join(SOCKET)).map_err(Unanswered::Connect)?;
    talk(&mut stream, request).map_err(Unanswered::Refused)
}

fn talk(stream: &mut UnixStream, request: &LocalRequest) -> io::Result<Vec<u8>> {
    let bytes = request
        .encode()
        .map_err(|_| io::Error::from(rustix::io::Errno::NAMETOOLONG))?;
    stream.write_all(&bytes)?;
    let status = number(stream)?;
    if status != 0 {
        let errno = i32::try_from(status).unwrap_or(i32::MAX);
        return Err(io::Error::from_raw_os_error(errno));
    }
    let mut data = Vec::new();
    if matches!(request, LocalRequest::Exports | LocalRequest::Sessions) {
        let size = u64::from(number(stream)?).min(LONGEST);
        stream.take(size).read_to_end(&mut data)?;
    }
    Ok(data)
}

fn number(stream: &mut UnixStream) -> io::Result<u32> {
    let mut bytes = [0; 4];
    stream.read_exact(&mut bytes)?;
    Ok(u32::from_ne_bytes(bytes))
}
