//! `gnbd_import`, with a machine that has no nbd driver: its relays serve sockets that the tests hold.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gnbd::Error;
use gnbd::client::{Device, Host, Relay, Remote, Status};
use gnbd::command::Console;
use gnbd::command::import::run_on;
use tempfile::TempDir;

use crate::kernel::settings_of;
use crate::real::Storage;
use crate::transcript::{Transcript, script, told};

struct Machine {
    folder: TempDir,
    driver: bool,
    /// The kernel's ends, and views of the relays.
    relays: HashMap<u32, (UnixStream, Remote)>,
    open: Vec<u32>,
    announced: Vec<u32>,
    /// Paths that are said differently on every machine.
    hidden: Vec<(String, &'static str)>,
}

impl Machine {
    fn new() -> Self {
        Self {
            folder: TempDir::new().unwrap(),
            driver: true,
            relays: HashMap::new(),
            open: Vec::new(),
            announced: Vec::new(),
            hidden: Vec::new(),
        }
    }

    /// What the program prints, its errors marked, and its status.
    fn run(&mut self, arguments: &[&str]) -> String {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        let status = run_on(
            self,
            arguments,
            &mut Console::new("gnbd_import", &mut out, &mut err),
        );
        let mut text = told(out, err, status);
        let nodes = self.nodes().display().to_string();
        text = text.replace(&nodes, "/dev/gnbd");
        for (from, to) in &self.hidden {
            text = text.replace(from, to);
        }
        text
    }
}

impl Host for Machine {
    fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn nodes(&self) -> PathBuf {
        self.folder.path().join("nodes")
    }

    fn has_driver(&self) -> bool {
        self.driver
    }

    fn free_index(&mut self, taken: &[u32]) -> Result<u32, Error> {
        Ok((0..9).find(|index| !taken.contains(index)).unwrap())
    }

    fn start_relay(&mut self, index: u32, _again: bool) -> Result<Result<String, String>, Error> {
        let mut device = Device::load(self.folder.path(), index).unwrap().unwrap();
        let endpoint = device.server.resolve().unwrap();
        let patience = Duration::from_secs(5);
        let session = match endpoint.log_in(&device.name, &device.node, 1, patience) {
            Ok(session) => session,
            Err(error) => return Ok(Err(format!("failed to {error}"))),
        };
        device.sectors = session.sectors;
        device.save(self.folder.path()).unwrap();
        let (kernel, ours) = UnixStream::pair().unwrap();
        let mut settings = settings_of(endpoint, device.sectors, device.policy());
        settings.device = device.name.clone();
        settings.node = device.node;
        let relay = Relay::new(settings, ours, session).unwrap();
        self.relays.insert(index, (kernel, relay.remote()));
        std::thread::spawn(move || relay.run());
        Ok(Ok("gnbd_recvd started".to_owned()))
    }

    fn has_relay(&self, index: u32) -> bool {
        self.relays.contains_key(&index)
    }

    fn status(&self, index: u32) -> Option<Status> {
        Some(self.relays.get(&index)?.1.status())
    }

    fn retry(&mut self, index: u32) {
        self.relays[&index].1.retry();
    }

    fn is_open(&self, index: u32) -> bool {
        self.open.contains(&index)
    }

    fn disconnect(&mut self, index: u32) -> Result<(), Error> {
        self.relays.remove(&index);
        Ok(())
    }

    fn announce(&mut self, index: u32) {
        self.announced.push(index);
    }

