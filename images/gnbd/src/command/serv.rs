//! `gnbd_serv`: starts and ends the server.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use super::options::CommandLine;
use super::server_socket::{Unanswered, ask};
use super::{Console, ExitStatus, strerror};
use crate::daemon;
use crate::error::Error;
use crate::log::Log;
use crate::membership::Membership;
use crate::pid_file::PidFile;
use crate::protocol::PORT;
use crate::protocol::local::{LocalRequest, SOCKET};
use crate::run_dir::{self, run_dir};
use crate::server::{Bind, Server, ServerOptions};

const OPTIONS: &str = "b:fhkKm:np:qvV";

const USAGE: &str = "\
usage: gnbd_serv [options]
Serves block devices and files of this machine to GNBD clients. There is no
authentication: whoever reaches the port reads and writes every export.

  -b ADDRESS  listen on this address alone
  -f          stay in the foreground, log to standard error
  -h          print this help
  -k          shut the server down; refused while it has exports
  -K          kill the server
  -m HOOK     program that knows the cluster (default /etc/gnbd/membership)
  -n          no cluster manager: no uncached exports, no fencing
  -p PORT     listen on this port (default 14567)
  -q          only print errors
  -v          print details
  -V          print the version
";

const PID_FILE: &str = "gnbd_serv.pid";
const LOG_FILE: &str = "gnbd_serv.log";

/// How long `-k` and `-K` wait for the process to go.
const PATIENCE: Timespec = Timespec {
    tv_sec: 10,
    tv_nsec: 0,
};

/// Runs the program.
pub fn run(arguments: Vec<OsString>, console: &mut Console<'_>) -> ExitStatus {
    let line = match console.command_line(OPTIONS, USAGE, arguments.clone()) {
        Ok(line) => line,
        Err(status) => return status,
    };
    match (line.has('k'), line.has('K')) {
        (true, true) => console.incompatible('k', 'K'),
        (true, false) => shut_down(console),
        (false, true) => kill(console),
        (false, false) => start(&line, arguments, console),
    }
}

fn start(line: &CommandLine, arguments: Vec<OsString>, console: &mut Console<'_>) -> ExitStatus {
    let bind = match bind(line) {
        Ok(bind) => bind,
        Err(text) => return console.error(&text),
    };
    if line.has('f') || daemon::is_background() {
        return serve(line, bind, console);
    }
    match daemon::start(arguments) {
        Ok(Ok(address)) => {
            console.say("startup succeeded");
            console.detail(&format!("listening on {address}"));
            0
        }
        Ok(Err(text)) => {
            let mut status = 1;
            for text in text.split('\t') {
                status = console.error(text);
            }
            status
        }
        Err(error) => console.error(&format!("failed to {error}")),
    }
}

fn bind(line: &CommandLine) -> Result<Bind, String> {
    let port = match line.value('p') {
        Some(port) => port
            .parse()
            .map_err(|_| format!("invalid port '{port}' with -p"))?,
        None => PORT,
    };
    match line.value('b') {
        Some(address) => match address.parse::<IpAddr>() {
            Ok(address) => Ok(Bind::Address(SocketAddr::new(address, port))),
            Err(_) => Err(format!("invalid address '{address}' with -b")),
        },
        None => Ok(Bind::Everywhere { port }),
    }
}

/// The server's process, in the foreground or in the background.
fn serve(line: &CommandLine, bind: Bind, console: &mut Console<'_>) -> ExitStatus {
    let foreground = line.has('f');
    match set_up(line, bind) {
        Ok((server, pid_file)) => {
            let address = server.address().to_string();
            if foreground {
                console.say("startup succeeded");
                console.detail(&format!("listening on {address}"));
            } else if daemon::ready(&address).is_err() {
                // Whoever waited for that word is gone, and takes the start for failed.
                return 1;
            }
            server.wait_for_shutdown();
            server.log().line("shutting down");
            server.stop();
            // Ours as long as we hold the lock.
            let _ = rustix::fs::unlink(run_dir().join(SOCKET));
            let _ = rustix::fs::unlink(run_dir().join(PID_FILE));
            drop(pid_file);
            0
        }
        Err(texts) if foreground => {
            for text in texts {
                console.error(&text);
            }
            1
        }
        Err(texts) => {
            daemon::fail(&texts.join("\t"));
            1
        }
    }
}

