//! The lab's agent in the guest (`images/agent`), as the host speaks to it: commands and terminals whose output is pushed as it
//! comes, several at a time.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Mutex as AsyncMutex, Semaphore, oneshot};

use crate::channels::command::OutputStream;
use crate::channels::frame::{
    Decoder, Ending, Frame, Job, LONGEST, Launch, PIECE, Stream, TerminalSize, WINDOW,
};
use crate::channels::wire::WireError;
use crate::process::status::Status;

/// The port's id on the command line, which QMP's events carry.
pub(crate) const PORT_ID: &str = "lab-agent";

/// Read at once from the port.
const CHUNK: usize = 64 << 10;

/// What a command that runs in a guest has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GuestSaid {
    /// It has written this.
    Wrote(OutputStream, Vec<u8>),
    /// It has ended; all that it had written by then has been told.
    Ended(Status),
}

/// The harness's end of the agent's port.
#[derive(Clone)]
pub(crate) struct LabAgent(Arc<Shared>);

struct Shared {
    /// Never full for long: input has a window, and everything else is small and answers something.
    outgoing: UnboundedSender<Vec<u8>>,
    book: Mutex<Book>,
    /// The agent knows that this host is the one.
    greeted: AtomicBool,
    /// Held while it is told.
    greeting: AsyncMutex<()>,
    next_job: AtomicU32,
}

/// Who waits for what.
#[derive(Default)]
struct Book {
    jobs: HashMap<Job, Entry>,
    pongs: HashMap<u64, oneshot::Sender<()>>,
    /// QEMU has closed the channel.
    ended: bool,
}

struct Entry {
    started: Option<oneshot::Sender<Result<(), String>>>,
    /// The window bounds what waits.
    said: UnboundedSender<GuestSaid>,
    /// How much may be sent.
    window: Arc<Semaphore>,
}

impl LabAgent {
    pub(crate) fn open(stream: UnixStream) -> Self {
        let (reader, mut writer) = stream.into_split();
        let (outgoing, mut queue) = unbounded_channel::<Vec<u8>>();
        tokio::spawn(async move {
            while let Some(bytes) = queue.recv().await {
                if writer.write_all(&bytes).await.is_err() {
                    break;
                }
            }
        });
        let shared = Arc::new(Shared {
            outgoing,
            book: Mutex::default(),
            greeted: AtomicBool::new(false),
            greeting: AsyncMutex::default(),
            next_job: AtomicU32::new(0),
        });
        tokio::spawn(Arc::clone(&shared).read(reader));
        Self(shared)
    }

    /// QEMU tells whether the guest has the port open. An agent that closes it has lost everything.
    pub(crate) fn port_changed(&self, open: bool) {
        if !open {
            self.0.forget();
        }
    }

    /// Waits for an answer. Sent before the guest has the port open, it is answered once it has.
    pub(crate) async fn ping(&self) -> Result<(), WireError> {
        self.greet().await?;
        self.0.ask(|nonce| Frame::Ping { nonce }).await
    }

    /// Starts a command, and waits until it has been started.
    pub(crate) async fn launch(&self, launch: Launch) -> Result<AgentJob, WireError> {
        self.greet().await?;
        let job = self.0.next_job.fetch_add(1, Ordering::Relaxed);
        let (started, answer) = oneshot::channel();
        let (sender, said) = unbounded_channel();
        let window = Arc::new(Semaphore::new(WINDOW as usize));
        let entry = Entry {
            started: Some(started),
            said: sender,
            window: Arc::clone(&window),
        };
        self.0.book().jobs.insert(job, entry);
        let mut started = AgentJob {
            said,
            ended: false,
            input: AgentInput {
                shared: Arc::clone(&self.0),
                job,
                window,
            },
        };
        let length: usize = launch
            .argv
            .iter()
            .chain(&launch.environment)
            .map(Vec::len)
            .sum();
        if length > LONGEST / 2 {
            started.ended = true;
            self.0.book().jobs.remove(&job);
            return Err(WireError::Refused("its arguments are too long".to_owned()));
        }
        self.0.say(&Frame::Run { job, launch });
        let answer = answer.await.unwrap_or(Ok(()));
        match answer {
            _ if self.0.book().ended => Err(WireError::Closed),
            Ok(()) => Ok(started),
            Err(reason) => {
                started.ended = true;
                Err(WireError::Refused(reason))
            }
        }
    }

