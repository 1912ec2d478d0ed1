//! A server of the tests' own, on memory, that misbehaves when told to.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use gnbd::client::Endpoint;
use gnbd::protocol::{
    Command, DATA_REQUEST_SIZE, DataReply, DataRequest, LoginReply, Number, Request, SECTOR_SIZE,
};

/// What the next connection does wrong in its data phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quirk {
    /// Closes after this many requests, without applying the next.
    CloseBefore(u32),
    /// Closes after this many requests and applying one more that it does not answer.
    CloseAfter(u32),
    /// Sends half a reply in place of the one after this many, and closes.
    HalfReply(u32),
    /// Sends a wrong magic in place of the reply after this many.
    WrongMagic(u32),
    /// Answers what was never asked.
    Unasked(u32),
    /// Gathers this many requests and answers them last first.
    Backwards(u32),
    /// Reads requests and answers none.
    Silent,
    /// Answers every request with an error, and applies none.
    Refuse,
    /// Sends keep-alives full of garbage before and behind every reply.
    KeepAlives,
}

/// What LOGIN is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    Open,
    Refuse(u8),
    WrongVersion,
    /// As open, with another size.
    OtherSize,
    /// No answer at all.
    Shut,
}

#[derive(Debug)]
struct Inner {
    disk: Vec<u8>,
    quirks: VecDeque<Quirk>,
    door: Door,
    /// Data phases that run, by the number of their login.
    sessions: HashMap<u32, TcpStream>,
    logins: u32,
    kills: u32,
    /// Offsets of writes in the order of applying.
    applied: Vec<u64>,
    /// Whether somebody disconnected in good order.
    goodbyes: u32,
    stopping: bool,
}

#[derive(Debug)]
struct Shared {
    inner: Mutex<Inner>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }
}

#[derive(Debug)]
pub(crate) struct Server {
    shared: Arc<Shared>,
    address: SocketAddr,
    listener: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(sectors: u64) -> Self {
        let inner = Inner {
            disk: vec![0; usize::try_from(sectors * SECTOR_SIZE).unwrap()],
            quirks: VecDeque::new(),
            door: Door::Open,
            sessions: HashMap::new(),
            logins: 0,
            kills: 0,
            applied: Vec::new(),
            goodbyes: 0,
            stopping: true,
        };
        let mut server = Self {
            shared: Arc::new(Shared {
                inner: Mutex::new(inner),
                changed: Condvar::new(),
            }),
            address: "127.0.0.1:0".parse().unwrap(),
            listener: None,
        };
        server.restart();
        server
    }

    /// Listens again, on the same port.
    pub(crate) fn restart(&mut self) {
        assert!(self.listener.is_none());
        let listener = TcpListener::bind(self.address).unwrap();
        self.address = listener.local_addr().unwrap();
        self.shared.lock().stopping = false;
        let shared = Arc::clone(&self.shared);
        self.listener = Some(std::thread::spawn(move || accept(&listener, &shared)));
    }

    /// Dies, with all its connections. The disk stays.
    pub(crate) fn stop(&mut self) {
        self.shared.lock().stopping = true;
        // Wakes the listener.
        let _ = TcpStream::connect(self.address);
        if let Some(listener) = self.listener.take() {
            listener.join().unwrap();
        }
        self.cut();
    }

    /// Cuts all data connections.
    pub(crate) fn cut(&self) {
        end_sessions(&self.shared);
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint {
            addresses: vec![self.address],
        }
    }

    pub(crate) fn quirks(&self, quirks: &[Quirk]) {
        self.shared.lock().quirks.extend(quirks);
    }

    pub(crate) fn door(&self, door: Door) {
        self.shared.lock().door = door;
    }

    pub(crate) fn disk(&self) -> Vec<u8> {
        self.shared.lock().disk.clone()
    }

    pub(crate) fn logins(&self) -> u32 {
        self.shared.lock().logins
    }

    pub(crate) fn kills(&self) -> u32 {
        self.shared.lock().kills
    }

    pub(crate) fn goodbyes(&self) -> u32 {
        self.shared.lock().goodbyes
    }

    pub(crate) fn applied(&self) -> Vec<u64> {
        self.shared.lock().applied.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.listener.is_some() && !std::thread::panicking() {
            self.stop();
        }
    }
}

fn end_sessions(shared: &Shared) {
    let inner = shared.lock();
    for stream in inner.sessions.values() {
        let _ = stream.shutdown(Shutdown::Both);
    }
    let last = inner.logins;
    let wait = Duration::from_secs(10);
    let (_inner, timed_out) = shared
        .changed
        .wait_timeout_while(inner, wait, |inner| {
            inner.sessions.keys().any(|login| *login <= last)
        })
        .unwrap();
    assert!(!timed_out.timed_out(), "a session does not end");
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.lock().stopping {
            return;
        }
        let shared = Arc::clone(shared);
        // A relay that is cut off is nothing to tell of.
        std::thread::spawn(move || drop(control(stream.unwrap(), &shared)));
    }
}

