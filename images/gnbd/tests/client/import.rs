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
    /// Devices that the kernel has asked in vain.
    pending: Vec<u32>,
    /// Paths that are said differently on every machine.
    hidden: Vec<(String, &'static str)>,
    /// Words that every command line of [`step`](Self::step) has, of which the log shows those that are no port.
    common: Vec<String>,
    log: Transcript,
}

impl Machine {
    fn new() -> Self {
        Self {
            folder: TempDir::new().unwrap(),
            driver: true,
            relays: HashMap::new(),
            open: Vec::new(),
            announced: Vec::new(),
            pending: Vec::new(),
            hidden: Vec::new(),
            common: Vec::new(),
            log: Transcript::default(),
        }
    }

    /// Runs the program and writes down what came of it.
    fn step(&mut self, words: &[&str]) {
        let common = self.common.clone();
        let common: Vec<&str> = common.iter().map(String::as_str).collect();
        let told = self.run(&[words, &common].concat());
        let shown = words
            .iter()
            .chain(common.iter().filter(|word| **word == "-n"));
        let shown: Vec<&str> = shown.copied().collect();
        self.log
            .add(&format!("gnbd_import {}", shown.join(" ")), &told);
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
        let relay = Relay::new(settings, ours, Some(session)).unwrap();
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

    fn is_pending(&self, index: u32) -> bool {
        self.pending.contains(&index)
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
fn set_up() -> (Storage, Machine) {
    let storage = Storage::start();
    let mut machine = Machine::new();
    let port = storage.address.port.to_string();
    machine.hidden.push((port.clone(), "PORT"));
    machine.common = ["-n", "-p", &port].map(str::to_owned).to_vec();
    (storage, machine)
}

#[test]
fn devices_come_and_go() {
    let (storage, mut machine) = set_up();
    machine.step(&["-i", "127.0.0.1"]);
    storage.export("gnbd0a", 2048, 0, false, "0");
    storage.export("gnbd0b", 4096, 0, true, "");
    machine.step(&["-e", "127.0.0.1"]);
    machine.step(&["-l"]);
    machine.step(&["-i", "127.0.0.1"]);
    machine.step(&["-i", "127.0.0.1"]);
    machine.step(&[]);
    assert_eq!(machine.announced, [0, 1]);
    let link = std::fs::read_link(machine.nodes().join("gnbd0a")).unwrap();
    assert_eq!(link, Path::new("../nbd1"));
    machine.step(&["-U", "gnbd0a"]);
    machine.step(&["-U", "/block/nbd1"]);
    machine.step(&["-U/block/gnbd1"]);
    machine.step(&["-U", "gnbd0b"]);
    machine.step(&["-U", "nothing"]);
    machine.open.push(1);
    machine.step(&["-l"]);
    machine.step(&["-r", "gnbd0a", "nothing", "gnbd0b"]);
    machine.step(&["-R"]);
    machine.step(&["-O", "-r", "gnbd0a"]);
    machine.step(&["-l"]);
    assert!(!machine.nodes().join("gnbd0a").exists());
    insta::assert_snapshot!(machine.log.hide(&[]));
}

#[test]
fn receivers_are_restarted() {
    let (storage, mut machine) = set_up();
    let port = storage.address.port.to_string();
    storage.export("gnbd0a", 2048, 0, false, "");
    machine.run(&["-n", "-p", &port, "-i", "127.0.0.1"]);
    machine.step(&["-a"]);
    machine.relays.clear();
    machine.step(&["-l"]);
    // What nobody answers is not answered.
    machine.pending.push(0);
    machine.step(&["-l"]);
    machine.pending.clear();
    machine.step(&["-a"]);
    machine.relays.clear();
    machine.step(&["-i", "127.0.0.1"]);
    machine.relays.clear();
    storage
        .server
        .as_ref()
        .unwrap()
        .invalidate(&"gnbd0a".parse().unwrap())
        .unwrap();
    machine.step(&["-a"]);
    machine.step(&["-aO"]);
    machine.step(&["-l"]);
    insta::assert_snapshot!(machine.log.hide(&[]));
}

#[test]
fn uncached_devices_need_a_cluster() {
    let (storage, mut machine) = set_up();
    machine.common.remove(0);
    storage.export("gnbd0a", 2048, 60, false, "0");
    storage.export("gnbd0b", 2048, 8, false, "0");
    let hook = machine.folder.path().join("membership");
    script(&hook, "[ \"$1\" = name ] && echo client0\n");
    let hook = hook.to_str().unwrap().to_owned();
    machine.hidden.push((hook.clone(), "HOOK"));
    machine.step(&["-l", "-m", "/nonexistent/membership"]);
    machine.step(&["-ni", "127.0.0.1"]);
    machine.step(&["-m", &hook, "-i", "127.0.0.1"]);
    let device = Device::load(machine.folder.path(), 0).unwrap().unwrap();
    assert_eq!(
        device.policy(),
        gnbd::client::Policy::Fence(Duration::from_secs(8))
    );
    assert_eq!(device.server_node.unwrap().as_str(), "storage0a");
    assert_eq!(device.node.as_str(), "client0");
    machine.step(&["-m", &hook, "-i", "localhost"]);
    machine.step(&["-m", &hook, "-qR"]);
    machine.step(&["-n", "-F", "-D5", "-w700", "-i", "127.0.0.1"]);
    let device = Device::load(machine.folder.path(), 1).unwrap().unwrap();
    assert_eq!(device.dead_peer_grace, Some(5));
    assert_eq!(
        device.timing().retry_most,
        std::time::Duration::from_millis(700)
    );
    assert_eq!(
        device.policy(),
        gnbd::client::Policy::FailFast(Duration::from_secs(60))
    );
    insta::assert_snapshot!(machine.log.hide(&[(&hook, "HOOK")]));
}

#[test]
fn cached_devices_change_servers_only_when_nobody_uses_them() {
    let (storage, mut machine) = set_up();
    storage.export("gnbd0a", 2048, 0, false, "");
    machine.step(&["-qi", "127.0.0.1"]);
    machine.open.push(0);
    machine.step(&["-i", "127.0.0.2"]);
    machine.step(&["-i", "localhost"]);
    machine.open.clear();
    machine.step(&["-i", "localhost"]);
    insta::assert_snapshot!(machine.log.hide(&[]));
}

#[test]
fn mistakes_are_told() {
    let (storage, mut machine) = set_up();
    let port = storage.address.port.to_string();
    machine.common.clear();
    machine.step(&["-x"]);
    machine.step(&["-i"]);
    machine.step(&["-h"]);
    machine.step(&["-lR"]);
    machine.step(&["-qv"]);
    machine.step(&["-nr"]);
    machine.step(&["-nl", "word"]);
    machine.step(&["-n", "-s", "client0"]);
    machine.step(&["-n", "-t", "storage0a"]);
    machine.step(&["-np", "70000", "-l"]);
    machine.step(&["-nFx", "-l"]);
    machine.step(&["-nDx", "-l"]);
    machine.step(&["-nw0", "-l"]);
    machine.step(&["-n", "-s", &"x".repeat(65), "-t", "127.0.0.1"]);
    machine.driver = false;
    machine.step(&["-nl"]);
    machine.step(&["-n", "-p", &port, "-e", "127.0.0.1"]);
    machine.step(&["-n", "-p", &port, "-v", "-s", "client9", "-t", "127.0.0.1"]);
    machine.step(&["-n", "-p", &port, "-c", "127.0.0.1"]);
    machine.step(&["-n", "-p", &port, "-v", "-u", "client9", "-t", "127.0.0.1"]);
    machine.step(&["-n", "-p", &port, "-c", "127.0.0.1"]);
    drop(storage);
    machine.step(&["-n", "-p", &port, "-e", "127.0.0.1"]);
    machine.step(&["-n", "-p", &port, "-s", "client9", "-t", "127.0.0.1"]);
    insta::assert_snapshot!(machine.log.hide(&[(&port, "PORT")]));
}
