//! `gnbd_import`: devices of GNBD servers, on this machine.
//!
//! Ours beside the historic options:
//!
//! - `-m HOOK`: see [`Membership`].
//! - `-F[SECONDS]`, fail-fast: uncached devices fail their requests after that time (by default the export's own
//!   timeout) without fencing the server first. With `-F0` they fail as soon as the link is lost and one attempt to
//!   make it anew was in vain. **Only where the storage behind the servers is fenced by other means: a slow server
//!   may still apply a write that was failed.**
//! - `-D[SECONDS]`, death: uncached devices fail their requests when the server has closed the connection and its
//!   port has refused another for that time (by default at once). That proves that the server's process is gone, and
//!   with it all that it had to write. **Only where nothing but the server's own kernel answers for its address: no
//!   packet filter that rejects, no address that moves to another machine.**
//! - `-w MILLISECONDS`: the longest pause between attempts to reach a server that is away, by default 2000.

use std::ffi::OsString;

use super::import_device::{FailFast, Import, import_all, remove, restart_all};
use super::{Console, ExitStatus, strerror};
use crate::client::{Device, Host, Machine, RequestError, Server, describe, receive};
use crate::daemon;
use crate::error::Error;
use crate::membership::Membership;
use crate::protocol::{NodeName, PORT};

/// The historic letters, and `D::`, `F::`, `m:` and `w:`.
const OPTIONS: &str = "ac:D::e:F::hi:lm:nOp:qRrs:t:U:u:Vvw:";

const USAGE: &str = "\
Usage:

gnbd_import <options>

Options:

  -a               restart the receivers of imported devices that are dead
  -c <server>      list the nodes that are banned from <server>
  -D[<seconds>]    fail requests when the server's process is gone for this
                   time (0): only where no packet filter answers for it
  -e <server>      list the devices that <server> exports
  -F[<seconds>]    fail requests after this time without fencing the server:
                   only where the storage is fenced by other means
  -h               print this help, then exit
  -i <server>      import all devices that <server> exports
  -l               list imported devices (default)
  -m <program>     program that knows the cluster
  -n               use no cluster manager
  -O               override: with -r and -R wait for users to close the
                   devices, with -a remove devices that cannot be restarted
  -p <port>        port of the server
  -q               quiet: print errors only
  -R               remove all imported devices
  -r <device>...   remove imported devices
  -s <node>        fence <node> from the server given by -t
  -t <server>      server for -s and -u
  -U <device>      print the uid of an imported device
  -u <node>        unfence <node> at the server given by -t
  -V               print the version, then exit
  -v               print more
  -w <ms>          longest pause between attempts to reach a server (2000)
";

/// Letters of which one may be given.
const ACTIONS: &str = "aceilRrsuU";

/// Runs the program. In the background it is a device's receiver instead.
pub fn run(arguments: Vec<OsString>, console: &mut Console<'_>) -> ExitStatus {
    let mut machine = match Machine::new() {
        Ok(machine) => machine,
        Err(error) => return console.error(&format!("failed to {error}")),
    };
    if daemon::is_background() {
        return receive(machine.folder(), &arguments).map_or(1, |()| 0);
    }
    run_on(&mut machine, arguments, console)
}

/// Runs the program on this machine, or a test's.
pub fn run_on(
    host: &mut dyn Host,
    arguments: Vec<OsString>,
    console: &mut Console<'_>,
) -> ExitStatus {
    let line = match console.command_line(OPTIONS, USAGE, arguments) {
        Ok(line) => line,
        Err(status) => return status,
    };
    let mut given = line
        .options
        .iter()
        .map(|(letter, _)| *letter)
        .filter(|letter| ACTIONS.contains(*letter));
    let action = given.next().unwrap_or('l');
    if let Some(other) = given.find(|letter| *letter != action) {
        return console.incompatible(action, other);
    }
    if matches!(action, 's' | 'u') != line.has('t') {
        let text = if line.has('t') {
            "the -t option must be used with -s or -u"
        } else {
            "the -s and -u options need a server, given by -t"
        };
        return console.error(text);
    }
    let port = match line.value('p').map(str::parse) {
        None => PORT,
        Some(Ok(port)) if port > 0 => port,
        Some(_) => {
            return console.error(&format!(
                "invalid port '{}' with -p",
                line.value('p').unwrap_or_default()
            ));
        }
    };
    let fail_fast = match line.value('F').map(str::parse) {
        None if line.has('F') => FailFast::ByExport,
        None => FailFast::No,
        Some(Ok(seconds)) => FailFast::After(seconds),
        Some(Err(_)) => {
            let text = line.value('F').unwrap_or_default();
            return console.error(&format!("invalid time '{text}' with -F"));
        }
    };
    let dead_peer_grace = match line.value('D').map(str::parse) {
        None => line.has('D').then_some(0),
        Some(Ok(seconds)) => Some(seconds),
        Some(Err(_)) => {
            let text = line.value('D').unwrap_or_default();
            return console.error(&format!("invalid time '{text}' with -D"));
        }
    };
    let retry = match line.value('w').map(str::parse::<u32>) {
        None => None,
        Some(Ok(pause)) if pause > 0 => Some(pause),
        Some(_) => {
            let text = line.value('w').unwrap_or_default();
            return console.error(&format!("invalid time '{text}' with -w"));
        }
    };
    if action == 'r' && line.operands.is_empty() {
        return console.error("missing operand for remove action");
    }
    if action != 'r' {
        if let Some(word) = line.operands.first() {
            return console.error(&format!("unexpected argument '{word}'"));
        }
    }
    let membership = Membership::choose(line.has('n'), line.value('m'));
    // Historic, and asked even for lists: without a cluster manager everything needs -n.
    let node = match membership.node_name() {
        Ok(node) => node,
        Err(error) => {
            let why = match &error {
                Error::Host { source, .. } => strerror(source),
                error => format!("failed to {error}"),
            };
            console.error(&format!("cannot get node name : {why}"));
            return console.error("If you are not planning to use a cluster manager, use -n");
        }
    };
    let server = |letter| Server::new(line.value(letter).unwrap_or_default(), port);
    match action {
        'e' => return exported(&server('e'), console),
        'c' => return banned(&server('c'), console),
        's' | 'u' => {
            let victim = line.value(action).unwrap_or_default();
            return fence(&server('t'), victim, &node, action == 's', console);
        }
        _ => {}
    }
    if !host.has_driver() {
        // The historic words, for the driver that there is today.
        return console.error(
            "could not find nbd registered in /proc/devices.  This\nprobably means that you have not loaded the nbd module.",
        );
    }
    let devices = match Device::load_all(host.folder()) {
        Ok(devices) => devices,
        Err(error) => {
            return console.error(&format!(
                "cannot read device records : {}",
                strerror(&error)
            ));
        }
    };
    let overriding = line.has('O');
    match action {
        'i' => {
            let import = Import {
                server: server('i'),
                node,
                membership,
                fail_fast,
                dead_peer_grace,
                retry,
            };
            import_all(host, &import, devices, console)
        }
        'a' => restart_all(host, &devices, overriding, console),
        'U' => uid(&devices, line.value('U').unwrap_or_default(), console),
        'R' => remove_each(host, &devices, overriding, console),
        'r' => {
            let mut status = 0;
            for name in &line.operands {
                status = status.max(
                    match devices.iter().find(|device| device.name.as_str() == name) {
                        Some(device) => remove(host, device, overriding, console),
                        None => console.error(&format!("cannot find device '{name}'")),
                    },
                );
            }
            status
        }
        _ => {
            for device in &devices {
                let text = describe(
                    device,
                    host.is_open(device.index),
                    host.is_pending(device.index),
                    host.status(device.index),
                );
                console.print(&text);
            }
            0
        }
    }
}