fn control(mut stream: TcpStream, shared: &Arc<Shared>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut number = [0; 4];
    stream.read_exact(&mut number)?;
    let number = Number::decode(number).unwrap();
    let mut body = vec![0; number.body_size()];
    stream.read_exact(&mut body)?;
    match Request::decode(number, &body).unwrap() {
        Request::KillServer { .. } => {
            end_sessions(shared);
            shared.lock().kills += 1;
            stream.write_all(&0_u32.to_be_bytes())
        }
        Request::Login(_) => {
            let (door, sectors) = {
                let inner = shared.lock();
                (inner.door, inner.disk.len() as u64 / SECTOR_SIZE)
            };
            let reply = match door {
                Door::Open => LoginReply::Welcome { sectors },
                Door::Refuse(errno) => LoginReply::Refused { errno },
                Door::WrongVersion => LoginReply::WrongVersion { version: 7 },
                Door::OtherSize => LoginReply::Welcome {
                    sectors: sectors + 8,
                },
                Door::Shut => {
                    let _ = stream.read(&mut [0]);
                    return Ok(());
                }
            };
            let (login, quirk) = {
                let mut inner = shared.lock();
                if inner.stopping {
                    return Ok(());
                }
                inner.logins += 1;
                let login = inner.logins;
                inner.sessions.insert(login, stream.try_clone()?);
                (login, inner.quirks.pop_front())
            };
            let _ = stream
                .write_all(&reply.encode())
                .and_then(|()| serve(&mut stream, quirk, shared));
            let _ = stream.shutdown(Shutdown::Both);
            shared.lock().sessions.remove(&login);
            shared.changed.notify_all();
            Ok(())
        }
        other => panic!("{other:?} is not part of these tests"),
    }
}

fn serve(stream: &mut TcpStream, quirk: Option<Quirk>, shared: &Shared) -> io::Result<()> {
    let mut held = Vec::new();
    for count in 0.. {
        let mut header = [0; DATA_REQUEST_SIZE];
        stream.read_exact(&mut header)?;
        let request = DataRequest::decode(&header).expect("the relay speaks the protocol");
        let mut payload = Vec::new();
        if request.command == Command::Write {
            payload.resize(request.length as usize, 0);
            stream.read_exact(&mut payload)?;
        }
        match quirk {
            Some(Quirk::CloseBefore(after)) if count == after => return Ok(()),
            Some(Quirk::Silent) => continue,
            Some(Quirk::Refuse) => {
                stream.write_all(&reply(&request, 0xffff_ffff))?;
                continue;
            }
            Some(Quirk::WrongMagic(after)) if count == after => {
                return stream.write_all(b"this is no header");
            }
            Some(Quirk::Unasked(after)) if count == after => {
                let stranger = DataRequest {
                    handle: [9; 8],
                    ..request
                };
                return stream.write_all(&reply(&stranger, 0));
            }
            Some(Quirk::KeepAlives) => {
                let mut garbage = DataReply::KeepAlive.encode();
                garbage[4..].fill(0x99);
                stream.write_all(&[garbage, garbage].concat())?;
            }
            _ => {}
        }
        let mut answer = reply(&request, 0).to_vec();
        answer.extend(apply(&request, &payload, shared));
        match quirk {
            Some(Quirk::CloseAfter(after)) if count == after => return Ok(()),
            Some(Quirk::HalfReply(after)) if count == after => {
                return stream.write_all(&answer[..answer.len() / 2]);
            }
            Some(Quirk::Backwards(many)) => {
                held.push(answer);
                if held.len() == many as usize {
                    held.reverse();
                    stream.write_all(&held.concat())?;
                    held.clear();
                }
            }
            _ => stream.write_all(&answer)?,
        }
        if request.command == Command::Disconnect {
            return Ok(());
        }
    }
    Ok(())
}

fn reply(request: &DataRequest, error: u32) -> [u8; 16] {
    let handle = request.handle;
    DataReply::Reply { error, handle }.encode()
}

fn apply(request: &DataRequest, payload: &[u8], shared: &Shared) -> Vec<u8> {
    let mut inner = shared.lock();
    let start = usize::try_from(request.offset).unwrap();
    let range = start..start + request.length as usize;
    match request.command {
        Command::Read => inner.disk[range].to_vec(),
        Command::Write => {
            inner.disk[range].copy_from_slice(payload);
            inner.applied.push(request.offset);
            Vec::new()
        }
        Command::Disconnect => {
            inner.goodbyes += 1;
            Vec::new()
        }
        Command::Ping => Vec::new(),
    }
}
