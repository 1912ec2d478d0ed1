//! The Unix socket, on which `gnbd_export` and `gnbd_serv -k` come in. Its file's mode says who may.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;

use super::state::Shared;
use crate::protocol::local::{LocalRequest, SessionDescription};

/// Requests at once. INVALIDATE may wait long; the others do not.
const LIMIT: usize = 64;

/// Serves until `wake` becomes readable.
pub(super) fn run(shared: &Arc<Shared>, listener: &UnixListener, wake: &OwnedFd) {
    let serving = Arc::new(AtomicUsize::new(0));
    loop {
        let mut entries = [
            PollFd::new(wake, PollFlags::IN),
            PollFd::new(listener, PollFlags::IN),
        ];
        if poll(&mut entries, None).is_err() {
            continue;
        }
        if !entries[0].revents().is_empty() {
            return;
        }
        let Ok((stream, _)) = listener.accept() else {
            continue;
        };
        if serving.fetch_add(1, Ordering::SeqCst) >= LIMIT {
            serving.fetch_sub(1, Ordering::SeqCst);
            continue;
        }
        let (for_thread, shared) = (Arc::clone(&serving), Arc::clone(shared));
        let spawned = std::thread::Builder::new()
            .name("gnbd-local".to_owned())
            .stack_size(super::STACK)
            .spawn(move || {
                if let Err(error) = serve(&shared, &stream) {
                    shared
                        .log
                        .line(format_args!("failed to answer a local request: {error}"));
                }
                for_thread.fetch_sub(1, Ordering::SeqCst);
            });
        if spawned.is_err() {
            serving.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

fn serve(shared: &Shared, mut stream: &UnixStream) -> io::Result<()> {
    let patience = shared.limits.control_request;
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let mut number = [0; 4];
    match stream.read_exact(&mut number) {
        Ok(()) => {}
        // Somebody looked whether there is a server.
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
        Err(error) => return Err(error),
    }
    let Ok(size) = LocalRequest::body_size(number) else {
        return stream.write_all(&status(Err(Errno::NOTTY)));
    };
    let mut body = vec![0; size];
    stream.read_exact(&mut body)?;
    let Ok(request) = LocalRequest::decode(number, &body) else {
        return stream.write_all(&status(Err(Errno::INVAL)));
    };
    if request == LocalRequest::Shutdown {
        let closed = shared.close_for_shutdown();
        let written = stream.write_all(&status(closed));
        // Only now: the process ends before this thread.
        if closed.is_ok() {
            shared.shut_down();
        }
        return written;
    }
    stream.write_all(&reply(shared, request))
}

fn reply(shared: &Shared, request: LocalRequest) -> Vec<u8> {
    match request {
        LocalRequest::Create(export) => status(shared.create(*export)),
        LocalRequest::Remove(device) => status(shared.remove(&device)),
        LocalRequest::Invalidate(device) => status(shared.invalidate(&device)),
        LocalRequest::Exports => {
            let exports = shared.exports();
            // What the server keeps came in by the same record.
            let records = exports.iter().filter_map(|export| export.encode().ok());
            list(records.flatten().collect())
        }
        LocalRequest::Sessions => {
            let sessions = shared.sessions();
            list(
                sessions
                    .iter()
                    .flat_map(SessionDescription::encode)
                    .collect(),
            )
        }
        LocalRequest::Validate => {
            shared.validate();
            status(Ok(()))
        }
        // Answered before it comes here.
        LocalRequest::Shutdown => status(Ok(())),
    }
}

fn status(result: Result<(), Errno>) -> Vec<u8> {
    let status = result.map_or_else(Errno::raw_os_error, |()| 0);
    status.to_ne_bytes().to_vec()
}

fn list(records: Vec<u8>) -> Vec<u8> {
    let mut reply = status(Ok(()));
    reply.extend(u32::try_from(records.len()).unwrap_or(0).to_ne_bytes());
    reply.extend(records);
    reply
}
