//! How others learn of a running relay: its socket `gnbd_recvd-N.sock` in the run folder. One line there, one back.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::monitor::State;
use super::remote::{Remote, Status};

/// A peer on the same machine answers at once or not at all.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest line.
const LINE: u64 = 256;

/// The socket of a device's relay.
pub(super) fn socket_file(folder: &Path, index: u32) -> PathBuf {
    folder.join(format!("gnbd_recvd-{index}.sock"))
}

/// Answers for a relay, for ever. A peer that does not speak the language is dropped.
pub(super) fn serve(listener: &UnixListener, remote: &Remote) {
    for stream in listener.incoming() {
        // Errors concern one peer, or are short of descriptors for a moment.
        let _ = stream.and_then(|stream| answer(&stream, remote));
    }
}

fn answer(stream: &UnixStream, remote: &Remote) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new(stream.take(LINE)).read_line(&mut line)?;
    match line.trim_end() {
        "status" => writeln!(&mut &*stream, "{}", encode(remote.status())),
        "retry" => {
            remote.retry();
            writeln!(&mut &*stream, "ok")
        }
        _ => Ok(()),
    }
}

fn ask(folder: &Path, index: u32, question: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket_file(folder, index))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    writeln!(stream, "{question}")?;
    let mut line = String::new();
    BufReader::new(stream.take(LINE)).read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

/// How a device's relay fares; `None` if there is none.
pub(super) fn query(folder: &Path, index: u32) -> Option<Status> {
    decode(&ask(folder, index, "status").ok()?)
}

/// Has a device's relay log in at once. An error if there is none.
pub(super) fn retry(folder: &Path, index: u32) -> io::Result<()> {
    ask(folder, index, "retry").map(drop)
}

fn encode(status: Status) -> String {
    format!(
        "{} {} {}",
        u8::from(status.connected),
        status.pending,
        status.state.as_str()
    )
}

fn decode(line: &str) -> Option<Status> {
    let mut words = line.splitn(3, ' ');
    Some(Status {
        connected: words.next()? == "1",
        pending: words.next()?.parse().ok()?,
        state: match words.next()? {
            "normal" => State::Normal,
            "timed out" => State::TimedOut,
            "failed" => State::Failed,
            _ => return None,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_survives() {
        for state in [State::Normal, State::TimedOut, State::Failed] {
            let status = Status {
                connected: state == State::Normal,
                pending: 17,
                state,
            };
            assert_eq!(decode(&encode(status)), Some(status));
        }
        assert_eq!(decode("1 x normal"), None);
        assert_eq!(decode(""), None);
    }
}
