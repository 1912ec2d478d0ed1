//! The guest's serial console: watched line by line, while QEMU itself keeps the log on disk; and its kernel's `SysRq` keys.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::{Mutex as AsyncMutex, watch};
use tokio::time::Instant;

use crate::channels::dump::{Capture, Dumps, Origin};
use crate::channels::kernel_log::{Trouble, trouble};
use crate::channels::lines::LineReader;
use crate::channels::room::{Room, Rooms};

/// What is kept of a line, in bytes. The kernel's have at most 1 KiB.
const LONGEST: usize = 8 << 10;
/// How much may wait for the receiver, in bytes: seconds of what a guest can write.
const WAITING: usize = 16 << 20;

/// Lines kept in memory for tails and messages; the log on disk has all of them.
const KEPT: usize = 1000;

/// An excerpt for an error: its lines, those of them before the first trouble, and how far back that is looked for.
const EXCERPT: usize = 40;
const BEFORE: usize = 5;
const LATE: usize = 200;

/// A line of the console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsoleLine {
    /// When the host read its end.
    pub at: Instant,
    /// The line without its end; what is not UTF-8 is replaced. Of one longer than 8 KiB the middle is left out, and it says
    /// how many bytes that were.
    pub text: String,
    /// What kernel trouble it reports, if any. A dump has none of its own: what comes among its lines is the kernel's.
    pub trouble: Option<Trouble>,
    /// It came among what the kernel was made to print, backtraces above all.
    pub dump: bool,
    /// Its share of the 16 MiB that may wait for the receiver: while all of them are taken the console is not read. Who keeps
    /// lines for long keeps their text.
    pub room: Room,
}

/// What the guest has written to its console; clones look at the same one.
#[derive(Clone)]
pub struct Console {
    log_path: Arc<Path>,
    shared: Arc<Shared>,
}

struct Shared {
    keys: AsyncMutex<OwnedWriteHalf>,
    kept: Mutex<Kept>,
    seen: watch::Sender<Seen>,
    rooms: Rooms,
}

#[derive(Default)]
struct Kept {
    latest: VecDeque<String>,
    troubles: Vec<ConsoleLine>,
    /// Lines that came before there was a receiver; the console's room bounds them.
    waiting: Vec<ConsoleLine>,
    receiver: Option<Receiver>,
    dumps: Dumps,
    /// What has come since the guest is being examined.
    capture: Option<Capture>,
}

/// Takes lines as they come; it must not wait.
type Receiver = Box<dyn FnMut(ConsoleLine) + Send>;

#[derive(Debug, Default, Clone, Copy)]
struct Seen {
    lines: u64,
    panic: bool,
    ended: bool,
}

impl Console {
    pub(crate) fn open(stream: UnixStream, log_path: PathBuf) -> Self {
        let (stream, keys) = stream.into_split();
        let shared = Arc::new(Shared {
            keys: AsyncMutex::new(keys),
            kept: Mutex::default(),
            seen: watch::Sender::new(Seen::default()),
            rooms: Rooms::new(WAITING),
        });
        let watched = Arc::clone(&shared);
        tokio::spawn(async move {
            let mut reader = LineReader::new(stream, LONGEST);
            while let Some(line) = reader.next().await {
                let (at, text) = (Instant::now(), line.text());
                let room = watched.rooms.take(&text).await;
                watched.take(at, text, room);
            }
            watched.seen.send_modify(|seen| seen.ended = true);
        });
        Self {
            log_path: log_path.into(),
            shared,
        }
    }

    /// Hands every line to the receiver, in order: at once those that came before it, then each as it is read. None is lost,
    /// and all have been handed over when the machine's end is known, if the receiver keeps no line. A later receiver takes the place of an earlier one and
    /// gets what comes from then on.
    pub fn deliver(&self, mut receiver: impl FnMut(ConsoleLine) + Send + 'static) {
        let mut kept = self.shared.kept();
        kept.waiting.drain(..).for_each(&mut receiver);
        kept.receiver = Some(Box::new(receiver));
    }

    /// Everything that the guest has written is in this file; QEMU writes it.
    pub fn log_path(&self) -> &Path {
        &self.log_path
    }

    /// The last `count` lines, at most 1000.
    pub fn tail(&self, count: usize) -> Vec<String> {
        let kept = self.shared.kept();
        kept.latest
            .iter()
            .skip(kept.latest.len().saturating_sub(count))
            .cloned()
            .collect()
    }

    /// All lines so far that report kernel trouble.
    pub fn troubles(&self) -> Vec<ConsoleLine> {
        self.shared.kept().troubles.clone()
    }

