//! The relay between the kernel's nbd driver and a GNBD server: one thread for all that moves data, with memory taken
//! at its start, and two that may block, for logging in and for the cluster.
//!
//! The kernel's end is any byte stream on a Unix socket that speaks NBD; tests play the kernel.

use std::fmt::Display;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt;
use rustix::time::{ClockId, clock_gettime};

use super::link::Link;
use super::monitor::{Act, Monitor};
use super::notice::{Mailbox, Notice, Worker, mailbox};
use super::outbox::{Body, Outbox};
use super::pool::Pool;
use super::questions::{Context, KernelError, Questions, Turn, answer};
use super::remote::{Remote, Status};
use super::replies::{LinkError, Received};
use super::request::{RequestError, Session};
use super::settings::{Settings, Timing};
use super::table::Table;

/// Writes in flight at most: their payloads are kept for a resend, 128 KiB each.
const WRITES: usize = 48;
/// Replies to reads on their way from the server to the kernel.
const READS: usize = 8;
/// Replies taken from the server before the kernel gets them.
const BATCH: usize = 32;

/// Why a relay ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The kernel said goodbye.
    Disconnected,
    /// The kernel's socket was closed without a word.
    KernelGone,
    /// What the kernel sent is no NBD.
    NotNbd,
}

/// The time that counts from the machine's boot, as in `/proc/uptime`.
fn since_boot() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    let nanos = u32::try_from(now.tv_nsec).unwrap_or_default();
    Duration::new(now.tv_sec.unsigned_abs(), nanos)
}

/// How the next connection comes about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dial {
    /// It is there, or will never be.
    Idle,
    Running,
    At(Instant),
}

/// How the last link ended.
#[derive(Debug, Default)]
struct Lost {
    /// Since when there is no link, or none that was of use.
    since: Option<Instant>,
    /// It was the server that closed it.
    by_server: bool,
}

/// One imported device's relay.
#[derive(Debug)]
pub struct Relay {
    settings: Settings,
    kernel: UnixStream,
    questions: Questions,
    outbox: Outbox,
    table: Table,
    link: Link,
    writes: Pool,
    reads: Pool,
    monitor: Monitor,
    mailbox: Mailbox,
    dialer: Worker,
    fencer: Worker,
    dial: Dial,
    /// Failed attempts since the link was last of use.
    attempts: u32,
    lost: Lost,
    /// When the last login succeeded, by both clocks; the fencer has the other.
    linked: Instant,
    login: Arc<Mutex<Duration>>,
    /// The kernel can go on only when something was answered.
    full: bool,
    /// The next turn comes at once.
    hurry: bool,
    /// The kernel has gone; until when the rest may take.
    draining: Option<(Instant, End)>,
    said_goodbye: bool,
    remote: Remote,
}

impl Relay {
    /// Takes the memory and starts the threads. The link is logged in already, unless the server may not be there: then
    /// the relay sees to it.
    pub fn new(
        mut settings: Settings,
        kernel: UnixStream,
        session: Option<Session>,
    ) -> io::Result<Self> {
        kernel.set_nonblocking(true)?;
        let (mailbox, messenger) = mailbox()?;
        let (endpoint, device, node) = (
            settings.endpoint.clone(),
            settings.device.clone(),
            settings.node.clone(),
        );
        let (timestamp, patience) = (settings.timestamp, settings.timing.dial);
        let dialer = Worker::start("dialer", messenger.clone(), move || {
            Notice::Dialed(endpoint.log_in(&device, &node, timestamp, patience))
        })?;
        let fence = std::mem::replace(&mut settings.fencer, Box::new(|_| false));
        let login = Arc::new(Mutex::new(since_boot()));
        let last = Arc::clone(&login);
        let fencer = Worker::start("fencer", messenger.clone(), move || {
            let last = *last.lock().unwrap_or_else(PoisonError::into_inner);
            Notice::Fenced(fence(last))
        })?;
        let remote = Remote::new(messenger);
        let mut relay = Self {
            monitor: Monitor::new(
                settings.policy,
                settings.timing.pause,
                settings.dead_peer_grace,
            ),
            settings,
            kernel,
            questions: Questions::new(),
            outbox: Outbox::new(),
            table: Table::new(),
            link: Link::new(),
            writes: Pool::new(WRITES),
            reads: Pool::new(READS),
            mailbox,
            dialer,
            fencer,
            dial: Dial::Idle,
            attempts: 0,
            lost: Lost::default(),
            linked: Instant::now(),
            login,
            full: false,
            hurry: false,
            draining: None,
            said_goodbye: false,
            remote,
        };
        let now = Instant::now();
        match session {
            Some(session) => relay.dialed(Ok(session), now),
            None => relay.lose(&"there is none yet", now),
        }
        relay.post();
        Ok(relay)
    }

