//! A supervisor's side of a command: between a connection and a guest.

use std::io;
use std::time::Duration;

use rustix::process::Signal;
use sanlab_fleet::{ExecError, GuestInput, GuestProcess, GuestSaid, Node, OutputStream, Status};
use sanlab_vm::frame::{Decoder, Ending, Frame, Launch, Stream, TerminalSize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::protocol::{Exec, JOB, Reply, send};

/// How long a guest may take to start a command; one that is short of memory or of CPU needs its time.
const START: Duration = Duration::from_secs(60);
/// Read at once.
const CHUNK: usize = 32 << 10;

/// Runs a command for a connection until it has ended, or the connection is closed, which kills it.
pub(crate) async fn serve(
    mut stream: BufReader<UnixStream>,
    node: &Node,
    exec: Exec,
) -> io::Result<()> {
    let bytes = |words: Vec<String>| words.into_iter().map(String::into_bytes).collect();
    let terminal = exec.terminal;
    let launch = Launch {
        argv: bytes(exec.argv),
        environment: bytes(exec.environment),
        terminal: terminal.map(|(rows, columns)| TerminalSize { rows, columns }),
    };
    let process = match node.machine().launch(launch, START).await {
        Ok(process) => process,
        Err(error) => {
            let reason = format!("failed to {error}");
            let refused = Reply::Refused {
                reason,
                mistaken: matches!(error, ExecError::CommandFailed { .. }),
            };
            return send(&mut stream, &refused).await;
        }
    };
    send(&mut stream, &Reply::Started).await?;
    // Nothing came with the request: a client waits for the reply.
    let (reader, writer) = stream.into_inner().into_split();
    let (frames, outgoing) = unbounded_channel();
    let (input, pieces) = unbounded_channel();
    tokio::select! {
        gone = hear(reader, process.input(), input) => gone,
        _ = feed(pieces, process.input(), frames) => Ok(()),
        told = tell(process, writer, outgoing) => told,
    }
}

/// What the client says. It sends no more input than its window allows, so that a signal is never stuck behind it.
async fn hear(
    mut reader: OwnedReadHalf,
    guest: GuestInput,
    input: UnboundedSender<Option<Vec<u8>>>,
) -> io::Result<()> {
    let mut decoder = Decoder::default();
    let mut chunk = vec![0; CHUNK];
    loop {
        let length = reader.read(&mut chunk).await?;
        if length == 0 {
            return Ok(());
        }
        decoder.push(&chunk[..length]);
        for frame in decoder.by_ref() {
            // The other end is polled beside this.
            match frame {
                Frame::Input { bytes, .. } => drop(input.send(Some(bytes))),
                Frame::InputEnd { .. } => drop(input.send(None)),
                Frame::Resize { size, .. } => guest.resize(size),
                Frame::Signal { number, .. } => {
                    if let Some(signal) = Signal::from_named_raw(number.into()) {
                        guest.signal(signal);
                    }
                }
                _ => {}
            }
        }
    }
}

/// Passes input on as fast as the command reads it, and gives the client credit. It never ends by itself.
async fn feed(
    mut pieces: UnboundedReceiver<Option<Vec<u8>>>,
    guest: GuestInput,
    frames: UnboundedSender<Frame>,
) -> io::Result<()> {
    while let Some(piece) = pieces.recv().await {
        let Some(bytes) = piece else {
            guest.end();
            continue;
        };
        guest.write(&bytes).await;
        let bytes = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let _ = frames.send(Frame::Credit { job: JOB, bytes });
    }
    std::future::pending().await
}

/// Passes on what the command does, and credit, to its end.
async fn tell(
    mut process: GuestProcess,
    mut writer: OwnedWriteHalf,
    mut outgoing: UnboundedReceiver<Frame>,
) -> io::Result<()> {
    loop {
        let frame = tokio::select! {
            Some(frame) = outgoing.recv() => frame,
            said = process.next() => match said {
                Ok(GuestSaid::Wrote(stream, bytes)) => {
                    let stream = match stream {
                        OutputStream::Stdout => Stream::Stdout,
                        OutputStream::Stderr => Stream::Stderr,
                    };
                    Frame::Output { job: JOB, stream, bytes }
                }
                Ok(GuestSaid::Ended(status)) => ended(status),
                Err(error) => {
                    let reason = format!("failed to {error}");
                    Frame::Refused { job: JOB, reason }
                }
            },
        };
        let last = matches!(frame, Frame::Ended { .. } | Frame::Refused { .. });
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        writer.write_all(&bytes).await?;
        if last {
            return Ok(());
        }
    }
}

fn ended(status: Status) -> Frame {
    let number = |number: i32| u8::try_from(number).unwrap_or(u8::MAX);
    let ending = match status {
        Status::Exited(code) => Ending::Exited(number(code)),
        Status::Signalled(signal) => Ending::Signalled(number(signal)),
    };
    Frame::Ended { job: JOB, ending }
}