    /// What a kernel that has panicked leaves: from a little before the first trouble of late, the oops rather than the
    /// panic that it leads to; without any, the last lines.
    pub(crate) fn crash(&self) -> Vec<String> {
        let late = self.tail(LATE);
        let first = late
            .iter()
            .position(|line| trouble(line).is_some())
            .unwrap_or(late.len());
        let from = first
            .saturating_sub(BEFORE)
            .min(late.len().saturating_sub(EXCERPT));
        late.into_iter().skip(from).take(EXCERPT).collect()
    }

    /// Types a key.
    pub(crate) async fn press(&self, key: u8) -> std::io::Result<()> {
        self.shared.keys.lock().await.write_all(&[key]).await
    }

    /// The kernel is about to be made to print its state. All that comes from now on is kept for the result, as long as that
    /// lives. Which lines are [`dump`](ConsoleLine::dump) and so not the guest's last words, the kernel's answers to the keys
    /// say, if need be later.
    pub(crate) fn begin_dump(&self) -> Dump<'_> {
        let mut kept = self.shared.kept();
        kept.dumps.begins();
        kept.capture = Some(Capture::default());
        Dump(self)
    }

    /// The guest is about to get an NMI of which its kernel panics; or it did not get it, after all.
    pub(crate) fn nmi_is_sent(&self, sent: bool) {
        self.shared.kept().dumps.nmi_is_sent(sent);
    }

    /// Returns when the kernel has announced its panic here; never if it does not.
    pub(crate) async fn panicked(&self) {
        let mut seen = self.shared.seen.subscribe();
        if seen.wait_for(|seen| seen.panic).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Returns when nothing has been written for a moment, or the console has ended; at most after half a second.
    pub(crate) async fn quiet(&self) {
        let mut seen = self.shared.seen.subscribe();
        let quiet = async {
            while !seen.borrow_and_update().ended {
                if tokio::time::timeout(Duration::from_millis(50), seen.changed())
                    .await
                    .is_err()
                {
                    break;
                }
            }
        };
        let _ = tokio::time::timeout(Duration::from_millis(500), quiet).await;
    }

    /// Returns when QEMU has closed the console and everything has been read.
    pub(crate) async fn ended(&self) {
        let _ = self
            .shared
            .seen
            .subscribe()
            .wait_for(|seen| seen.ended)
            .await;
    }
}

/// What comes while a kernel is made to print its state.
pub(crate) struct Dump<'a>(&'a Console);

