//! A command in a guest of a fleet that is up, as the user's side sees it.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use sanlab_vm::frame::{Decoder, Ending, Frame, PIECE, Stream, TerminalSize, WINDOW};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::client::Found;
use super::protocol::{Exec, JOB, Reply, Request};
use crate::LabError;

/// How long a command may take to be started; longer than its supervisor waits.
const START: Duration = Duration::from_secs(90);
/// Read at once.
const CHUNK: usize = 32 << 10;

/// What a command has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    /// It has written this.
    Wrote(Stream, Vec<u8>),
    /// It has ended.
    Ended(Ending),
}

/// A command that runs. Dropping it kills the command.
pub(crate) struct Remote {
    reader: OwnedReadHalf,
    decoder: Decoder,
    chunk: Vec<u8>,
    input: RemoteInput,
    fleet: Found,
}

/// The way to it.
#[derive(Clone)]
pub(crate) struct RemoteInput {
    outgoing: UnboundedSender<Vec<u8>>,
    window: Arc<Semaphore>,
}

impl Remote {
    /// Starts a command.
    pub(crate) async fn start(fleet: &Found, exec: Exec) -> Result<Self, LabError> {
        let stream = match fleet.ask(&Request::Exec(exec), START).await? {
            (Reply::Started, stream) => stream,
            (other, _) => return Err(fleet.odd(&other)),
        };
        // What it has said already.
        let mut decoder = Decoder::default();
        decoder.push(stream.buffer());
        let (reader, mut writer) = stream.into_inner().into_split();
        let (outgoing, mut queue) = unbounded_channel::<Vec<u8>>();
        tokio::spawn(async move {
            while let Some(bytes) = queue.recv().await {
                if writer.write_all(&bytes).await.is_err() {
                    break;
                }
            }
        });
        Ok(Self {
            reader,
            decoder,
            chunk: vec![0; CHUNK],
            input: RemoteInput {
                outgoing,
                window: Arc::new(Semaphore::new(WINDOW as usize)),
            },
            fleet: fleet.clone(),
        })
    }

    /// What the command does next: the last is its end.
    pub(crate) async fn next(&mut self) -> Result<Said, LabError> {
        loop {
            match self.decoder.next() {
                Some(Frame::Output { stream, bytes, .. }) => return Ok(Said::Wrote(stream, bytes)),
                Some(Frame::Ended { ending, .. }) => {
                    self.input.window.close();
                    return Ok(Said::Ended(ending));
                }
                Some(Frame::Credit { bytes, .. }) => self.input.window.add_permits(bytes as usize),
                Some(Frame::Refused { reason, .. }) => {
                    return Err(LabError::FleetRefused {
                        reason,
                        mistaken: false,
                    });
                }
                Some(_) => {}
                None => {
                    let length = self.reader.read(&mut self.chunk).await?;
                    if length == 0 {
                        return Err(LabError::FleetSilent {
                            name: self.fleet.name.clone(),
                            why: "it ended while the command ran".to_owned(),
                        });
                    }
                    self.decoder.push(&self.chunk[..length]);
                }
            }
        }
    }

    /// The way to it.
    pub(crate) fn input(&self) -> RemoteInput {
        self.input.clone()
    }
}

impl RemoteInput {
    /// Gives the command something to read, as fast as it reads; `false`: it has ended.
    pub(crate) async fn write(&self, bytes: &[u8]) -> bool {
        for piece in bytes.chunks(PIECE) {
            let length = u32::try_from(piece.len()).unwrap_or(WINDOW);
            match self.window.acquire_many(length).await {
                Ok(permits) => permits.forget(),
                Err(_) => return false,
            }
            let bytes = piece.to_vec();
            self.say(&Frame::Input { job: JOB, bytes });
        }
        true
    }

    /// There is nothing more to read.
    pub(crate) fn end(&self) {
        self.say(&Frame::InputEnd { job: JOB });
    }

    /// Its terminal has this size now.
    pub(crate) fn resize(&self, size: TerminalSize) {
        self.say(&Frame::Resize { job: JOB, size });
    }

    /// Sends a signal to it.
    pub(crate) fn signal(&self, signal: Signal) {
        let number = u8::try_from(signal.as_raw()).unwrap_or_default();
        self.say(&Frame::Signal { job: JOB, number });
    }

    fn say(&self, frame: &Frame) {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        // That the connection is gone is noticed where it is read.
        let _ = self.outgoing.send(bytes);
    }
}