    /// Tells the agent, once, that there is a host, and that what was for another is over: it may go on from a saved state.
    async fn greet(&self) -> Result<(), WireError> {
        let _alone = self.0.greeting.lock().await;
        if self.0.greeted.load(Ordering::SeqCst) {
            return Ok(());
        }
        // Ends what another host has begun to say.
        let _ = self.0.outgoing.send(vec![0]);
        self.0.ask(|nonce| Frame::Hello { nonce }).await?;
        self.0.greeted.store(true, Ordering::SeqCst);
        Ok(())
    }
}

impl Shared {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say(&self, frame: &Frame) {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        // A channel that has ended is noticed by who waits for an answer.
        let _ = self.outgoing.send(bytes);
    }

    async fn ask(&self, question: impl FnOnce(u64) -> Frame) -> Result<(), WireError> {
        // One that no earlier host has used.
        let nonce = RandomState::new().hash_one(0);
        let (sender, answer) = oneshot::channel();
        {
            let mut book = self.book();
            if book.ended {
                return Err(WireError::Closed);
            }
            book.pongs.insert(nonce, sender);
        }
        let _forget = Forget {
            shared: self,
            nonce,
        };
        self.say(&question(nonce));
        answer.await.map_err(|_| WireError::Closed)
    }

    async fn read(self: Arc<Self>, mut reader: OwnedReadHalf) {
        let mut decoder = Decoder::default();
        let mut chunk = vec![0; CHUNK];
        // An error is as good as the end.
        while let Ok(length @ 1..) = reader.read(&mut chunk).await {
            decoder.push(&chunk[..length]);
            for frame in decoder.by_ref() {
                self.hear(frame);
            }
        }
        self.book().ended = true;
        self.forget();
    }

    /// Whoever waits for something learns that it does not come.
    fn forget(&self) {
        self.greeted.store(false, Ordering::SeqCst);
        let mut book = self.book();
        book.pongs.clear();
        for (_, entry) in book.jobs.drain() {
            entry.window.close();
        }
    }

    fn hear(&self, frame: Frame) {
        let mut book = self.book();
        match frame {
            Frame::Pong { nonce } => {
                if let Some(asked) = book.pongs.remove(&nonce) {
                    // It may have been given up this very moment.
                    let _ = asked.send(());
                }
            }
            Frame::Started { job, .. } => {
                let started = book
                    .jobs
                    .get_mut(&job)
                    .and_then(|entry| entry.started.take());
                let _ = started.map(|started| started.send(Ok(())));
            }
            Frame::Refused { job, reason } => {
                let started = book.jobs.remove(&job).and_then(|entry| entry.started);
                let _ = started.map(|started| started.send(Err(reason)));
            }
            Frame::Output { job, stream, bytes } => {
                let Some(entry) = book.jobs.get(&job) else {
                    return;
                };
                let stream = match stream {
                    Stream::Stdout => OutputStream::Stdout,
                    Stream::Stderr => OutputStream::Stderr,
                };
                let length = bytes.len();
                if entry.said.send(GuestSaid::Wrote(stream, bytes)).is_err() {
                    // Nobody reads it: it must come to its end all the same.
                    self.credit(job, length);
                }
            }
            Frame::Credit { job, bytes } => {
                if let Some(entry) = book.jobs.get(&job) {
                    entry.window.add_permits(bytes as usize);
                }
            }
            Frame::Ended { job, ending } => {
                if let Some(entry) = book.jobs.remove(&job) {
                    entry.window.close();
                    let status = match ending {
                        Ending::Exited(code) => Status::Exited(code.into()),
                        Ending::Signalled(signal) => Status::Signalled(signal.into()),
                    };
                    let _ = entry.said.send(GuestSaid::Ended(status));
                }
            }
            // The host's own words.
            Frame::Hello { .. }
            | Frame::Ping { .. }
            | Frame::Run { .. }
            | Frame::Input { .. }
            | Frame::InputEnd { .. }
            | Frame::Resize { .. }
            | Frame::Signal { .. } => {}
        }
    }