    /// For others to look at it.
    pub fn remote(&self) -> Remote {
        self.remote.clone()
    }

    /// Works until the kernel wants no more of the device.
    pub fn run(mut self) -> End {
        loop {
            if let Some(end) = self.turn() {
                return end;
            }
        }
    }

    fn turn(&mut self) -> Option<End> {
        let (kernel, link, bell) = self.wait();
        let now = Instant::now();
        if bell {
            while let Some(notice) = self.mailbox.take() {
                self.notice(notice, now);
            }
        }
        // What frees memory for replies and questions comes before them.
        self.send();
        if link || self.link.is_starved() {
            self.receive(now);
        }
        self.keep_time(now);
        if self.draining.is_none() && (kernel || self.full) {
            self.ask(now);
        }
        // What was stuck need not wait for anybody if it has got some room.
        let room = self.send();
        self.hurry = room && self.full || self.link.is_starved() && !self.reads.is_empty();
        self.post();
        self.is_over(now)
    }

    /// Sleeps until something can be done: with the kernel's socket, with the server's, with the mailbox.
    fn wait(&self) -> (bool, bool, bool) {
        let ready = PollFlags::IN | PollFlags::OUT | PollFlags::HUP | PollFlags::ERR;
        let mut interest = PollFlags::empty();
        interest.set(PollFlags::IN, !self.full);
        interest.set(PollFlags::OUT, !self.outbox.is_empty());
        let mut wish = PollFlags::empty();
        wish.set(PollFlags::IN, self.link.wants_to_read());
        wish.set(PollFlags::OUT, self.link.wants_to_write());
        // A place without a descriptor of its own is given the bell's.
        let bell = self.mailbox.bell();
        let kernel_here = self.draining.is_none();
        let kernel = if kernel_here {
            self.kernel.as_fd()
        } else {
            bell
        };
        let link = match self.link.stream() {
            Some(stream) if !wish.is_empty() => stream.as_fd(),
            _ => bell,
        };
        let mut places = [
            PollFd::from_borrowed_fd(bell, PollFlags::IN),
            PollFd::from_borrowed_fd(
                kernel,
                if kernel_here {
                    interest
                } else {
                    PollFlags::empty()
                },
            ),
            PollFd::from_borrowed_fd(link, wish),
        ];
        let now = Instant::now();
        let next = if self.hurry {
            Some(now)
        } else {
            self.next_time()
        };
        let timeout = next.map(|next| {
            let left = next.saturating_duration_since(now);
            Timespec {
                tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            }
        });
        // An interrupted wait is one in which nothing happened.
        if poll(&mut places, timeout.as_ref()).is_err() {
            return (false, false, true);
        }
        let [bell, kernel, link] = places.map(|place| place.revents().intersects(ready));
        (kernel && kernel_here, link, bell)
    }

    fn next_time(&self) -> Option<Instant> {
        let timing = &self.settings.timing;
        let dial = match self.dial {
            Dial::At(at) => Some(at),
            Dial::Idle | Dial::Running => None,
        };
        let times = [
            self.monitor.due(self.table.waiting()),
            self.link.next_ping(timing.quiet, timing.ping),
            dial,
            self.draining.map(|(until, _)| until),
        ];
        times.into_iter().flatten().min()
    }

    /// Does what the clock asks for.
    fn keep_time(&mut self, now: Instant) {
        let timing = self.settings.timing;
        if let Some(act) = self.monitor.check(self.table.waiting(), now) {
            self.act(act, now);
        }
        if self.link.ping(timing.quiet, timing.ping, now).is_err() {
            self.lose(&"the server does not answer", now);
        }
        if let Dial::At(at) = self.dial {
            if at <= now {
                self.dial = Dial::Running;
                self.dialer.order();
            }
        }
    }

