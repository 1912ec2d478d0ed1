//! What programs in the guest write down for the host while they work: a line each, with the moment at which it came.
//!
//! A line is evidence: the guest has done what it says. So none is lost while its machine lives, and of one that was
//! torn by the machine's end nothing is reported.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::net::UnixStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::channels::lines::LineReader;
use crate::channels::room::{Room, Rooms};

/// Where programs in the guest write: a line a `write`, and one program at a time.
pub const EVENT_PORT_PATH: &str = "/dev/virtio-ports/org.sanlab.events";

/// The port's name in the guest, and its id on the command line.
pub(crate) const PORT_NAME: &str = "org.sanlab.events";
pub(crate) const PORT_ID: &str = "events";

/// What is kept of a line, in bytes. No program of the lab writes one that is half as long.
const LONGEST: usize = 8 << 10;
/// How much may wait for those who follow, in bytes.
const WAITING: usize = 16 << 20;

/// A line that a guest wrote to its event port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestEvent {
    /// When the host read it: a moment after the guest wrote it.
    pub at: Instant,
    /// The line without its end; what is not UTF-8 is replaced. Of one longer than 8 KiB the middle is left out, and it says
    /// so: that is no line of the lab's programs.
    pub text: String,
    /// Its share of the 16 MiB that may wait for those who follow: while all of them are taken the port is not read, and
    /// programs in the guest that write to it wait. Who keeps lines for long keeps their text.
    pub room: Room,
}

/// The harness's end of an event port.
#[derive(Debug)]
pub(crate) struct GuestEventPort(Arc<Mutex<Readers>>);

#[derive(Debug, Default)]
struct Readers {
    followers: Vec<UnboundedSender<GuestEvent>>,
    /// What no one has read yet; the port's room bounds it, as it bounds what followers have not taken out.
    waiting: Vec<GuestEvent>,
    ended: bool,
}

impl GuestEventPort {
    pub(crate) fn open(stream: UnixStream) -> Self {
        let readers = Arc::<Mutex<Readers>>::default();
        let told = Arc::clone(&readers);
        tokio::spawn(async move {
            let rooms = Rooms::new(WAITING);
            let mut reader = LineReader::new(stream, LONGEST);
            while let Some(line) = reader.next().await.filter(|line| line.whole) {
                let (at, text) = (Instant::now(), line.text());
                let room = rooms.take(&text).await;
                locked(&told).take(GuestEvent { at, text, room });
            }
            let mut readers = locked(&told);
            readers.ended = true;
            readers.followers.clear();
        });
        Self(readers)
    }

    /// All lines that no one has read so far, and those that come. The port's room bounds how many wait.
    pub(crate) fn follow(&self) -> UnboundedReceiver<GuestEvent> {
        let (sender, receiver) = unbounded_channel();
        let mut readers = locked(&self.0);
        for line in readers.waiting.drain(..) {
            // Its other end is in this function's hands.
            let _ = sender.send(line);
        }
        if !readers.ended {
            readers.followers.push(sender);
        }
        receiver
    }
}

impl Readers {
    fn take(&mut self, line: GuestEvent) {
        self.followers
            .retain(|follower| follower.send(line.clone()).is_ok());
        if self.followers.is_empty() {
            self.waiting.push(line);
        }
    }
}

fn locked(readers: &Mutex<Readers>) -> MutexGuard<'_, Readers> {
    readers.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt as _;

    async fn heard(follower: &mut UnboundedReceiver<GuestEvent>) -> String {
        follower.recv().await.expect("a line").text
    }

    #[tokio::test]
    async fn nothing_is_lost_between_two_followers() {
        let (ours, mut theirs) = UnixStream::pair().expect("a socket pair");
        let guest_events = GuestEventPort::open(ours);
        let before = Instant::now();
        theirs
            .write_all(b"begin one\r\nack 0\n")
            .await
            .expect("writes");
        let mut first = guest_events.follow();
        let line = first.recv().await.expect("a line");
        assert_eq!(line.text, "begin one");
        assert!(line.at >= before && line.at <= Instant::now());
        assert_eq!(heard(&mut first).await, "ack 0");
        drop(first);
        theirs
            .write_all(b"ack 1\nack \xff\nack 3")
            .await
            .expect("writes");
        drop(theirs);
        // Until the end has been read.
        while !locked(&guest_events.0).ended {
            tokio::task::yield_now().await;
        }
        let mut second = guest_events.follow();
        assert_eq!(heard(&mut second).await, "ack 1");
        assert_eq!(heard(&mut second).await, "ack \u{fffd}");
        // The last line was torn: it may have been `ack 37`.
        assert_eq!(second.recv().await, None);
        assert_eq!(guest_events.follow().recv().await, None);
    }

    #[tokio::test]
    async fn two_followers_hear_the_same() {
        let (ours, mut theirs) = UnixStream::pair().expect("a socket pair");
        let guest_events = GuestEventPort::open(ours);
        let (mut one, mut two) = (guest_events.follow(), guest_events.follow());
        theirs.write_all(b"a\nb\n").await.expect("writes");
        drop(theirs);
        for follower in [&mut one, &mut two] {
            assert_eq!(heard(follower).await, "a");
            assert_eq!(heard(follower).await, "b");
            assert_eq!(follower.recv().await, None);
        }
    }

    /// A program that writes what nobody takes waits; what it wrote is heard later, all of it.
    #[tokio::test]
    async fn a_flood_that_nobody_follows_waits_in_the_guest() {
        const LINES: usize = 400_000;
        let (ours, mut theirs) = UnixStream::pair().expect("a socket pair");
        let guest_events = GuestEventPort::open(ours);
        let lines: Vec<_> = (0..LINES).map(|n| format!("ack {n}\n")).collect();
        let lines = lines.concat();
        let flood = theirs.write_all(lines.as_bytes());
        let mut flood = std::pin::pin!(flood);
        let patience = std::time::Duration::from_secs(2);
        let ended = tokio::time::timeout(patience, &mut flood).await;
        assert!(ended.is_err(), "it must wait");
        assert!(locked(&guest_events.0).waiting.len() <= WAITING / 128);
        let mut follower = guest_events.follow();
        let heard = async {
            for n in 0..LINES {
                assert_eq!(heard(&mut follower).await, format!("ack {n}"));
            }
        };
        let (written, ()) = tokio::join!(flood, heard);
        written.expect("writes");
    }
}
