//! The kernel's part: the other end of the relay's socket.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;
use std::time::Duration;

use gnbd::client::{
    Cookie, End, Endpoint, NBD_REPLY_SIZE, NbdCommand, NbdReply, NbdRequest, Policy, Relay, Remote,
    Settings, Timing,
};
use gnbd::protocol::{DeviceName, NodeName};

use crate::server::Server;

/// As [`Timing`], a hundred times as fast.
pub(crate) const FAST: Timing = Timing {
    dial: Duration::from_secs(2),
    retry_first: Duration::from_millis(5),
    retry_most: Duration::from_millis(50),
    quiet: Duration::from_millis(100),
    ping: Duration::from_millis(300),
    pause: Duration::from_millis(50),
    drain: Duration::from_millis(500),
};

/// The kernel, and the relay that serves it.
pub(crate) struct Kernel {
    pub(crate) stream: UnixStream,
    pub(crate) remote: Remote,
    relay: Option<JoinHandle<End>>,
    cookie: u64,
    /// Lengths of reads without an answer; 0 of others.
    open: HashMap<Cookie, usize>,
}

/// What a request came to: the data of a read, or an error.
pub(crate) type Answer = Result<Vec<u8>, u32>;

pub(crate) fn settings(server: &Server, sectors: u64, policy: Policy) -> Settings {
    settings_of(server.endpoint(), sectors, policy)
}

pub(crate) fn settings_of(endpoint: Endpoint, sectors: u64, policy: Policy) -> Settings {
    Settings {
        endpoint,
        device: DeviceName::new("disk").unwrap(),
        node: NodeName::new("client0").unwrap(),
        timestamp: 1,
        sectors,
        read_only: false,
        policy,
        dead_peer_grace: None,
        timing: FAST,
        fencer: Box::new(|_| false),
        log: Box::new(|_| ()),
    }
}

impl Kernel {
    pub(crate) fn attach(settings: Settings) -> Self {
        let session = settings
            .endpoint
            .log_in(
                &settings.device,
                &settings.node,
                settings.timestamp,
                FAST.dial,
            )
            .unwrap();
        let (stream, relays) = UnixStream::pair().unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        let relay = Relay::new(settings, relays, Some(session)).unwrap();
        let remote = relay.remote();
        Self {
            stream,
            remote,
            relay: Some(std::thread::spawn(move || relay.run())),
            cookie: 0x1000,
            open: HashMap::new(),
        }
    }

    pub(crate) fn send(
        &mut self,
        command: NbdCommand,
        offset: u64,
        length: u32,
        payload: &[u8],
    ) -> Cookie {
        self.cookie += 1;
        let cookie = self.cookie.to_be_bytes();
        let request = NbdRequest {
            command,
            flags: 0,
            cookie,
            offset,
            length,
        };
        self.stream.write_all(&request.encode()).unwrap();
        self.stream.write_all(payload).unwrap();
        let expected = if command == NbdCommand::Read {
            length
        } else {
            0
        };
        self.open.insert(cookie, expected as usize);
        cookie
    }

    pub(crate) fn send_read(&mut self, offset: u64, length: u32) -> Cookie {
        self.send(NbdCommand::Read, offset, length, &[])
    }

    pub(crate) fn send_write(&mut self, offset: u64, payload: &[u8]) -> Cookie {
        let length = payload.len().try_into().unwrap();
        self.send(NbdCommand::Write, offset, length, payload)
    }

    /// The next answer, whosever it is. As the real kernel, it takes none but to what it asked.
    pub(crate) fn receive(&mut self) -> (Cookie, Answer) {
        let mut header = [0; NBD_REPLY_SIZE];
        self.stream.read_exact(&mut header).unwrap();
        let reply = NbdReply::decode(&header).expect("the relay speaks NBD");
        let length = self.open.remove(&reply.cookie).expect("a cookie in flight");
        if reply.error != 0 {
            return (reply.cookie, Err(reply.error));
        }
        let mut data = vec![0; length];
        self.stream.read_exact(&mut data).unwrap();
        (reply.cookie, Ok(data))
    }

    /// The answers to everything that is open.
    pub(crate) fn receive_all(&mut self) -> HashMap<Cookie, Answer> {
        let count = self.open.len();
        (0..count).map(|_| self.receive()).collect()
    }

    /// The answer to a request that is the only one.
    pub(crate) fn one(&mut self, cookie: Cookie) -> Answer {
        let (answered, answer) = self.receive();
        assert_eq!(answered, cookie);
        answer
    }

    pub(crate) fn read(&mut self, offset: u64, length: u32) -> Answer {
        let cookie = self.send_read(offset, length);
        self.one(cookie)
    }

    pub(crate) fn write(&mut self, offset: u64, payload: &[u8]) -> Answer {
        let cookie = self.send_write(offset, payload);
        self.one(cookie)
    }

    /// Says goodbye.
    pub(crate) fn disconnect(&mut self) -> End {
        self.send(NbdCommand::Disconnect, 0, 0, &[]);
        self.end()
    }

    /// What the relay says at its end.
    pub(crate) fn end(&mut self) -> End {
        self.relay.take().unwrap().join().unwrap()
    }

    /// Waits until the relay has this many requests open.
    pub(crate) fn await_pending(&self, count: usize) {
        until("requests pending", || self.remote.status().pending == count);
    }

    pub(crate) fn await_link(&self, connected: bool) {
        until("the link", || self.remote.status().connected == connected);
    }
}

/// Waits for a condition of another thread.
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if condition() {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
    panic!("{what}: waited in vain");
}
