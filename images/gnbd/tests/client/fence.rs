//! `fence_gnbd`, in the calling convention of fence agents.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;

use gnbd::command::Console;
use gnbd::command::fence::run_with;
use rustix::net::{self, AddressFamily, SocketType};

use crate::real::Storage;
use crate::transcript::{Transcript, script, told};

fn run(arguments: &[&str], input: &str) -> String {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
    let mut console = Console::new("fence_gnbd", &mut out, &mut err);
    let status = run_with(arguments, &mut input.as_bytes(), &mut console);
    told(out, err, status)
}

#[test]
fn a_node_is_fenced_at_every_server() {
    let storage = Storage::start();
    let port = storage.address.port;
    let options = format!("ipport={port}\nservers=127.0.0.1,localhost\n");
    let ask = |action: &str| {
        run(
            &[],
            &format!("{options}action={action}\nplug=client0\nnodeid=3\n"),
        )
    };
    let mut log = Transcript::default();
    for action in [
        "monitor", "status", "off", "status", "list", "on", "status", "reboot", "dance",
    ] {
        log.add(action, &ask(action));
    }
    let port = port.to_string();
    for words in [
        &["-p", &port, "-v", "-s", "client1", "-t", "127.0.0.1"][..],
        &["-p", &port, "-o", "list", "-t", "127.0.0.1"],
        &["-s", "client1"],
        &["-t", "127.0.0.1"],
        &["-x"],
    ] {
        log.add(&words.join(" "), &run(words, ""));
    }
    insta::assert_snapshot!(log.hide(&[(&port, "PORT")]));
}

/// A port that refuses connections, and that no other test's server is given meanwhile: bound, but nobody listens.
fn held() -> (OwnedFd, u16) {
    let socket = net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = SocketAddrV4::try_from(net::getsockname(&socket).unwrap()).unwrap();
    (socket, address.port())
}

#[test]
fn one_server_that_does_not_confirm_is_a_failure() {
    let (_held, port) = held();
    let options = format!(
        "ipport={port}\nservers=127.0.0.1\naction=off\nplug=client0\nwait_time=0\nretrys=1\n"
    );
    let mut log = Transcript::default();
    log.add("one", &run(&[], &options));
    let folder = tempfile::tempdir().unwrap();
    let hook = folder.path().join("hook");
    let write = |status: u8| {
        script(
            &hook,
            &format!("[ \"$*\" = 'fence 127.0.0.1' ] || exit 9\nexit {status}\n"),
        );
    };
    let options = format!("{options}option=multipath\nmembership={}\n", hook.display());
    write(0);
    log.add("multipath", &run(&[], &options));
    write(1);
    log.add("multipath", &run(&[], &options));
    insta::assert_snapshot!(log.hide(&[(hook.to_str().unwrap(), "HOOK")]));
}

#[test]
fn it_describes_itself() {
    let metadata = run(&["-o", "metadata"], "");
    assert_eq!(metadata, run(&[], "action=metadata\n"));
    insta::assert_snapshot!(metadata);
}