    fn notice(&mut self, notice: Notice, now: Instant) {
        match notice {
            Notice::Dialed(result) => self.dialed(result, now),
            Notice::Fenced(fenced) => {
                if let Some(act) = self.monitor.fenced(fenced, self.table.waiting(), now) {
                    self.act(act, now);
                }
            }
            Notice::Retry => {
                if self.dial != Dial::Running && self.link.stream().is_none() {
                    self.dial = Dial::At(now);
                }
            }
        }
    }

    fn act(&mut self, act: Act, now: Instant) {
        match act {
            Act::Relink => {
                self.log(&"no answer in time: making the link anew");
                self.attempts = 0;
                self.lose(&"time-out", now);
            }
            Act::Fence => {
                self.log(&"no answer in time: asking the cluster to fence the server");
                self.fencer.order();
            }
            Act::Fail => {
                self.log(&"failing requests");
                self.fail(now);
            }
        }
    }

    /// An attempt to log in has ended.
    fn dialed(&mut self, result: Result<Session, RequestError>, now: Instant) {
        self.dial = Dial::Idle;
        let error = match result {
            Ok(session) if session.sectors != self.settings.sectors => {
                // Another device in the place of the old one: nothing may be written to it.
                self.log(&format_args!(
                    "size changed from {} to {} sectors: failing requests",
                    self.settings.sectors, session.sectors
                ));
                self.monitor.fail();
                self.fail(now);
                self.dial = Dial::At(now + self.settings.timing.retry_most);
                return;
            }
            Ok(session) => match self.adopt(session, now) {
                Ok(()) => {
                    if self.attempts > 0 {
                        self.log(&"connected again");
                    }
                    self.linked = now;
                    *self.login.lock().unwrap_or_else(PoisonError::into_inner) = since_boot();
                    self.monitor.logged_in(now);
                    return;
                }
                Err(error) => RequestError::Transfer(error),
            },
            Err(error) => error,
        };
        // The first of a series: the others say the same.
        if self.attempts <= 1 {
            self.log(&format_args!("failed to {error}"));
        }
        if error.is_final() {
            self.log(&"the server will not have us: failing requests");
            self.monitor.fail();
            self.fail(now);
            self.dial = Dial::Idle;
            return;
        }
        let away = self.away(now);
        let mut act = self.monitor.unreachable();
        if self.lost.by_server && error.is_refusal() {
            act = act.or_else(|| self.monitor.dead(away));
        }
        if let Some(act) = act {
            self.act(act, now);
        }
        self.dial = Dial::At(now + self.pause(now));
    }

    /// For how long there has been no link.
    fn away(&self, now: Instant) -> Duration {
        let since = self.lost.since.unwrap_or(now);
        now.saturating_duration_since(since)
    }

    fn adopt(&mut self, session: Session, now: Instant) -> io::Result<()> {
        let Timing { quiet, ping, .. } = self.settings.timing;
        let stream = session.stream;
        // Bytes that nobody acknowledges are as bad as silence.
        let limit = u32::try_from((quiet + ping).as_millis()).unwrap_or(u32::MAX);
        sockopt::set_tcp_user_timeout(&stream, limit)?;
        self.link.connect(stream, &mut self.table, now)
    }

    /// The pause before the next attempt.
    fn pause(&mut self, now: Instant) -> Duration {
        let Timing {
            retry_first,
            retry_most,
            ..
        } = self.settings.timing;
        self.attempts = self.attempts.saturating_add(1);
        (self.away(now) / 8).max(retry_first).min(retry_most)
    }

    /// The link has ended by itself.
    fn broken(&mut self, why: &LinkError, now: Instant) {
        let by_server = why.is_the_peers() && self.link.stream().is_some();
        self.lose(why, now);
        self.lost.by_server = by_server;
    }

    /// Gives the link up and sees to another.
    fn lose(&mut self, why: &dyn Display, now: Instant) {
        if self.link.stream().is_some() {
            self.log(&format_args!("link lost: {why}"));
            self.lost.by_server = false;
            // One that stood for a while was of use, though nobody asked for anything.
            if now.saturating_duration_since(self.linked) > self.settings.timing.retry_most {
                (self.attempts, self.lost.since) = (0, None);
            }
        }
        self.lost.since.get_or_insert(now);
        self.link.cut(&mut self.reads);
        if self.dial != Dial::Running {
            // A link that was of use is made anew at once, one that never was not.
            let pause = if self.attempts == 0 {
                Duration::ZERO
            } else {
                self.pause(now)
            };
            self.attempts = self.attempts.max(1);
            self.dial = Dial::At(now + pause);
        }
    }

