//! Control requests, carried out.

use std::io::{self, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::login::login;
use super::state::Shared;
use crate::protocol::{LoginReply, NodeName, Number, ProtocolError, Request, list_reply};

/// Answers a request on a thread of its own, if one is left for it. The connection is closed after that, but for LOGIN.
pub(super) fn answer_aside(
    shared: &Arc<Shared>,
    stream: TcpStream,
    number: Number,
    request: Result<Request, ProtocolError>,
) {
    // Counted here and not by the thread, which may start late.
    if shared.answering.fetch_add(1, Ordering::SeqCst) >= shared.limits.answering {
        shared.answering.fetch_sub(1, Ordering::SeqCst);
        shared
            .log
            .line("closed a connection: there are too many requests");
        return;
    }
    let for_thread = Arc::clone(shared);
    let spawned = std::thread::Builder::new()
        .name("gnbd-request".to_owned())
        .stack_size(super::STACK)
        .spawn(move || answer(&for_thread, stream, number, request));
    if let Err(error) = spawned {
        shared.answering.fetch_sub(1, Ordering::SeqCst);
        shared
            .log
            .line(format_args!("failed to start a thread: {error}"));
    }
}

fn answer(
    shared: &Arc<Shared>,
    stream: TcpStream,
    number: Number,
    request: Result<Request, ProtocolError>,
) {
    // A peer that does not read its answer is not waited for longer than one that does not ask.
    let prepared = stream
        .set_nonblocking(false)
        .and_then(|()| stream.set_write_timeout(Some(shared.limits.control_request)));
    let counted = Counted(shared);
    if let Err(error) = prepared {
        shared
            .log
            .line(format_args!("failed to prepare a connection: {error}"));
        return;
    }
    match request {
        Ok(Request::Login(request)) => {
            // From here on it is a session, and counted as such.
            drop(counted);
            login(shared, stream, request);
        }
        Ok(request) => {
            let reply = reply(shared, &stream, &request);
            // Whoever does not wait for the answer has it not.
            let _ = (&stream).write_all(&reply);
        }
        Err(error) => {
            shared.log.line(format_args!(
                "refused a request from {}: failed to {error}",
                peer(&stream)
            ));
            let _ = (&stream).write_all(&invalid(number));
        }
    }
}

struct Counted<'a>(&'a Shared);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.answering.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A name that cannot be one.
fn invalid(number: Number) -> Vec<u8> {
    match number {
        Number::Login => LoginReply::Refused { errno: 22 }.encode().to_vec(),
        _ => status(Err(Errno::INVAL)),
    }
}

fn reply(shared: &Shared, stream: &TcpStream, request: &Request) -> Vec<u8> {
    let asker_waits = || !has_hung_up(stream);
    match request {
        // LOGIN is no request with a reply alone.
        Request::Names | Request::Login(_) => {
            let state = shared.lock();
            let records = state.exports.records().flat_map(|record| record.encode());
            list_reply(&records.collect::<Vec<u8>>())
        }
        Request::Fence(_) if !shared.cluster => status(Err(Errno::OPNOTSUPP)),
        Request::Fence(node) => {
            if let Err(errno) = shared.lock().fences.ban(node) {
                return status(Err(errno));
            }
            shared.log.line(format_args!("fenced {node}"));
            ended(shared.end_sessions(|link| link.node == *node, asker_waits))
        }
        Request::Unfence(node) => {
            shared.lock().fences.lift(node);
            shared.log.line(format_args!("unfenced {node}"));
            status(Ok(()))
        }
        Request::ListBanned => {
            let state = shared.lock();
            let nodes = state.fences.banned().iter().flat_map(NodeName::encode);
            list_reply(&nodes.collect::<Vec<u8>>())
        }
        Request::KillServer { device, node } => {
            let known = shared.lock().exports.find(device).is_some();
            if !known {
                return status(Err(Errno::NODEV));
            }
            ended(shared.end_sessions(
                |link| link.device == *device && link.node == *node,
                asker_waits,
            ))
        }
        Request::NodeName => string_reply(shared.node.as_str()),
        Request::Uid(device) => match shared.lock().exports.uid(device) {
            Ok(uid) if uid.is_empty() => list_reply(&[]),
            Ok(uid) => string_reply(uid.as_str()),
            Err(errno) => status(Err(errno)),
        },
    }
}

/// Success is said only when it is true, were it to somebody who has gone.
fn ended(all: bool) -> Vec<u8> {
    status(all.then_some(()).ok_or(Errno::INTR))
}

/// The reply that is a status alone.
fn status(result: Result<(), Errno>) -> Vec<u8> {
    let status = result.map_or_else(Errno::raw_os_error, |()| 0);
    status.to_be_bytes().to_vec()
}

/// A string with its NUL.
fn string_reply(text: &str) -> Vec<u8> {
    list_reply(format!("{text}\0").as_bytes())
}

/// No client closes its half of the connection before the answer.
fn has_hung_up(stream: &TcpStream) -> bool {
    let mut entry = [PollFd::new(stream, PollFlags::RDHUP)];
    let now = Timespec::default();
    poll(&mut entry, Some(&now)).is_ok_and(|ready| ready > 0)
}

pub(super) fn peer(stream: &TcpStream) -> String {
    let unknown = |_: io::Error| "an unknown peer".to_owned();
    stream
        .peer_addr()
        .map_or_else(unknown, |address| address.to_string())
}