    fn credit(&self, job: Job, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.say(&Frame::Credit { job, bytes });
    }
}

/// Takes a question back whose answer nobody awaits any more.
struct Forget<'a> {
    shared: &'a Shared,
    nonce: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.shared.book().pongs.remove(&self.nonce);
    }
}

/// A command that the agent runs. Dropping it kills the command's session.
pub(crate) struct AgentJob {
    said: UnboundedReceiver<GuestSaid>,
    ended: bool,
    input: AgentInput,
}

impl AgentJob {
    /// What the command does next; `None`: the agent is gone.
    pub(crate) async fn next(&mut self) -> Option<GuestSaid> {
        let said = self.said.recv().await;
        match &said {
            Some(GuestSaid::Wrote(_, bytes)) => {
                self.input.shared.credit(self.input.job, bytes.len());
            }
            Some(GuestSaid::Ended(_)) | None => self.ended = true,
        }
        said
    }

    pub(crate) fn input(&self) -> AgentInput {
        self.input.clone()
    }
}

impl Drop for AgentJob {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        self.input.signal(Signal::KILL);
        self.said.close();
        while let Ok(said) = self.said.try_recv() {
            if let GuestSaid::Wrote(_, bytes) = said {
                self.input.shared.credit(self.input.job, bytes.len());
            }
        }
    }
}

/// The way to a command that the agent runs.
#[derive(Clone)]
pub(crate) struct AgentInput {
    shared: Arc<Shared>,
    job: Job,
    window: Arc<Semaphore>,
}

impl AgentInput {
    /// Gives the command something to read, as fast as it reads. What it does not read any more is dropped.
    pub(crate) async fn write(&self, bytes: &[u8]) {
        let job = self.job;
        for piece in bytes.chunks(PIECE) {
            let length = u32::try_from(piece.len()).unwrap_or(WINDOW);
            match self.window.acquire_many(length).await {
                Ok(permits) => permits.forget(),
                // It has ended.
                Err(_) => return,
            }
            let bytes = piece.to_vec();
            self.shared.say(&Frame::Input { job, bytes });
        }
    }

    pub(crate) fn end(&self) {
        self.shared.say(&Frame::InputEnd { job: self.job });
    }

