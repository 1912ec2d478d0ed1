//! The relay against the server of this crate, not one that the tests play.

use std::fs::OpenOptions;
use std::io::Read as _;
use std::path::PathBuf;

use gnbd::client::{End, Endpoint, Policy, Server as Address};
use gnbd::log::Log;
use gnbd::protocol::local::ExportDescription;
use gnbd::protocol::{DeviceName, NodeName, Uid};
use gnbd::server::{Bind, Server, ServerOptions};
use tempfile::TempDir;

use crate::kernel::{Kernel, settings_of};

/// A server on the loopback with files to export.
pub(crate) struct Storage {
    pub(crate) server: Option<Server>,
    pub(crate) address: Address,
    folder: TempDir,
}

impl Storage {
    pub(crate) fn start() -> Self {
        let mut storage = Self {
            server: None,
            address: Address::new("127.0.0.1", 0),
            folder: TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap(),
        };
        storage.restart();
        storage
    }

    /// Starts it again on the same port, without any exports.
    pub(crate) fn restart(&mut self) {
        let bind = Bind::Address(format!("127.0.0.1:{}", self.address.port).parse().unwrap());
        let node = NodeName::new("storage0a").unwrap();
        let server =
            Server::start(ServerOptions::new(bind, node, Log::memory("gnbd_serv"))).unwrap();
        self.address.port = server.address().port();
        self.server = Some(server);
    }

    pub(crate) fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop();
        }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn contents(&self, name: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let file = OpenOptions::new().read(true).open(self.file(name));
        file.unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    }

    /// Exports a file of this size, which is made if it does not exist.
    pub(crate) fn export(
        &self,
        name: &str,
        sectors: u64,
        timeout: u32,
        read_only: bool,
        uid: &str,
    ) {
        let path = self.file(name);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .unwrap();
        file.set_len(sectors * 512).unwrap();
        let export = ExportDescription {
            name: DeviceName::new(name).unwrap(),
            path,
            sectors: 0,
            timeout,
            read_only,
            uncached: timeout > 0,
            invalid: false,
            uid: Uid::new(uid).unwrap(),
        };
        self.server.as_ref().unwrap().create(export).unwrap();
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        self.address.resolve().unwrap()
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        self.stop();
    }
}

fn pattern(seed: u64, length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| (seed.wrapping_mul(37).wrapping_add(at as u64 / 5) % 253) as u8)
        .collect()
}

#[test]
fn everything_arrives_cached_and_uncached() {
    for timeout in [0, 60] {
        let storage = Storage::start();
        storage.export("disk", 65536, timeout, false, "");
        let mut kernel = Kernel::attach(settings_of(storage.endpoint(), 65536, Policy::Wait));
        let data = pattern(1, 16 << 20);
        for (number, chunk) in data.chunks(1 << 20).enumerate() {
            kernel.send_write((number as u64) << 20, chunk);
        }
        assert!(kernel.receive_all().values().all(Result::is_ok));
        for number in 0..16 {
            let read = kernel.read(number << 20, 1 << 20).unwrap();
            let start = usize::try_from(number << 20).unwrap();
            assert!(read == data[start..start + (1 << 20)]);
        }
        assert!(storage.contents("disk")[..16 << 20] == data);
        assert_eq!(kernel.disconnect(), End::Disconnected);
    }
}

#[test]
fn a_server_that_is_started_again_gets_everything() {
    let mut storage = Storage::start();
    storage.export("disk", 8192, 0, false, "");
    let mut kernel = Kernel::attach(settings_of(storage.endpoint(), 8192, Policy::Wait));
    for round in 0..4_u64 {
        let writes: Vec<_> = (0..16)
            .map(|number| kernel.send_write(number << 17, &pattern(round * 16 + number, 1 << 17)))
            .collect();
        storage.stop();
        storage.restart();
        // Not yet exported: the client waits for that, too.
        std::thread::park_timeout(std::time::Duration::from_millis(20));
        storage.export("disk", 8192, 0, false, "");
        let answers = kernel.receive_all();
        for (number, cookie) in writes.iter().enumerate() {
            let answer = answers[cookie].as_ref().map(Vec::len);
            assert!(answer.is_ok(), "round {round}, write {number}: {answer:?}");
        }
        for number in 0..16 {
            let read = kernel.read(number << 17, 1 << 17).unwrap();
            assert!(
                read == pattern(round * 16 + number, 1 << 17),
                "{round} {number}"
            );
        }
    }
}

#[test]
fn a_fenced_node_fails_and_writes_no_more() {
    let storage = Storage::start();
    storage.export("disk", 8192, 60, false, "");
    let mut kernel = Kernel::attach(settings_of(storage.endpoint(), 8192, Policy::Wait));
    kernel.write(0, &pattern(1, 4096)).unwrap();
    storage
        .address
        .fence(&NodeName::new("client0").unwrap())
        .unwrap();
    assert!(kernel.write(0, &pattern(2, 4096)).is_err());
    storage
        .address
        .unfence(&NodeName::new("client0").unwrap())
        .unwrap();
    kernel.remote.retry();
    kernel.await_link(true);
    assert_eq!(kernel.read(0, 4096), Ok(pattern(1, 4096)));
}
