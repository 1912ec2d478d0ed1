//! The switch's thread: waits for sockets, learns addresses, forwards frames.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::mpsc::UnboundedSender;

use super::counters::Counters;
use super::event::SwitchEvent;
use super::impairment::{Fate, Impairment, ImpairmentId, Pair};
use super::late::Late;
use super::link::{Input, Link};
use super::pairs::Impairments;
use super::pcap::Capture;
use super::tap::Tap;
use super::wire::{self, Mac, Next, PREFIX};

/// Addresses remembered; a guest that invents more makes the switch forget all and learn anew.
const ADDRESSES: usize = 1024;

/// How long the network is quiet before what a capture has buffered is written to its file.
const CAPTURE_FLUSH: Duration = Duration::from_millis(200);

/// A port that the handle made, on its way to the thread.
pub(super) struct NewPort {
    pub(super) name: String,
    pub(super) listener: UnixListener,
    pub(super) capture: Option<Capture>,
    pub(super) counters: Arc<Counters>,
}

/// What the handle asks for. Who waits for an order hears of it by `done`.
pub(super) enum Order {
    Port(NewPort),
    /// A port that is not there is no error.
    Tap {
        port: String,
        tap: Tap,
    },
    Impair {
        id: ImpairmentId,
        seed: u64,
        impairments: Vec<Impairment>,
        done: mpsc::Sender<()>,
    },
    Restore {
        id: ImpairmentId,
        done: mpsc::Sender<()>,
    },
}

/// The thread ends when the handle's end of the channel is gone.
pub(super) type Orders = mpsc::Receiver<Order>;

struct Port {
    name: String,
    listener: UnixListener,
    link: Option<Link>,
    capture: Option<Capture>,
    taps: Vec<Tap>,
    counters: Arc<Counters>,
}

impl Port {
    /// Whether somebody wants to see what it carries.
    fn is_watched(&self) -> bool {
        self.capture.is_some() || !self.taps.is_empty()
    }
}

/// Where frames go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Destination {
    Port(usize),
    /// Everywhere but where it came from.
    Flood,
    /// Back to where it came from, or nowhere: a runt.
    Nowhere,
}

pub(super) struct Engine {
    ports: Vec<Port>,
    table: HashMap<Mac, usize>,
    impairments: Impairments,
    late: Late,
    orders: Orders,
    wake: Arc<OwnedFd>,
    events: UnboundedSender<SwitchEvent>,
}

impl Engine {
    pub(super) fn new(
        orders: Orders,
        wake: Arc<OwnedFd>,
        events: UnboundedSender<SwitchEvent>,
    ) -> Self {
        Self {
            ports: Vec::new(),
            table: HashMap::new(),
            impairments: Impairments::default(),
            late: Late::default(),
            orders,
            wake,
            events,
        }
    }

    /// Serves until the handle is gone.
    pub(super) fn run(mut self) {
        let mut ready = Vec::new();
        loop {
            match self.wait(&mut ready) {
                Ok(woken) => {
                    if woken && !self.take_orders() {
                        break;
                    }
                }
                Err(error) => {
                    self.tell(SwitchEvent::Ended {
                        reason: error.to_string(),
                    });
                    break;
                }
            }
            if !self.late.is_empty() {
                self.release_due();
            }
            for (index, listener, link) in ready.drain(..) {
                if !link.is_empty() {
                    self.serve(index, link);
                }
                if !listener.is_empty() {
                    self.accept(index);
                }
            }
            for (index, port) in self.ports.iter().enumerate() {
                let queued = port.link.as_ref().map_or(0, Link::queued);
                port.counters.queued(queued + self.late.queued(index));
            }
        }
        self.flush_captures();
    }

    /// Waits for sockets and for late frames to be due; says whether the handle woke the thread. `ready` gets port,
    /// listener's and link's state.
    fn wait(&mut self, ready: &mut Vec<(usize, PollFlags, PollFlags)>) -> io::Result<bool> {
        let dirty = self
            .ports
            .iter()
            .any(|port| port.capture.as_ref().is_some_and(|capture| capture.dirty));
        let flush = dirty.then_some(CAPTURE_FLUSH);
        let due = self.late.next_due();
        let mut fds = Vec::with_capacity(1 + 2 * self.ports.len());
        fds.push(PollFd::new(&self.wake, PollFlags::IN));
        for port in &self.ports {
            fds.push(PollFd::new(&port.listener, PollFlags::IN));
        }
        for port in &self.ports {
            if let Some(link) = &port.link {
                let out = if link.has_queue() {
                    PollFlags::OUT
                } else {
                    PollFlags::empty()
                };
                fds.push(PollFd::new(&link.stream, PollFlags::IN | out));
            }
        }
        let (count, patience) = loop {
            let due = due.map(|due| due.saturating_duration_since(Instant::now()));
            let patience = flush.into_iter().chain(due).min();
            let timeout = patience.and_then(|patience| Timespec::try_from(patience).ok());
            match poll(&mut fds, timeout.as_ref()) {
                Err(rustix::io::Errno::INTR) => {}
                other => break (other?, patience),
            }
        };
        let mut states = fds.iter().map(PollFd::revents);
        let woken = states.next().is_some_and(|state| !state.is_empty());
        ready.extend(
            states
                .by_ref()
                .take(self.ports.len())
                .enumerate()
                .map(|(i, state)| (i, state, PollFlags::empty())),
        );
        let linked = ready
            .iter_mut()
            .zip(&self.ports)
            .filter(|(_, port)| port.link.is_some());
        for ((entry, _), state) in linked.zip(states) {
            entry.2 = state;
        }
        drop(fds);
        if count == 0 && patience == flush {
            self.flush_captures();
        }
        Ok(woken)
    }

