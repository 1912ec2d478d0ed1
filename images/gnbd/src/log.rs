//! One line for what a daemon has to tell: to syslog where there is one, else to a file.
//!
//! Hostile peers must not fill a disk: after a burst, lines are counted instead of written, and the file begins anew
//! when it has grown.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, open};

/// Where syslog listens.
const SYSLOG: &str = "/dev/log";
/// Facility daemon, severity notice.
const PRIORITY: u32 = 3 * 8 + 5;
/// Lines that may come at once.
const BURST: u32 = 50;
/// In which time that many may come again.
const REFILL: Duration = Duration::from_secs(10);
/// The longest log file, in bytes.
const LONGEST: u64 = 1 << 20;

/// Where lines go.
#[derive(Debug)]
pub struct Log {
    program: &'static str,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    sink: Sink,
    since: Instant,
    written: u32,
    dropped: u64,
}

#[derive(Debug)]
enum Sink {
    Stderr,
    Syslog(UnixDatagram),
    File(File),
    Memory(Vec<String>),
    Nowhere,
}

impl Log {
    /// To syslog, or where there is none to `file`, or where that cannot be had nowhere.
    pub fn daemon(program: &'static str, file: &Path) -> Self {
        let sink = match syslog() {
            Ok(socket) => Sink::Syslog(socket),
            Err(_) => log_file(file).map_or(Sink::Nowhere, Sink::File),
        };
        Self::new(program, sink)
    }

    /// To standard error: a program in the foreground.
    pub fn stderr(program: &'static str) -> Self {
        Self::new(program, Sink::Stderr)
    }

    /// Kept, for tests.
    pub fn memory(program: &'static str) -> Self {
        Self::new(program, Sink::Memory(Vec::new()))
    }

    fn new(program: &'static str, sink: Sink) -> Self {
        let inner = Inner {
            sink,
            since: Instant::now(),
            written: 0,
            dropped: 0,
        };
        Self {
            program,
            inner: Mutex::new(inner),
        }
    }

    /// Tells one line. Control characters from peers are escaped by whoever makes the text; line ends are here.
    pub fn line(&self, text: impl Display) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.since.elapsed() >= REFILL {
            let dropped = std::mem::take(&mut inner.dropped);
            inner.since = Instant::now();
            inner.written = 0;
            if dropped > 0 {
                inner.write(self.program, &format!("{dropped} lines left out"));
            }
        }
        if inner.written >= BURST {
            inner.dropped += 1;
            return;
        }
        inner.written += 1;
        inner.write(self.program, &text.to_string().replace('\n', " "));
    }

    /// What a [`memory`](Self::memory) log has been told.
    pub fn lines(&self) -> Vec<String> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        match &inner.sink {
            Sink::Memory(lines) => lines.clone(),
            _ => Vec::new(),
        }
    }
}

impl Inner {
    /// A line that cannot be written is lost: a daemon's work is more than its log.
    fn write(&mut self, program: &str, text: &str) {
        let pid = std::process::id();
        match &mut self.sink {
            Sink::Stderr => {
                let _ = writeln!(io::stderr(), "{program}: {text}");
            }
            Sink::Syslog(socket) => {
                let line = format!("<{PRIORITY}>{program}[{pid}]: {text}");
                if socket.send(line.as_bytes()).is_err() && reconnect(socket) {
                    let _ = socket.send(line.as_bytes());
                }
            }
            Sink::File(file) => {
                if file.metadata().is_ok_and(|data| data.len() > LONGEST) {
                    let _ = file.set_len(0);
                }
                let _ = writeln!(file, "{program}[{pid}]: {text}");
            }
            Sink::Memory(lines) => lines.push(text.to_owned()),
            Sink::Nowhere => {}
        }
    }
}

/// Connects again: a syslog that was started anew has another socket.
fn reconnect(socket: &UnixDatagram) -> bool {
    socket.connect(SYSLOG).is_ok()
}

fn syslog() -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(SYSLOG)?;
    // A full syslog must not stop the disk's traffic.
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn log_file(path: &Path) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::CLOEXEC;
    Ok(File::from(open(path, flags, Mode::RUSR | Mode::WUSR)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_not_written() {
        let log = Log::memory("gnbd_serv");
        for number in 0..1000 {
            log.line(format_args!("line\n{number}"));
        }
        let lines = log.lines();
        assert_eq!(lines.len(), BURST as usize);
        assert_eq!(lines[0], "line 0");
    }
}