    fn pause(&mut self, time: Duration) {
        // The user closes everything meanwhile.
        assert_eq!(time, Duration::from_secs(2));
        self.open.clear();
    }
}

/// A machine, and a server whose port it does not tell.
fn set_up() -> (Storage, Machine, String) {
    let storage = Storage::start();
    let mut machine = Machine::new();
    let port = storage.address.port.to_string();
    machine.hidden.push((port.clone(), "PORT"));
    (storage, machine, port)
}

#[test]
fn devices_come_and_go() {
    let (storage, mut machine, port) = set_up();
    let mut log = Transcript::default();
    let mut step = |machine: &mut Machine, words: &[&str]| {
        let all = [words, &["-n", "-p", &port]].concat();
        log.add(
            &format!("gnbd_import {} -n", words.join(" ")),
            &machine.run(&all),
        );
    };
    step(&mut machine, &["-i", "127.0.0.1"]);
    storage.export("gnbd0a", 2048, 0, false, "0");
    storage.export("gnbd0b", 4096, 0, true, "");
    step(&mut machine, &["-e", "127.0.0.1"]);
    step(&mut machine, &["-l"]);
    step(&mut machine, &["-i", "127.0.0.1"]);
    step(&mut machine, &["-i", "127.0.0.1"]);
    step(&mut machine, &[]);
    assert_eq!(machine.announced, [0, 1]);
    let link = std::fs::read_link(machine.nodes().join("gnbd0a")).unwrap();
    assert_eq!(link, Path::new("../nbd1"));
    step(&mut machine, &["-U", "gnbd0a"]);
    step(&mut machine, &["-U", "/block/nbd1"]);
    step(&mut machine, &["-U/block/gnbd1"]);
    step(&mut machine, &["-U", "gnbd0b"]);
    step(&mut machine, &["-U", "nothing"]);
    machine.open.push(1);
    step(&mut machine, &["-l"]);
    step(&mut machine, &["-r", "gnbd0a", "nothing", "gnbd0b"]);
    step(&mut machine, &["-R"]);
    step(&mut machine, &["-O", "-r", "gnbd0a"]);
    step(&mut machine, &["-l"]);
    assert!(!machine.nodes().join("gnbd0a").exists());
    insta::assert_snapshot!(log.hide(&[]));
}

#[test]
fn receivers_are_restarted() {
    let (storage, mut machine, port) = set_up();
    storage.export("gnbd0a", 2048, 0, false, "");
    machine.run(&["-n", "-p", &port, "-i", "127.0.0.1"]);
    let mut log = Transcript::default();
    let mut step = |machine: &mut Machine, words: &[&str]| {
        let all = [words, &["-n", "-p", &port]].concat();
        log.add(
            &format!("gnbd_import {} -n", words.join(" ")),
            &machine.run(&all),
        );
    };
    step(&mut machine, &["-a"]);
    machine.relays.clear();
    step(&mut machine, &["-l"]);
    step(&mut machine, &["-a"]);
    machine.relays.clear();
    step(&mut machine, &["-i", "127.0.0.1"]);
    machine.relays.clear();
    storage
        .server
        .as_ref()
        .unwrap()
        .invalidate(&"gnbd0a".parse().unwrap())
        .unwrap();
    step(&mut machine, &["-a"]);
    step(&mut machine, &["-aO"]);
    step(&mut machine, &["-l"]);
    insta::assert_snapshot!(log.hide(&[]));
}

#[test]
fn uncached_devices_need_a_cluster() {
    let (storage, mut machine, port) = set_up();
    storage.export("gnbd0a", 2048, 60, false, "0");
    storage.export("gnbd0b", 2048, 8, false, "0");
    let hook = machine.folder.path().join("membership");
    script(&hook, "[ \"$1\" = name ] && echo client0\n");
    let hook = hook.to_str().unwrap().to_owned();
    machine.hidden.push((hook.clone(), "HOOK"));
    let mut log = Transcript::default();
    let mut step = |machine: &mut Machine, words: &[&str]| {
        let all = [words, &["-p", &port]].concat();
        log.add(
            &format!("gnbd_import {}", words.join(" ")),
            &machine.run(&all),
        );
    };
    step(&mut machine, &["-l", "-m", "/nonexistent/membership"]);
    step(&mut machine, &["-ni", "127.0.0.1"]);
    step(&mut machine, &["-m", &hook, "-i", "127.0.0.1"]);
    let device = Device::load(machine.folder.path(), 0).unwrap().unwrap();
    assert_eq!(
        device.policy(),
        gnbd::client::Policy::Fence(Duration::from_secs(8))
    );
    assert_eq!(device.server_node.unwrap().as_str(), "storage0a");
    assert_eq!(device.node.as_str(), "client0");
    step(&mut machine, &["-m", &hook, "-i", "localhost"]);
    step(&mut machine, &["-m", &hook, "-qR"]);
    step(&mut machine, &["-n", "-F", "-i", "127.0.0.1"]);
    let device = Device::load(machine.folder.path(), 1).unwrap().unwrap();
    assert_eq!(
        device.policy(),
        gnbd::client::Policy::FailFast(Duration::from_secs(60))
    );
    insta::assert_snapshot!(log.hide(&[(&hook, "HOOK")]));
}

#[test]
fn cached_devices_change_servers_only_when_nobody_uses_them() {
    let (storage, mut machine, port) = set_up();
    storage.export("gnbd0a", 2048, 0, false, "");
    let mut log = Transcript::default();
    let mut step = |machine: &mut Machine, words: &[&str]| {
        let all = [words, &["-n", "-p", &port]].concat();
        log.add(
            &format!("gnbd_import {} -n", words.join(" ")),
            &machine.run(&all),
        );
    };
    step(&mut machine, &["-qi", "127.0.0.1"]);
    machine.open.push(0);
    step(&mut machine, &["-i", "127.0.0.2"]);
    step(&mut machine, &["-i", "localhost"]);
    machine.open.clear();
    step(&mut machine, &["-i", "localhost"]);
    insta::assert_snapshot!(log.hide(&[]));
}

#[test]
fn mistakes_are_told() {
    let (storage, mut machine, port) = set_up();
    let mut log = Transcript::default();
    let mut step = |machine: &mut Machine, words: &[&str]| {
        log.add(
            &format!("gnbd_import {}", words.join(" ")),
            &machine.run(words),
        );
    };
    step(&mut machine, &["-x"]);
    step(&mut machine, &["-i"]);
    step(&mut machine, &["-h"]);
    step(&mut machine, &["-lR"]);
    step(&mut machine, &["-qv"]);
    step(&mut machine, &["-nr"]);
    step(&mut machine, &["-nl", "word"]);
    step(&mut machine, &["-n", "-s", "client0"]);
    step(&mut machine, &["-n", "-t", "storage0a"]);
    step(&mut machine, &["-np", "70000", "-l"]);
    step(&mut machine, &["-nFx", "-l"]);
    step(
        &mut machine,
        &["-n", "-s", &"x".repeat(65), "-t", "127.0.0.1"],
    );
    machine.driver = false;
    step(&mut machine, &["-nl"]);
    step(&mut machine, &["-n", "-p", &port, "-e", "127.0.0.1"]);
    step(
        &mut machine,
        &["-n", "-p", &port, "-v", "-s", "client9", "-t", "127.0.0.1"],
    );
    step(&mut machine, &["-n", "-p", &port, "-c", "127.0.0.1"]);
    step(
        &mut machine,
        &["-n", "-p", &port, "-v", "-u", "client9", "-t", "127.0.0.1"],
    );
    step(&mut machine, &["-n", "-p", &port, "-c", "127.0.0.1"]);
    drop(storage);
    step(&mut machine, &["-n", "-p", &port, "-e", "127.0.0.1"]);
    step(
        &mut machine,
        &["-n", "-p", &port, "-s", "client9", "-t", "127.0.0.1"],
    );
    insta::assert_snapshot!(log.hide(&[(&port, "PORT")]));
}
