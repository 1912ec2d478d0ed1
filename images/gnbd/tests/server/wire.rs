//! A server with a disk, and the barest client of it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use gnbd::log::Log;
use gnbd::protocol::local::ExportDescription;
use gnbd::protocol::{
    Command, DataReply, DataRequest, DeviceName, FAILURE, LoginReply, LoginRequest, NodeName,
    Request, Uid,
};
use gnbd::server::{Bind, Limits, Server, ServerOptions};
use tempfile::TempDir;

/// Nothing here takes that long, however loaded the machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What every READ of a fresh disk gives: each sector is full of its own number.
pub(crate) fn pattern(offset: u64, length: usize) -> Vec<u8> {
    let sectors = (offset..offset + length as u64).map(|at| (at / 512).to_le_bytes()[0]);
    sectors.collect()
}

/// A server, and a folder with disks.
pub(crate) struct Lab {
    pub(crate) server: Server,
    pub(crate) folder: TempDir,
}

impl Lab {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut ServerOptions)) -> Self {
        let bind = Bind::Address("127.0.0.1:0".parse().unwrap());
        let node = NodeName::new("storage0a").unwrap();
        let mut options = ServerOptions::new(bind, node, Log::memory("gnbd_serv"));
        change(&mut options);
        Self {
            server: Server::start(options).unwrap(),
            // Direct I/O does not work in every file system; the build folder is on a disk.
            folder: TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap(),
        }
    }

    pub(crate) fn with_limits(change: impl FnOnce(&mut Limits)) -> Self {
        Self::with(|options| change(&mut options.limits))
    }

    /// A file with the pattern.
    pub(crate) fn disk(&self, name: &str, bytes: usize) -> PathBuf {
        let path = self.folder.path().join(name);
        fs_err::write(&path, pattern(0, bytes)).unwrap();
        path
    }

    /// Exports a new disk, cached.
    pub(crate) fn export(&self, name: &str, bytes: usize) -> PathBuf {
        let path = self.disk(name, bytes);
        self.server.create(export(name, &path)).unwrap();
        path
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// A control request's whole answer.
    pub(crate) fn ask(&self, request: &Request) -> Vec<u8> {
        self.ask_bytes(&request.encode())
    }

    pub(crate) fn ask_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = connect(self.address());
        stream.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            Ok(_) => answer,
            // Closed with something unread: as good as closed.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => answer,
            Err(error) => panic!("{error}"),
        }
    }

    /// Logs in as `client0`, with timestamp 1.
    pub(crate) fn login(&self, device: &str) -> Client {
        self.login_as(device, "client0", 1).unwrap()
    }

    pub(crate) fn login_as(
        &self,
        name: &str,
        who: &str,
        timestamp: u64,
    ) -> Result<Client, LoginReply> {
        let mut stream = connect(self.address());
        let login = LoginRequest::new(device(name), node(who), timestamp);
        stream.write_all(&Request::Login(login).encode()).unwrap();
        let mut reply = [0; 16];
        stream.read_exact(&mut reply).unwrap();
        match LoginReply::decode(&reply) {
            LoginReply::Welcome { sectors } => Ok(Client { stream, sectors }),
            refused => Err(refused),
        }
    }

    /// Waits until the server has told a line with these words.
    pub(crate) fn told(&self, words: &str) {
        until(|| {
            self.server
                .log()
                .lines()
                .iter()
                .any(|line| line.contains(words))
        });
    }
}

/// Waits for a condition.
pub(crate) fn until(condition: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !condition() {
        assert!(
            std::time::Instant::now() < deadline,
            "it did not become true in time"
        );
        std::thread::yield_now();
    }
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

pub(crate) fn device(name: &str) -> DeviceName {
    DeviceName::new(name).unwrap()
}

pub(crate) fn node(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

/// A cached export that can be written.
pub(crate) fn export(name: &str, path: &Path) -> ExportDescription {
    ExportDescription {
        name: device(name),
        path: path.to_owned(),
        sectors: 0,
        timeout: 0,
        read_only: false,
        uncached: false,
        invalid: false,
        uid: Uid::none(),
    }
}

/// A client in the data phase.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    pub(crate) sectors: u64,
}

/// An answer: its handle's number, its error, and the data of a good READ.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) handle: u64,
    pub(crate) error: u32,
}

impl Client {
    pub(crate) fn send(&mut self, command: Command, handle: u64, offset: u64, length: u32) {
        let request = DataRequest {
            command,
            handle: handle.to_be_bytes(),
            offset,
            length,
        };
        self.stream.write_all(&request.encode()).unwrap();
    }

    pub(crate) fn send_write(&mut self, handle: u64, offset: u64, data: &[u8]) {
        self.send(
            Command::Write,
            handle,
            offset,
            u32::try_from(data.len()).unwrap(),
        );
        self.stream.write_all(data).unwrap();
    }

    /// The next answer's header, or `None` at the end. Keep-alives are taken for none.
    pub(crate) fn answer(&mut self) -> io::Result<Option<Answer>> {
        loop {
            let mut header = [0; 16];
            match self.stream.read_exact(&mut header) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                Err(error) => return Err(error),
            }
            if let DataReply::Reply { error, handle } = DataReply::decode(&header).unwrap() {
                let handle = u64::from_be_bytes(handle);
                return Ok(Some(Answer { handle, error }));
            }
        }
    }

    pub(crate) fn read(&mut self, offset: u64, length: u32) -> Result<Vec<u8>, u32> {
        self.send(Command::Read, 77, offset, length);
        self.good(77)?;
        let mut data = vec![0; length as usize];
        self.stream.read_exact(&mut data).unwrap();
        Ok(data)
    }

    pub(crate) fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), u32> {
        self.send_write(78, offset, data);
        self.good(78)
    }

    pub(crate) fn ping(&mut self) {
        self.send(Command::Ping, 79, 0, 0);
        self.good(79).unwrap();
    }

    fn good(&mut self, handle: u64) -> Result<(), u32> {
        let answer = self.answer().unwrap().unwrap();
        assert_eq!(answer.handle, handle);
        if answer.error == 0 {
            Ok(())
        } else {
            assert_eq!(answer.error, FAILURE);
            Err(answer.error)
        }
    }

    /// Whether the server has closed; what it said before is read over.
    pub(crate) fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => true,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }
}