impl Dump<'_> {
    /// What has come so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        let kept = self.0.shared.kept();
        kept.capture.as_ref().map(Capture::all).unwrap_or_default()
    }

    /// How many lines have come so far.
    pub(crate) fn length(&self) -> usize {
        let kept = self.0.shared.kept();
        kept.capture
            .as_ref()
            .map_or(0, |so_far| so_far.lines().len())
    }

    /// Returns when such a line has come after the first `from`; never if none does.
    pub(crate) async fn says(&self, from: usize, wanted: impl Fn(&str) -> bool) {
        let mut seen = self.0.shared.seen.subscribe();
        let mut from = from;
        loop {
            {
                let kept = self.0.shared.kept();
                let lines = kept.capture.as_ref().map_or(&[][..], Capture::lines);
                if lines.iter().skip(from).any(|line| wanted(line)) {
                    return;
                }
                from = from.max(lines.len());
            }
            if seen.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Drop for Dump<'_> {
    fn drop(&mut self) {
        self.0.shared.kept().capture = None;
    }
}

impl Shared {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, at: Instant, text: String, room: Room) {
        let panic = {
            let mut kept = self.kept();
            let origin = kept.dumps.origin(&text);
            let line = ConsoleLine {
                at,
                trouble: trouble(&text).filter(|_| origin != Origin::Nmi),
                text,
                dump: origin != Origin::Guest,
                room,
            };
            if let Some(capture) = &mut kept.capture {
                capture.push(&line.text);
            }
            if !line.dump || line.trouble.is_some() {
                if kept.latest.len() == KEPT {
                    kept.latest.pop_front();
                }
                kept.latest.push_back(line.text.clone());
            }
            if line.trouble.is_some() && kept.troubles.len() < KEPT {
                kept.troubles.push(ConsoleLine {
                    room: Room::default(),
                    ..line.clone()
                });
            }
            let panic = line.trouble == Some(Trouble::Panic);
            // Under the lock: a receiver that comes now gets lines in order.
            match &mut kept.receiver {
                Some(receiver) => receiver(line),
                None => kept.waiting.push(line),
            }
            panic
        };
        self.seen.send_modify(|seen| {
            seen.lines += 1;
            seen.panic |= panic;
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    fn listen(console: &Console) -> UnboundedReceiver<(Instant, String)> {
        let (sender, receiver) = unbounded_channel();
        console.deliver(move |line| drop(sender.send((line.at, line.text))));
        receiver
    }

    #[tokio::test]
    async fn lines_are_split_classified_and_kept() {
        let (ours, mut theirs) = UnixStream::pair().expect("a socket pair");
        let before = Instant::now();
        let console = Console::open(ours, "console.log".into());
        let text = b"one\r\ntw\xffo\r\n[ 3.1] Kernel panic - not syncing: x\r\nhalf a line";
        theirs.write_all(text).await.expect("writes");
        console.panicked().await;
        drop(theirs);
        console.ended().await;
        let wanted = [
            "one",
            "tw\u{fffd}o",
            "[ 3.1] Kernel panic - not syncing: x",
            "half a line",
        ];
        assert_eq!(console.tail(9), wanted);
        assert_eq!(console.tail(1), wanted[3..]);
        assert_eq!(console.troubles()[0].trouble, Some(Trouble::Panic));
        // Whoever listens only now hears it all.
        let mut lines = listen(&console);
        for text in wanted {
            let (at, line) = lines.try_recv().expect("a line");
            assert_eq!(line, text);
            assert!(at >= before && at <= Instant::now());
        }
        console.quiet().await;
    }

    /// More than any buffer on the way, half of it before anybody listens.
    #[tokio::test]
    async fn a_burst_loses_no_line() {
        const LINES: usize = 100_000;
        let (ours, mut theirs) = UnixStream::pair().expect("a socket pair");
        let console = Console::open(ours, "console.log".into());
        let burst = |from, to| {
            let lines: Vec<_> = (from..to).map(|n| format!("line {n}\n")).collect();
            lines.concat()
        };
        let (early, late) = (burst(0, LINES / 2), burst(LINES / 2, LINES));
        theirs.write_all(early.as_bytes()).await.expect("writes");
        let mut lines = listen(&console);
        theirs.write_all(late.as_bytes()).await.expect("writes");
        drop(theirs);
        console.ended().await;
        for n in 0..LINES {
            let (_, line) = lines.try_recv().expect("a line");
            assert_eq!(line, format!("line {n}"));
        }
        assert!(lines.try_recv().is_err());
    }

    /// 64 MiB in lines of 1 KiB. They are not read before somebody listens, and none is lost then.
    #[tokio::test]
    async fn a_flood_that_nobody_hears_waits_in_the_guest() {
        const LINES: usize = 64 << 10;
        let (ours, mut theirs) = UnixStream::pair().expect("a socket pair");
        let console = Console::open(ours, "console.log".into());
        let written = Arc::new(AtomicUsize::new(0));
        let so_far = Arc::clone(&written);
        let flood = tokio::spawn(async move {
            for n in 0..LINES {
                let line = format!("{n:01023}\n");
                theirs.write_all(line.as_bytes()).await.expect("writes");
                so_far.fetch_add(line.len(), Ordering::SeqCst);
            }
        });
        let so_far = || written.load(Ordering::SeqCst);
        while so_far() < WAITING / 2 {
            tokio::task::yield_now().await;
        }
        // It comes to a stop.
        let mut before = 0;
        while before != so_far() {
            before = so_far();
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        assert!(before < 2 * WAITING, "{before} bytes were read");
        // Whoever keeps the lines keeps no more of them.
        let (sender, mut lines) = unbounded_channel();
        console.deliver(move |line| drop(sender.send(line)));
        for n in 0..LINES {
            let line = lines.recv().await.expect("a line");
            assert_eq!(line.text, format!("{n:01023}"));
            assert!(lines.len() <= WAITING >> 10);
        }
        flood.await.expect("it ends");
        console.ended().await;
    }

    #[tokio::test]
    async fn a_line_without_an_end_is_cut_and_the_next_is_heard() {
        let (ours, mut theirs) = UnixStream::pair().expect("a socket pair");
        let console = Console::open(ours, "console.log".into());
        let mut lines = listen(&console);
        let mebibyte = vec![b'x'; 1 << 20];
        for _ in 0..64 {
            theirs.write_all(&mebibyte).await.expect("writes");
        }
        let panic = "Kernel panic - not syncing: x";
        let rest = format!(" {panic}\nthe next line\n");
        theirs.write_all(rest.as_bytes()).await.expect("writes");
        drop(theirs);
        console.ended().await;
        let (_, line) = lines.try_recv().expect("a line");
        assert!(line.contains(" bytes are left out ... "), "it says so");
        assert!(line.len() < 2 * LONGEST && line.ends_with(panic));
        assert_eq!(lines.try_recv().expect("a line").1, "the next line");
        assert_eq!(console.troubles()[0].trouble, Some(Trouble::Panic));
    }
}