fn remove_each(
    host: &mut dyn Host,
    devices: &[Device],
    overriding: bool,
    console: &mut Console<'_>,
) -> ExitStatus {
    let statuses = devices
        .iter()
        .map(|device| remove(host, device, overriding, console));
    statuses.max().unwrap_or(0)
}

/// Says why a server gave no answer, in the historic words.
pub(super) fn unanswered(
    server: &Server,
    error: &RequestError,
    console: &mut Console<'_>,
) -> ExitStatus {
    let host = &server.host;
    console.error(&match error {
        RequestError::Connect { code, source } => {
            format!(
                "cannot connect to server {host} ({code}) : {}",
                strerror(source)
            )
        }
        // The historic program got the sign wrong, so that no error had a name; whoever looks for one looks for this.
        RequestError::Refused(errno) => {
            format!("request to {host} failed : Unknown error -{errno}")
        }
        RequestError::Transfer(error) => format!("request to {host} failed : {}", strerror(error)),
        error => format!("request to {host} failed : failed to {error}"),
    })
}

/// One a line, then an empty line.
fn lines(items: impl Iterator<Item = String>) -> String {
    items
        .map(|item| item + "\n")
        .chain(["\n".to_owned()])
        .collect()
}

fn exported(server: &Server, console: &mut Console<'_>) -> ExitStatus {
    match server.names() {
        Ok(records) => {
            console.print(&lines(records.iter().map(|record| record.name.to_string())));
            0
        }
        Err(error) => unanswered(server, &error, console),
    }
}

fn banned(server: &Server, console: &mut Console<'_>) -> ExitStatus {
    match server.banned() {
        Ok(nodes) => {
            console.print(&lines(nodes.iter().map(NodeName::to_string)));
            0
        }
        Err(error) => unanswered(server, &error, console),
    }
}

/// Status 1 if the server cannot be reached, 2 if it did not do it.
fn fence(
    server: &Server,
    victim: &str,
    own: &NodeName,
    ban: bool,
    console: &mut Console<'_>,
) -> ExitStatus {
    let victim = match victim {
        "localhost" => own.clone(),
        name => match NodeName::new(name) {
            Ok(name) => name,
            Err(error) => return console.error(&format!("invalid node name : failed to {error}")),
        },
    };
    let (result, done) = if ban {
        (server.fence(&victim), "fenced")
    } else {
        (server.unfence(&victim), "unfenced")
    };
    let why = match result {
        Ok(()) => {
            console.detail(&format!("{victim} {done}"));
            return 0;
        }
        Err(error @ RequestError::Connect { .. }) => return unanswered(server, &error, console),
        Err(RequestError::Refused(errno)) => super::strerror_of(errno),
        Err(RequestError::Transfer(error)) => strerror(&error),
        Err(error) => format!("failed to {error}"),
    };
    let word = if ban { "fence" } else { "unfence" };
    console.error(&format!("{word} failed : {why}"));
    2
}

/// The uid as it was when the device was imported: it is asked for when the server is down, too.
fn uid(devices: &[Device], wanted: &str, console: &mut Console<'_>) -> ExitStatus {
    let kernel_name = wanted.strip_prefix("/block/");
    let found = devices.iter().find(|device| match kernel_name {
        Some(name) => {
            name == format!("nbd{}", device.index) || name == format!("gnbd{}", device.index)
        }
        None => device.name.as_str() == wanted,
    });
    let Some(device) = found else {
        return console.error(&format!("cannot find device '{wanted}'"));
    };
    if !device.uid.is_empty() {
        console.print(&format!("{}\n", device.uid));
    }
    0
}