    pub(crate) fn resize(&self, size: TerminalSize) {
        let job = self.job;
        self.shared.say(&Frame::Resize { job, size });
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let number = u8::try_from(signal.as_raw()).unwrap_or_default();
        let job = self.job;
        self.shared.say(&Frame::Signal { job, number });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The agent's end, in the test's hands.
    struct Guest {
        stream: UnixStream,
        decoder: Decoder,
    }

    impl Guest {
        async fn hear(&mut self) -> Frame {
            loop {
                if let Some(frame) = self.decoder.next() {
                    return frame;
                }
                let mut bytes = [0; 100];
                let length = self.stream.read(&mut bytes).await.expect("reads");
                assert!(length > 0, "the host is gone");
                self.decoder.push(&bytes[..length]);
            }
        }

        async fn say(&mut self, frames: &[Frame]) {
            let mut bytes = Vec::new();
            for frame in frames {
                frame.encode(&mut bytes);
            }
            self.stream.write_all(&bytes).await.expect("writes");
        }

        /// Answers a greeting, after what was said to another host.
        async fn greeted(&mut self) {
            let Frame::Hello { nonce } = self.hear().await else {
                panic!("no greeting");
            };
            let stale = Frame::Pong { nonce: !nonce };
            self.say(&[stale, Frame::Pong { nonce }]).await;
        }

        async fn started(&mut self) -> (Job, Launch) {
            let Frame::Run { job, launch } = self.hear().await else {
                panic!("nothing to run");
            };
            self.say(&[Frame::Started { job, pid: 9 }]).await;
            (job, launch)
        }
    }

    fn pair() -> (LabAgent, Guest) {
        let (ours, theirs) = UnixStream::pair().expect("a socket pair");
        let guest = Guest {
            stream: theirs,
            decoder: Decoder::default(),
        };
        (LabAgent::open(ours), guest)
    }

    fn launch() -> Launch {
        Launch {
            argv: vec![b"cat".to_vec()],
            ..Launch::default()
        }
    }

    #[tokio::test]
    async fn a_command_from_its_start_to_its_end() {
        let (agent, mut guest) = pair();
        let (job, (number, seen)) = tokio::join!(agent.launch(launch()), async {
            guest.greeted().await;
            guest.started().await
        });
        let mut job = job.expect("it starts");
        assert_eq!(seen, launch());
        job.input().write(b"words").await;
        job.input().end();
        let bytes = b"words".to_vec();
        let input = Frame::Input {
            job: number,
            bytes: bytes.clone(),
        };
        assert_eq!(guest.hear().await, input);
        assert_eq!(guest.hear().await, Frame::InputEnd { job: number });
        let wrote = Frame::Output {
            job: number,
            stream: Stream::Stderr,
            bytes: bytes.clone(),
        };
        let ending = Ending::Exited(3);
        guest
            .say(&[
                wrote,
                Frame::Ended {
                    job: number,
                    ending,
                },
            ])
            .await;
        let said = GuestSaid::Wrote(OutputStream::Stderr, bytes);
        assert_eq!(job.next().await, Some(said));
        let credit = Frame::Credit {
            job: number,
            bytes: 5,
        };
        assert_eq!(guest.hear().await, credit);
        let ended = GuestSaid::Ended(Status::Exited(3));
        assert_eq!(job.next().await, Some(ended));
        // It is greeted once.
        let (answered, ()) = tokio::join!(agent.ping(), async {
            let Frame::Ping { nonce } = guest.hear().await else {
                panic!("no ping");
            };
            guest.say(&[Frame::Pong { nonce }]).await;
        });
        assert_eq!(answered, Ok(()));
    }

    #[tokio::test]
    async fn input_waits_for_credit() {
        let (agent, mut guest) = pair();
        let (job, (number, _)) = tokio::join!(agent.launch(launch()), async {
            guest.greeted().await;
            guest.started().await
        });
        let job = job.expect("it starts");
        let all = vec![b'x'; WINDOW as usize + 10];
        let input = job.input();
        let (mut heard, mut credited) = (0, false);
        let ((), ()) = tokio::join!(input.write(&all), async {
            while heard < all.len() {
                let Frame::Input { bytes, .. } = guest.hear().await else {
                    panic!("no input");
                };
                heard += bytes.len();
                assert!(credited || heard <= WINDOW as usize, "beyond the window");
                if heard == WINDOW as usize {
                    credited = true;
                    let bytes = 10;
                    guest.say(&[Frame::Credit { job: number, bytes }]).await;
                }
            }
        });
        // Who drops a command kills it, and hears it out.
        drop(job);
        let kill = Frame::Signal {
            job: number,
            number: 9,
        };
        assert_eq!(guest.hear().await, kill);
        let bytes = b"rest".to_vec();
        let stream = Stream::Stdout;
        guest
            .say(&[Frame::Output {
                job: number,
                stream,
                bytes,
            }])
            .await;
        let credit = Frame::Credit {
            job: number,
            bytes: 4,
        };
        assert_eq!(guest.hear().await, credit);
    }

    #[tokio::test]
    async fn an_agent_that_is_gone_is_told_to_all() {
        let (agent, mut guest) = pair();
        let (job, _) = tokio::join!(agent.launch(launch()), async {
            guest.greeted().await;
            guest.started().await
        });
        let mut job = job.expect("it starts");
        agent.port_changed(false);
        assert_eq!(job.next().await, None);
        job.input().write(&vec![b'x'; 2 * WINDOW as usize]).await;
        // Another has come: it is greeted.
        let (refused, ()) = tokio::join!(agent.launch(launch()), async {
            guest.greeted().await;
            let Frame::Run { job, .. } = guest.hear().await else {
                panic!("nothing to run");
            };
            let reason = "no such program".to_owned();
            guest.say(&[Frame::Refused { job, reason }]).await;
        });
        let refused = refused.err();
        assert_eq!(refused, Some(WireError::Refused("no such program".into())));
        drop(guest);
        assert_eq!(agent.ping().await, Err(WireError::Closed));
    }
}
