//! `gnbd_serv` and `gnbd_export` as programs: what they print, and what they end with.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use gnbd::protocol::{LoginReply, LoginRequest, Request};
use tempfile::TempDir;

use crate::wire::{connect, device, node, pattern, until};

/// A run directory of one's own, and the server that belongs to it. Dropping it kills the server.
struct Machine {
    folder: TempDir,
}

impl Machine {
    fn new() -> Self {
        Self {
            folder: TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env("GNBD_RUN_DIR", self.path("run"))
            .env("LC_ALL", "C")
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }

    /// What it printed, its errors marked, and its status; this machine's paths and ports left out.
    fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.command(program, arguments).output().unwrap();
        let mut text = String::from_utf8(output.stdout).unwrap();
        for line in String::from_utf8(output.stderr).unwrap().lines() {
            writeln!(text, "stderr: {line}").unwrap();
        }
        write!(text, "status {}", output.status.code().unwrap()).unwrap();
        text.replace(self.folder.path().to_str().unwrap(), "DIR")
            .replace(env!("CARGO_PKG_VERSION"), "VERSION")
    }

    fn serv(&self, arguments: &[&str]) -> String {
        self.run(env!("CARGO_BIN_EXE_gnbd_serv"), arguments)
    }

    fn export(&self, arguments: &[&str]) -> String {
        self.run(env!("CARGO_BIN_EXE_gnbd_export"), arguments)
    }

    /// Starts it on the loopback; the address that it listens on.
    fn start(&self, more: &[&str]) -> SocketAddr {
        let arguments = [&["-v", "-b", "127.0.0.1", "-p", "0"], more].concat();
        let said = self.serv(&arguments);
        let address = said
            .strip_prefix("gnbd_serv: startup succeeded\ngnbd_serv: listening on ")
            .and_then(|rest| rest.strip_suffix("\nstatus 0"));
        address.unwrap_or_else(|| panic!("{said}")).parse().unwrap()
    }

    fn disk(&self, name: &str, bytes: usize) -> PathBuf {
        let path = self.path(name);
        fs_err::write(&path, pattern(0, bytes)).unwrap();
        path
    }