    /// Carries orders out; false when the handle is gone.
    fn take_orders(&mut self) -> bool {
        let mut ignored = [0; 8];
        // The count in the eventfd says nothing that the channel does not say better.
        let _ = rustix::io::read(&*self.wake, &mut ignored);
        loop {
            match self.orders.try_recv() {
                Ok(Order::Port(new)) => self.ports.push(Port {
                    name: new.name,
                    listener: new.listener,
                    link: None,
                    capture: new.capture,
                    taps: Vec::new(),
                    counters: new.counters,
                }),
                Ok(Order::Tap { port, tap }) => {
                    if let Some(port) = self.ports.iter_mut().find(|one| one.name == port) {
                        port.taps.push(tap);
                    }
                }
                Ok(Order::Impair {
                    id,
                    seed,
                    impairments,
                    done,
                }) => {
                    let name = |port: usize| &*self.ports[port].name;
                    self.impairments.add(id, seed, impairments, name);
                    // Nobody need wait.
                    let _ = done.send(());
                }
                Ok(Order::Restore { id, done }) => {
                    self.impairments.remove(id);
                    let _ = done.send(());
                }
                Err(mpsc::TryRecvError::Empty) => return true,
                Err(mpsc::TryRecvError::Disconnected) => return false,
            }
        }
    }

    /// A QEMU connects, for the first time or again: the newest connection is the port's.
    fn accept(&mut self, index: usize) {
        let port = &mut self.ports[index];
        let name = port.name.clone();
        match port
            .listener
            .accept()
            .and_then(|(stream, _)| Link::new(stream))
        {
            Ok(link) => {
                port.link = Some(link);
                self.tell(SwitchEvent::Connected { port: name });
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => self.tell(SwitchEvent::Disconnected {
                port: name,
                reason: error.to_string(),
            }),
        }
    }

    fn serve(&mut self, index: usize, state: PollFlags) {
        let Some(link) = &mut self.ports[index].link else {
            return;
        };
        if state.contains(PollFlags::OUT)
            && let Err(error) = link.flush()
        {
            return self.disconnect(index, error.to_string());
        }
        // A hang-up may leave bytes to read: end with what read says.
        if state.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
            match link.read() {
                Input::Ended => self.disconnect(index, "closed by its peer".to_owned()),
                Input::Bytes => self.forward_input(index),
            }
        }
    }

    /// Forwards all whole frames that `from` has in its input.
    fn forward_input(&mut self, from: usize) {
        let Some(link) = &mut self.ports[from].link else {
            return;
        };
        let (input, filled) = link.take_input();
        let stream = &input[..filled];
        // Neighbours that go the same way are forwarded in one piece: stream[begin..end].
        let (mut begin, mut end, mut count, mut way) = (0, 0, 0, Destination::Nowhere);
        let mut sent = (0, 0);
        let malformed = loop {
            match wire::next(&stream[end..]) {
                Next::Whole(bytes) => {
                    let frame = &stream[end..end + bytes];
                    let destination = self.destination(from, frame);
                    if destination != way {
                        self.forward(from, way, &stream[begin..end], count);
                        (begin, count, way) = (end, 0, destination);
                    }
                    end += bytes;
                    count += 1;
                    sent = (sent.0 + 1, sent.1 + bytes as u64 - PREFIX as u64);
                    if self.ports[from].is_watched() {
                        self.capture(from, frame);
                    }
                }
                Next::Partial => break None,
                Next::Malformed(length) => break Some(length),
            }
        };
        self.forward(from, way, &stream[begin..end], count);
        self.ports[from].counters.sent(sent.0, sent.1);
        if let Some(length) = malformed {
            self.ports[from].link = None;
            let port = self.ports[from].name.clone();
            return self.tell(SwitchEvent::Malformed { port, length });
        }
        if let Some(link) = &mut self.ports[from].link {
            link.return_input(input, end);
        }
    }

    /// Learns where the frame's sender is, and looks up where its receiver is.
    fn destination(&mut self, from: usize, frame: &[u8]) -> Destination {
        let Some((destination, source)) = wire::addresses(frame) else {
            return Destination::Nowhere;
        };
        if let Some(link) = &mut self.ports[from].link
            && link.last_source != Some(source)
            && !source.is_multicast()
        {
            link.last_source = Some(source);
            if self.table.len() >= ADDRESSES {
                self.table.clear();
            }
            self.table.insert(source, from);
        }
        match self.table.get(&destination) {
            Some(&port) if port == from => Destination::Nowhere,
            Some(&port) => Destination::Port(port),
            None => Destination::Flood,
        }
    }

