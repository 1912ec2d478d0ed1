//! `gnbd_load`: load for measurements and for tests of leaks. Not a historic program.
//!
//! Guests have nothing else for it: fio comes with a hundred megabytes of libraries, and dd reads one block after
//! another.
//!
//! - `gnbd_load -d DEVICE` reads blocks of a device at random, uncached, with so many requests under way as there are
//!   threads, and prints `NUMBER reads in SECONDS s`.
//! - `gnbd_load -i HOST -e NAME -c COUNT` logs in so often, as many clients beside each other as there are threads, reads
//!   a sector each time and says goodbye, or two times out of three closes the connection without a word; it prints
//!   `COUNT logins in SECONDS s`.
//! - `gnbd_load -i HOST -e NAME -c COUNT -K NODE -d DEVICE` has the server end the connections of that node so often,
//!   and reads a sector of the device, which that node has imported, after each; it prints `COUNT reconnections in SECONDS s`.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, open};

use super::options::CommandLine;
use super::{Console, ExitStatus};
use crate::client::{PATIENCE, RequestError, Server, Session};
use crate::protocol::{
    Command, DATA_REPLY_SIZE, DATA_REQUEST_SIZE, DataReply, DataRequest, DeviceName, MAX_TRANSFER,
    NodeName, PORT,
};
use crate::server::Buffer;

const OPTIONS: &str = "b:c:d:e:hi:K:p:q:s:vV";

const USAGE: &str = "\
usage: gnbd_load -d DEVICE [-b BYTES] [-q DEPTH] [-s SECONDS]
       gnbd_load -i HOST -e NAME -c COUNT [-q DEPTH] [-p PORT]
       gnbd_load -i HOST -e NAME -c COUNT -K NODE -d DEVICE [-p PORT]
Load for measurements and tests.

  -b BYTES    length of a read, at most 131072 (default 4096)
  -c COUNT    how many logins, or reconnections
  -d DEVICE   device or file to read
  -e NAME     export
  -h          print this help
  -i HOST     server
  -K NODE     node whose connections to the export the server shall end
  -p PORT     port of the server (default 14567)
  -q DEPTH    reads or clients beside each other, at most 128 (default 16)
  -s SECONDS  for how long to read (default 5)
  -v          print details
  -V          print the version
";

/// Runs the program.
pub fn run(arguments: Vec<OsString>, console: &mut Console<'_>) -> ExitStatus {
    let line = match console.command_line(OPTIONS, USAGE, arguments) {
        Ok(line) => line,
        Err(status) => return status,
    };
    let result = match (line.value('i'), line.value('d')) {
        (Some(host), device) => connections(&line, host, device),
        (None, Some(device)) => reads(&line, Path::new(device)),
        (None, None) => Err("neither -d nor -i is given".to_owned()),
    };
    match result {
        Ok(text) => {
            console.print(&format!("{text}\n"));
            0
        }
        Err(text) => console.error(&text),
    }
}

/// An option's number, within limits.
fn number(line: &CommandLine, letter: char, default: u32, most: u32) -> Result<u32, String> {
    let Some(text) = line.value(letter) else {
        return Ok(default);
    };
    match text.parse() {
        Ok(number) if (1..=most).contains(&number) => Ok(number),
        _ => Err(format!("invalid number '{text}' with -{letter}")),
    }
}

/// Reads at random places until the time is over.
fn reads(line: &CommandLine, device: &Path) -> Result<String, String> {
    let length = number(line, 'b', 4096, MAX_TRANSFER)?;
    let depth = number(line, 'q', 16, 128)?;
    let seconds = number(line, 's', 5, 3600)?;
    let told = |error: io::Error| format!("failed to read {}: {error}", device.display());
    let mut file = open_direct(device).map_err(told)?;
    let blocks = file.seek(SeekFrom::End(0)).map_err(told)? / u64::from(length);
    if blocks == 0 {
        return Err(format!("{} is shorter than a read", device.display()));
    }
    let start = Instant::now();
    let end = start + Duration::from_secs(seconds.into());
    let read = |seed: u32| -> io::Result<u64> {
        let mut buffer = Buffer::new();
        let bytes = buffer.bytes(length);
        let mut dice = 0x9e37_79b9_7f4a_7c15 ^ u64::from(seed) << 40 | 1;
        let mut count = 0;
        while Instant::now() < end {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            file.read_exact_at(bytes, dice % blocks * u64::from(length))?;
            count += 1;
        }
        Ok(count)
    };
    let total = beside(depth, |seed| read(seed).map_err(told))?;
    let seconds = start.elapsed().as_secs_f64();
    Ok(format!("{total} reads in {seconds:.3} s"))
}