    /// A membership hook for a cluster of which this node is `storage0a`.
    fn hook(&self) -> String {
        let path = self.path("hook");
        fs_err::write(&path, "#!/bin/sh\n[ \"$1\" = name ] && echo storage0a\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs_err::set_permissions(&path, mode).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self
            .command(env!("CARGO_BIN_EXE_gnbd_serv"), &["-K"])
            .output();
    }
}

fn login(address: SocketAddr, name: &str) -> std::net::TcpStream {
    use std::io::{Read as _, Write as _};
    let mut stream = connect(address);
    let request = LoginRequest::new(device(name), node("client0"), 1);
    stream.write_all(&Request::Login(request).encode()).unwrap();
    let mut reply = [0; 16];
    stream.read_exact(&mut reply).unwrap();
    assert!(matches!(
        LoginReply::decode(&reply),
        LoginReply::Welcome { .. }
    ));
    stream
}

#[test]
fn the_server_starts_once_and_ends() {
    let machine = Machine::new();
    let mut said = String::new();
    let mut note = |what: &str, text: String| {
        writeln!(said, "{what}\n{text}\n").unwrap();
    };
    note("-k, not running", machine.serv(&["-k"]));
    note("-K, not running", machine.serv(&["-K"]));
    note("-l, not running", machine.export(&["-l"]));
    let address = machine.start(&["-n"]);
    note("again", machine.serv(&["-n", "-b", "127.0.0.1", "-p", "0"]));
    note("-k", machine.serv(&["-k"]));
    assert!(
        std::net::TcpStream::connect(address).is_err(),
        "it has ended"
    );
    note(
        "-n -q",
        machine.serv(&["-n", "-q", "-b", "127.0.0.1", "-p", "0"]),
    );
    note("-K", machine.serv(&["-K"]));
    note(
        "without a cluster",
        machine.serv(&["-b", "127.0.0.1", "-m", "/nonexistent"]),
    );
    note("-x", machine.serv(&["-x"]));
    note("-qv", machine.serv(&["-qv"]));
    note("-kK", machine.serv(&["-kK"]));
    note("-p x", machine.serv(&["-n", "-p", "x"]));
    note("-b x", machine.serv(&["-n", "-b", "x"]));
    note("-h", machine.serv(&["-h"]));
    note("-V", machine.serv(&["-V"]));
    insta::assert_snapshot!(said);
}

#[test]
fn exports_come_and_go() {
    let machine = Machine::new();
    let hook = machine.hook();
    let address = machine.start(&["-m", &hook]);
    machine.disk("disk", 1_048_576);
    let mut said = String::new();
    let mut export = |arguments: &[&str]| {
        let text = machine.export(arguments);
        writeln!(said, "gnbd_export {}\n{text}\n", arguments.join(" ")).unwrap();
    };
    export(&[]);
    export(&["-L"]);
    export(&["-lq"]);
    export(&["-d", "disk", "-e", "gnbd0a", "-u0"]);
    export(&[
        "-c",
        "-o",
        "-d",
        "disk",
        "-e",
        "a_name_that_is_longer_than_31_characters",
    ]);
    export(&["-e", "gnbd0b", "-d", "disk", "-t", "7", "-q"]);
    export(&["-l"]);
    export(&["-c", "-e", "gnbd0a", "-d", "disk"]);
    export(&["-c", "-e", "a/b", "-d", "disk"]);
    export(&["-c", "-e", "x", "-d", "none"]);
    export(&["-c", "-e", "x", "-d", "/dev/null"]);
    export(&["-e", "x"]);
    export(&["-d", "disk"]);
    export(&["-e", "x", "-d", "disk", "-t", "0"]);
    export(&["-e", "x", "-d", "disk", "-c", "-t", "5"]);
    export(&["-e", "x", "-d", "disk", "-c", "-u", "5"]);
    export(&["-e", "x", "-d", "disk", "-U/bin/x", "-u", "5"]);
    export(&["-e", "x", "-d", "disk", "-U/bin/x"]);
    export(&["-l", "-L"]);
    export(&["-r"]);
    export(&["-r", "none", "none2"]);
    export(&["-O"]);
    export(&["-a"]);
    let client = login(address, "gnbd0b");
    export(&["-r", "gnbd0b"]);
    export(&["-R"]);
    export(&["-Or", "gnbd0b"]);
    drop(client);
    export(&["-z"]);
    export(&["-h"]);
    insta::assert_snapshot!(said);
}

#[test]
fn clients_are_listed_and_keep_the_server_up() {
    let machine = Machine::new();
    let address = machine.start(&["-n"]);
    machine.disk("disk", 1_048_576);
    machine.export(&["-c", "-e", "disk", "-d", "disk"]);
    let client = login(address, "disk");
    let listed = machine.export(&["-L"]);
    let row = listed.lines().nth(2).unwrap();
    let pid = row[..5].trim().parse::<u32>().unwrap();
    assert!(Path::new(&format!("/proc/{pid}")).exists());
    assert_eq!(row[5..], *"          client0  disk");
    let refused = "gnbd_serv: ERROR shutdown request failed : Device or resource busy";
    assert_eq!(
        machine.serv(&["-k"]),
        format!("stderr: {refused}\nstatus 1")
    );
    assert_eq!(
        machine.export(&["-d", "disk", "-e", "uncached"]),
        "stderr: gnbd_export: ERROR create request failed : Operation not supported\nstatus 1"
    );
    drop(client);
    until(|| machine.export(&["-R"]).ends_with("status 0"));
    assert_eq!(
        machine.serv(&["-k"]),
        "gnbd_serv: gnbd_serv shutting down\nstatus 0"
    );
}

#[test]
fn a_killed_server_is_started_again() {
    let machine = Machine::new();
    machine.start(&["-n"]);
    machine.disk("disk", 4096);
    machine.export(&["-c", "-e", "disk", "-d", "disk"]);
    assert_eq!(
        machine.serv(&["-K"]),
        "gnbd_serv: gnbd_serv killed\nstatus 0"
    );
    machine.start(&["-n"]);
    assert_eq!(machine.export(&["-l"]), "no exported GNBDs\nstatus 0");
    let mode = |name: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        fs_err::metadata(machine.path("run").join(name))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!((mode(""), mode("gnbd_servcomm")), (0o700, 0o600));
}