    /// Fails everything that waits. The link goes first: what it may still hold must not be sent any more.
    fn fail(&mut self, now: Instant) {
        self.lose(&"requests are failed", now);
        let (writes, outbox) = (&mut self.writes, &mut self.outbox);
        self.table.fail_all(|buffer, finished| {
            writes.give(buffer);
            answer(outbox, finished);
        });
        self.questions.fail(&mut self.writes);
        self.full = true;
    }

    /// Takes in what the server sent.
    fn receive(&mut self, now: Instant) {
        for count in 1.. {
            match self.link.receive(&mut self.table, &mut self.reads, now) {
                Ok(None) => {
                    self.send();
                    if self.link.is_starved() && !self.reads.is_empty() {
                        continue;
                    }
                    break;
                }
                Ok(Some(Received::Answer { part, failed, data })) => {
                    // The link is of use.
                    (self.attempts, self.lost.since) = (0, None);
                    let length = self.table.part(part).map_or(0, |part| part.length as usize);
                    let (payload, finished) = self.table.complete(part, failed, now);
                    self.writes.give(payload);
                    match (data, finished) {
                        (Some(data), Some(finished)) => {
                            self.outbox.answer(
                                finished.cookie,
                                finished.error,
                                Body::Buffer(data, length),
                            );
                        }
                        (data, finished) => {
                            self.reads.give(data);
                            answer(&mut self.outbox, finished);
                        }
                    }
                }
                Ok(Some(_)) => {
                    // Goodbye.
                    self.said_goodbye = true;
                    self.link.cut(&mut self.reads);
                    return;
                }
                Err(error) => {
                    self.broken(&error, now);
                    break;
                }
            }
            if count % BATCH == 0 {
                self.send();
            }
        }
    }

    /// Takes in what the kernel asks.
    fn ask(&mut self, now: Instant) {
        let mut context = Context {
            table: &mut self.table,
            writes: &mut self.writes,
            outbox: &mut self.outbox,
            link: &mut self.link,
            sectors: self.settings.sectors,
            read_only: self.settings.read_only,
            refusing: self.monitor.is_failed(),
            now,
        };
        let end = match self.questions.take(&mut &self.kernel, &mut context) {
            Ok(turn) => {
                self.full = turn == Turn::Full;
                (turn == Turn::Disconnect).then_some(End::Disconnected)
            }
            Err(KernelError::BadMagic) => Some(End::NotNbd),
            Err(KernelError::Io(error)) => {
                self.log(&format_args!("the kernel is gone: {error}"));
                Some(End::KernelGone)
            }
        };
        if let Some(end) = end {
            self.drain(end, now);
        }
    }

    /// Sends what there is to send, both ways; whether the kernel took something.
    fn send(&mut self) -> bool {
        let now = Instant::now();
        if let Err(error) = self.link.flush(&mut self.table) {
            self.broken(&error.into(), now);
        }
        let flushed = self.outbox.flush(&mut &self.kernel, &mut self.reads);
        if flushed.is_err() {
            // Nobody is there to be answered.
            self.outbox.clear(&mut self.reads);
            if self.draining.is_none() {
                self.drain(End::KernelGone, now);
            }
        }
        flushed.unwrap_or(true)
    }

    /// The kernel has gone. What it asked for is done nevertheless, if that does not take long.
    fn drain(&mut self, end: End, now: Instant) {
        self.draining = Some((now + self.settings.timing.drain, end));
        self.full = false;
    }

    fn is_over(&mut self, now: Instant) -> Option<End> {
        let (until, end) = self.draining?;
        if self.table.is_empty() && self.link.stream().is_some() && !self.said_goodbye {
            self.said_goodbye = true;
            self.link.send_goodbye();
            self.send();
        }
        let idle = self.table.is_empty() && self.link.stream().is_none();
        (idle || now >= until).then_some(end)
    }

    /// Lets others see how it fares.
    fn post(&self) {
        self.remote.post(Status {
            connected: self.link.stream().is_some(),
            pending: self.table.len(),
            state: self.monitor.state(),
        });
    }

    fn log(&self, what: &dyn Display) {
        (self.settings.log)(&format!("{}: {what}", self.settings.device));
    }
}