fn set_up(line: &CommandLine, bind: Bind) -> Result<(Server, PidFile), Vec<String>> {
    let told = |error: Error| vec![format!("failed to {error}")];
    let system =
        |doing: &str, error: std::io::Error| vec![format!("{doing} : {}", strerror(&error))];
    let no_cluster = line.has('n');
    let node = Membership::choose(no_cluster, line.value('m'))
        .node_name()
        .map_err(|error| no_node_name(&error))?;
    let folder = run_dir();
    run_dir::make(&folder).map_err(|error| system("cannot make the run directory", error))?;
    let pid_file = PidFile::take(&folder.join(PID_FILE))
        .map_err(|error| system("cannot lock the pid file", error))?
        .ok_or_else(|| vec!["gnbd_serv already running".to_owned()])?;
    let log = if line.has('f') {
        Log::stderr("gnbd_serv")
    } else {
        daemon::detach().map_err(told)?;
        Log::daemon("gnbd_serv", &folder.join(LOG_FILE))
    };
    let options = ServerOptions {
        cluster: !no_cluster,
        ..ServerOptions::new(bind, node, log)
    };
    let mut server = Server::start(options).map_err(told)?;
    server.listen_locally(&folder.join(SOCKET)).map_err(told)?;
    Ok((server, pid_file))
}

/// The two lines that all programs say without a cluster.
pub(super) fn no_node_name(error: &Error) -> Vec<String> {
    let reason = match error {
        Error::Host { source, .. } => strerror(source),
        other => other.to_string(),
    };
    vec![
        format!("cannot get node name : {reason}"),
        "If you are not planning to use a cluster manager, use -n".to_owned(),
    ]
}

fn shut_down(console: &mut Console<'_>) -> ExitStatus {
    let pid = match running(console) {
        Ok(pid) => pid,
        Err(status) => return status,
    };
    match ask(&LocalRequest::Shutdown) {
        Ok(_) => {
            console.say("gnbd_serv shutting down");
            wait_for_end(pid, console)
        }
        Err(Unanswered::Connect(error)) => console.error(&format!(
            "error connecting to gnbd_serv: {}",
            strerror(&error)
        )),
        Err(Unanswered::Refused(error)) => {
            console.error(&format!("shutdown request failed : {}", strerror(&error)))
        }
    }
}

fn kill(console: &mut Console<'_>) -> ExitStatus {
    let pid = match running(console) {
        Ok(pid) => pid,
        Err(status) => return status,
    };
    match kill_process(pid, Signal::TERM) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {
            let status = wait_for_end(pid, console);
            if status == 0 {
                console.say("gnbd_serv killed");
            }
            status
        }
        Err(error) => console.error(&format!(
            "cannot kill gnbd_serv : {}",
            strerror(&error.into())
        )),
    }
}

/// The server's process, or the status to end with.
fn running(console: &mut Console<'_>) -> Result<Pid, ExitStatus> {
    match PidFile::holder(&run_dir().join(PID_FILE)) {
        Ok(Some(pid)) => Ok(pid),
        Ok(None) => {
            console.say("gnbd_serv not running");
            Err(0)
        }
        Err(error) => {
            Err(console.error(&format!("cannot read the pid file : {}", strerror(&error))))
        }
    }
}

/// Whoever starts it anew wants the port to be free.
fn wait_for_end(pid: Pid, console: &mut Console<'_>) -> ExitStatus {
    // Gone already, or a kernel without pidfds: nothing to wait on.
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else {
        return 0;
    };
    match poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&PATIENCE)) {
        Ok(0) => console.error(&format!(
            "gnbd_serv does not end: process {pid} is there still"
        )),
        _ => 0,
    }
}