    fn forward(&mut self, from: usize, way: Destination, frames: &[u8], count: u64) {
        // What is due by now is not overtaken.
        let now = (!self.impairments.is_empty()).then(|| self.release_due());
        match way {
            Destination::Port(to) => self.pass(from, to, frames, count, now),
            Destination::Flood => {
                for to in (0..self.ports.len()).filter(|to| *to != from) {
                    if self.ports[to].link.is_some() {
                        self.pass(from, to, frames, count, now);
                    }
                }
            }
            Destination::Nowhere => {}
        }
    }

    /// Frames go from one port to another. `None`: nothing is done to any.
    fn pass(&mut self, from: usize, to: usize, frames: &[u8], count: u64, now: Option<Instant>) {
        match now {
            Some(now) if self.pair(from, to).is_some() => self.impair(from, to, frames, now),
            _ => self.deliver(to, frames, count),
        }
    }

    /// What is done to frames from one port to another.
    fn pair(&mut self, from: usize, to: usize) -> Option<&mut Pair> {
        let ports = &self.ports;
        let name = |port: usize| &*ports[port].name;
        self.impairments.between(from, to, name)
    }

    /// Delivers frames that come now: at once or later, changed, twice, or not at all.
    fn impair(&mut self, from: usize, to: usize, frames: &[u8], now: Instant) {
        for frame in wire::frames(frames) {
            let room = self.late.has_room(frame.len());
            let fate = self.pair(from, to).map(|pair| pair.fate(frame, now, room));
            match fate {
                Some(Fate::Passes(passage)) if passage.due > now => {
                    let altered = passage.altered(frame).into_owned();
                    let (due, copies) = (passage.due, passage.copies);
                    self.late.add(due, to, altered.into_boxed_slice(), copies);
                }
                Some(Fate::Passes(passage)) => {
                    let altered = passage.altered(frame);
                    for _ in 0..passage.copies {
                        self.deliver(to, &altered, 1);
                    }
                }
                Some(Fate::Lost) => self.ports[to].counters.lost(1),
                None => self.deliver(to, frame, 1),
            }
        }
    }

    /// Delivers late frames that are due by now; says when that is.
    fn release_due(&mut self) -> Instant {
        let now = Instant::now();
        while let Some(waiting) = self.late.take_due(now) {
            for _ in 0..waiting.copies {
                self.deliver(waiting.to, &waiting.frame, 1);
            }
        }
        now
    }

    fn deliver(&mut self, to: usize, frames: &[u8], count: u64) {
        let port = &mut self.ports[to];
        let watched = port.is_watched();
        let Some(link) = &mut port.link else {
            port.counters.dropped(count);
            return;
        };
        if watched && count > 1 {
            // One by one: what is dropped is not in the file.
            for frame in wire::frames(frames) {
                self.deliver(to, frame, 1);
            }
            return;
        }
        match link.send(frames) {
            Ok((dropped, dropped_bytes)) => {
                let bytes = frames.len() as u64 - dropped_bytes;
                port.counters
                    .received(count - dropped, bytes - (count - dropped) * PREFIX as u64);
                port.counters.dropped(dropped);
                if dropped == 0 && watched {
                    self.capture(to, frames);
                }
            }
            Err(error) => {
                port.counters.dropped(count);
                self.disconnect(to, error.to_string());
            }
        }
    }

    /// Shows one frame, given with its prefix, to those who watch the port, and writes it to the port's file; a file that fails
    /// ends, the port does not.
    fn capture(&mut self, index: usize, frame: &[u8]) {
        let port = &mut self.ports[index];
        port.taps.retain(|tap| tap.frame(&frame[PREFIX..]));
        if let Some(Err(error)) = port
            .capture
            .as_mut()
            .map(|capture| capture.frame(&frame[PREFIX..]))
        {
            port.capture = None;
            let port = port.name.clone();
            self.tell(SwitchEvent::CaptureEnded {
                port,
                reason: error.to_string(),
            });
        }
    }

    fn flush_captures(&mut self) {
        for index in 0..self.ports.len() {
            let port = &mut self.ports[index];
            if let Some(Err(error)) = port.capture.as_mut().map(Capture::flush) {
                port.capture = None;
                let port = port.name.clone();
                self.tell(SwitchEvent::CaptureEnded {
                    port,
                    reason: error.to_string(),
                });
            }
        }
    }

    fn disconnect(&mut self, index: usize, reason: String) {
        let port = &mut self.ports[index];
        port.link = None;
        let port = port.name.clone();
        self.tell(SwitchEvent::Disconnected { port, reason });
    }

    /// Nobody need listen.
    fn tell(&self, event: SwitchEvent) {
        let _ = self.events.send(event);
    }
}