/// Runs so many threads; the sum of what they did.
fn beside(depth: u32, work: impl Fn(u32) -> Result<u64, String> + Sync) -> Result<u64, String> {
    let work = &work;
    thread::scope(|scope| {
        let start = |number| scope.spawn(move || work(number));
        let threads: Vec<_> = (0..depth).map(start).collect();
        let ended = threads.into_iter().map(|thread| match thread.join() {
            Ok(done) => done,
            Err(_) => Err("a thread panicked".to_owned()),
        });
        ended.sum()
    })
}

fn open_direct(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECT | OFlags::CLOEXEC;
    Ok(File::from(open(path, flags, Mode::empty())?))
}

/// Connections that come and go.
fn connections(line: &CommandLine, host: &str, device: Option<&str>) -> Result<String, String> {
    let port = match line.value('p').map(str::parse) {
        None => PORT,
        Some(Ok(port)) => port,
        Some(Err(_)) => return Err("invalid port with -p".to_owned()),
    };
    let count = number(line, 'c', 1000, 10_000_000)?;
    let named = |error| format!("failed to {error}");
    let export = DeviceName::new(line.value('e').unwrap_or_default()).map_err(named)?;
    let endpoint = Server::new(host, port)
        .resolve()
        .map_err(|error| format!("failed to {error}"))?;
    let start = Instant::now();
    let what = match (line.value('K'), device) {
        (None, _) => {
            let depth = number(line, 'q', 16, 128)?.min(count);
            beside(depth, |client| {
                // Other than this node's own: its relays shall go on. And each another: a login ends the others of its name.
                let node = NodeName::new(&format!("gnbd_load{client}")).map_err(named)?;
                let turns = (client..count).step_by(depth as usize);
                for turn in turns.clone() {
                    endpoint
                        .log_in(&export, &node, 1, PATIENCE)
                        .and_then(|session| visit(session, turn % 3 == 0))
                        .map_err(|error| format!("failed to {error}, login {turn}"))?;
                }
                Ok(turns.count() as u64)
            })?;
            "logins"
        }
        (Some(node), Some(device)) => {
            let node = NodeName::new(node).map_err(named)?;
            let file = open_direct(Path::new(device));
            let file = file.map_err(|error| format!("failed to open {device}: {error}"))?;
            let mut buffer = Buffer::new();
            for turn in 0..count {
                endpoint
                    .kill(&export, &node)
                    .map_err(|error| format!("failed to {error}, reconnection {turn}"))?;
                file.read_exact_at(buffer.bytes(4096), 0)
                    .map_err(|error| format!("failed to read {device}: {error}, read {turn}"))?;
            }
            "reconnections"
        }
        (Some(_), None) => return Err("-K needs a device, given by -d".to_owned()),
    };
    let seconds = start.elapsed().as_secs_f64();
    Ok(format!("{count} {what} in {seconds:.3} s"))
}

/// Reads a sector, and goes with or without a word.
fn visit(mut session: Session, politely: bool) -> Result<(), RequestError> {
    session.stream.set_read_timeout(Some(PATIENCE))?;
    let mut data = [0; 512];
    ask(&mut session, Command::Read, 512)?;
    session.stream.read_exact(&mut data)?;
    if politely {
        ask(&mut session, Command::Disconnect, 0)?;
    }
    Ok(())
}

/// One request, and its reply's header, which must be good.
fn ask(session: &mut Session, command: Command, length: u32) -> Result<(), RequestError> {
    let request: [u8; DATA_REQUEST_SIZE] = DataRequest {
        command,
        handle: [7; 8],
        offset: 0,
        length,
    }
    .encode();
    session.stream.write_all(&request)?;
    let mut header = [0; DATA_REPLY_SIZE];
    session.stream.read_exact(&mut header)?;
    match DataReply::decode(&header)? {
        DataReply::Reply { error: 0, .. } => Ok(()),
        DataReply::Reply { error, .. } => Err(RequestError::Refused(error)),
        DataReply::KeepAlive => Err(RequestError::Transfer(io::Error::other(
            "a keep-alive came instead",
        ))),
    }
}
