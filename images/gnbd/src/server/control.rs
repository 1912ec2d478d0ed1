//! Accepting connections, and gathering each one's control request.
//!
//! One thread watches all connections whose request is not whole, so that thousands of them cost no threads; when
//! there are too many, the oldest goes, which is never the one of a client that speaks at once.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;

use super::answer::{answer_aside, peer};
use super::listener::prepare;
use super::question::{Heard, Question};
use super::state::Shared;

/// How long no connection is accepted when the process has no descriptor left.
const BREATHER: Duration = Duration::from_millis(100);

/// A connection that has not said all yet.
struct Asking {
    stream: TcpStream,
    deadline: Instant,
    question: Question,
}

/// Accepts until `wake` becomes readable.
pub(super) fn run(shared: &Arc<Shared>, listener: &TcpListener, wake: &OwnedFd) {
    let mut asking: VecDeque<Asking> = VecDeque::new();
    let mut accept_again = Instant::now();
    loop {
        let now = Instant::now();
        let accepting = now >= accept_again;
        let mut entries = vec![
            PollFd::new(wake, PollFlags::IN),
            PollFd::new(
                listener,
                if accepting {
                    PollFlags::IN
                } else {
                    PollFlags::empty()
                },
            ),
        ];
        entries.extend(
            asking
                .iter()
                .map(|one| PollFd::new(&one.stream, PollFlags::IN)),
        );
        // All have the same patience: the first is the first to be late.
        let deadline = asking.front().map(|one| one.deadline);
        let deadline = deadline
            .into_iter()
            .chain((!accepting).then_some(accept_again))
            .min();
        let left = deadline.map(|deadline| timespec(deadline.saturating_duration_since(now)));
        if poll(&mut entries, left.as_ref()).is_err() {
            // Interrupted, or out of memory for a moment: look again.
            continue;
        }
        let ready: Vec<bool> = entries
            .iter()
            .map(|entry| !entry.revents().is_empty())
            .collect();
        drop(entries);
        if ready[0] {
            return;
        }
        hear_all(shared, &mut asking, &ready[2..]);
        if ready[1] && accept(shared, listener, &mut asking).is_err() {
            // Who has been silent longest has had its time.
            shared
                .log
                .line("failed to accept a connection: out of descriptors or memory");
            asking.pop_front();
            accept_again = Instant::now() + BREATHER;
        }
    }
}

fn hear_all(shared: &Arc<Shared>, asking: &mut VecDeque<Asking>, ready: &[bool]) {
    let now = Instant::now();
    let mut ready = ready.iter();
    let still = asking.drain(..).filter_map(|one| {
        let one = if ready.next().copied().unwrap_or(false) {
            settle(shared, one)?
        } else {
            one
        };
        if now < one.deadline {
            return Some(one);
        }
        shared.log.line(format_args!(
            "closed a connection of {}: no request came in time",
            peer(&one.stream)
        ));
        None
    });
    *asking = still.collect();
}

/// Listens to one; it is given back if there is more to come.
fn settle(shared: &Arc<Shared>, mut one: Asking) -> Option<Asking> {
    match one.question.hear(&mut one.stream) {
        Heard::Part => return Some(one),
        Heard::Nothing(None) => {}
        Heard::Nothing(Some(reason)) => shared.log.line(format_args!(
            "closed a connection of {}: {reason}",
            peer(&one.stream)
        )),
        Heard::KernelRequest(number) => {
            answer_aside(shared, one.stream, number, one.question.request(number));
        }
    }
    None
}

/// Accepts whoever waits. The error is a want of descriptors or memory.
fn accept(
    shared: &Arc<Shared>,
    listener: &TcpListener,
    asking: &mut VecDeque<Asking>,
) -> io::Result<()> {
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                if prepare(&stream).is_err() {
                    // It has gone already.
                    continue;
                }
                let one = Asking {
                    stream,
                    deadline: Instant::now() + shared.limits.control_request,
                    question: Question::new(),
                };
                let Some(one) = settle(shared, one) else {
                    continue;
                };
                if asking.len() >= shared.limits.asking {
                    asking.pop_front();
                    shared
                        .log
                        .line("closed a connection: too many have no request");
                }
                asking.push_back(one);
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => return Ok(()),
                ErrorKind::Interrupted | ErrorKind::ConnectionAborted => {}
                _ => return Err(error),
            },
        }
    }
}

/// Rounded up, so that the time has passed when it is over.
fn timespec(duration: Duration) -> Timespec {
    let millis = i64::try_from(duration.as_millis())
        .unwrap_or(i64::MAX)
        .saturating_add(1);
    Timespec {
        tv_sec: millis / 1000,
        tv_nsec: (millis % 1000) * 1_000_000,
    }
}
