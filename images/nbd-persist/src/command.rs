//! The command line.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

use gnbd::client::stay_in_memory;
use gnbd::log::Log;
use gnbd::pid_file::PidFile;
use gnbd::{Error, daemon};

use crate::dial::Server;
use crate::keep::Device;

const PROGRAM: &str = "nbd-persist";
const USAGE: &str = "usage: nbd-persist HOST PORT /dev/nbdN [-b BYTES] [-timeout SECONDS] [-dead-timeout SECONDS]

Imports the default export of that server as /dev/nbdN, and stays in the background: when the connection ends, it connects
again. It ends when the device is disconnected (nbd-client -d /dev/nbdN).

-b             logical blocks, in bytes (default: 512)
-timeout       a request that is not answered for so long ends the connection (default: never)
-dead-timeout  requests wait for another connection for so long, then they fail (default: 30)
";

/// For how long the kernel holds requests, if nothing is said: `nbd-client`'s own default.
const DEAD_TIMEOUT: u64 = 30;

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Words {
    host: String,
    port: u16,
    index: u32,
    block_size: u64,
    timeout: u64,
    dead_timeout: u64,
}

/// Runs the program with these arguments; returns its exit status: 1 if it could not be done, 2 if the arguments are wrong.
pub fn run(arguments: Vec<OsString>, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    // Nobody is left to tell where an output is gone.
    let words = match parse(&arguments) {
        Ok(words) => words,
        Err(reason) => {
            let _ = write!(err, "{PROGRAM}: {reason}\n{USAGE}");
            return 2;
        }
    };
    if daemon::is_background() {
        return u8::from(keep(&words).is_err());
    }
    let said = match daemon::start(arguments) {
        Ok(Ok(text)) => {
            let _ = writeln!(out, "{text}");
            return 0;
        }
        Ok(Err(text)) => text,
        Err(error) => format!("failed to {error}"),
    };
    let _ = writeln!(err, "{PROGRAM}: {said}");
    1
}

/// In the background, until the device ends.
fn keep(words: &Words) -> Result<(), Error> {
    let begun = begin(words);
    let (mut device, _pid_file, log) = begun.inspect_err(|error| {
        daemon::fail(&format!("failed to {error}"));
    })?;
    device.keep(&log).inspect_err(|error| {
        log.line(format_args!("failed to {error}"));
    })
}

fn begin(words: &Words) -> Result<(Device, PidFile, Log), Error> {
    daemon::detach()?;
    let run = |suffix: &str| PathBuf::from(format!("/run/{PROGRAM}-{}.{suffix}", words.index));
    let pid_file = take(&run("pid"))?;
    let log = Log::daemon(PROGRAM, &run("log"));
    stay_in_memory(&log);
    let server = Server::resolve(&words.host, words.port)?;
    let device = Device::import(
        server,
        words.index,
        words.block_size,
        words.timeout,
        words.dead_timeout,
    )?;
    daemon::ready(&device.to_string())?;
    Ok((device, pid_file, log))
}

fn take(file: &Path) -> Result<PidFile, Error> {
    let doing = format!("lock {}", file.display());
    let refused = || Error::Command {
        command: doing.clone(),
        reason: "another process keeps this device".to_owned(),
    };
    PidFile::take(file)
        .map_err(|error| Error::host(doing.as_str(), error))?
        .ok_or_else(refused)
}

fn parse(arguments: &[OsString]) -> Result<Words, String> {
    let mut plain = Vec::new();
    let (mut block_size, mut timeout, mut dead_timeout) = (512, 0, DEAD_TIMEOUT);
    let mut arguments = arguments.iter().map(|word| word.to_string_lossy());
    while let Some(word) = arguments.next() {
        let option = match &*word {
            "-b" => &mut block_size,
            "-timeout" => &mut timeout,
            "-dead-timeout" => &mut dead_timeout,
            other if other.starts_with('-') => return Err(format!("unknown option `{other}`")),
            _ => {
                plain.push(word.into_owned());
                continue;
            }
        };
        let value = arguments.next().unwrap_or_default();
        *option = value
            .parse()
            .map_err(|_| format!("`{word}` needs a number, not `{value}`"))?;
    }
    let [host, port, device] = plain.as_slice() else {
        return Err("expected a host, a port and a device".to_owned());
    };
    let index = device.strip_prefix("/dev/nbd");
    let index = index.and_then(|digits| digits.parse().ok());
    Ok(Words {
        host: host.clone(),
        port: port
            .parse()
            .map_err(|_| format!("`{port}` is not a port"))?,
        index: index.ok_or_else(|| format!("`{device}` is not a device like /dev/nbd0"))?,
        block_size,
        timeout,
        dead_timeout,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Result<Words, String> {
        parse(&text.split(' ').map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn words_are_read() {
        let words = Words {
            host: "storage.local".to_owned(),
            port: 4300,
            index: 12,
            block_size: 512,
            timeout: 0,
            dead_timeout: 30,
        };
        assert_eq!(said("storage.local 4300 /dev/nbd12"), Ok(words.clone()));
        assert_eq!(
            said("storage.local 4300 /dev/nbd12 -b 4096 -timeout 5 -dead-timeout 120"),
            Ok(Words {
                block_size: 4096,
                timeout: 5,
                dead_timeout: 120,
                ..words
            })
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for (text, reason) in [
            ("storage 4300", "expected a host, a port and a device"),
            ("storage x /dev/nbd0", "`x` is not a port"),
            (
                "storage 1 /dev/sda",
                "`/dev/sda` is not a device like /dev/nbd0",
            ),
            ("storage 1 /dev/nbd0 -t 5", "unknown option `-t`"),
            (
                "storage 1 /dev/nbd0 -timeout",
                "`-timeout` needs a number, not ``",
            ),
        ] {
            assert_eq!(said(text), Err(reason.to_owned()));
        }
    }
}
