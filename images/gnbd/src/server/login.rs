//! LOGIN: from a control request to the data phase, in the order of checks that clients know.

use std::io::{self, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use rustix::io::Errno;

use super::backing::open_backing;
use super::data::{Volume, serve};
use super::link::Link;
use super::state::Shared;
use crate::protocol::{LoginReply, LoginRequest, SECTOR_SIZE, VERSION};

/// Serves the client until it has gone, or refuses it.
pub(super) fn login(shared: &Arc<Shared>, stream: TcpStream, request: LoginRequest) {
    if request.version != VERSION {
        let _ = say(&stream, LoginReply::WrongVersion { version: VERSION });
        return;
    }
    let LoginRequest {
        timestamp,
        device,
        node,
        ..
    } = request;
    let link = Arc::new(Link::new(device, node, stream));
    // The ban is looked at and the connection entered in one step: a FENCE comes before, and is seen here, or after,
    // and then it ends this connection and waits for that.
    let admitted = {
        let mut state = shared.lock();
        let target = state
            .fences
            .admit(&link.node, timestamp)
            .and_then(|()| state.exports.target(&link.device));
        match target {
            Err(errno) => Err(errno),
            Ok(target) if state.has_room(&shared.limits) => Ok((target, state.seat(shared, &link))),
            Ok(_) => {
                drop(state);
                shared.log.line(format_args!(
                    "closed a connection of {} for {}: there are too many",
                    link.node, link.device
                ));
                return;
            }
        }
    };
    let (target, seat) = match admitted {
        Ok(admitted) => admitted,
        Err(errno) => return refuse(&link, errno),
    };
    let backing = match open_backing(&target.path, target.read_only, target.uncached) {
        Ok(backing) if backing.sectors == target.sectors => backing,
        Ok(backing) => {
            shared.log.line(format_args!(
                "refused {} of {}: {} has {} sectors and had {} when it was exported",
                link.device,
                link.node,
                target.path.display(),
                backing.sectors,
                target.sectors
            ));
            return refuse(&link, Errno::IO);
        }
        Err(errno) => {
            shared.log.line(format_args!(
                "failed to open {} for {}: {}",
                target.path.display(),
                link.node,
                io::Error::from(errno)
            ));
            return refuse(&link, errno);
        }
    };
    let welcome = LoginReply::Welcome {
        sectors: target.sectors,
    };
    if say(&link.stream, welcome).is_err() {
        return;
    }
    let volume = Volume {
        file: backing.file,
        size: target.sectors * SECTOR_SIZE,
        read_only: target.read_only,
        uncached: target.uncached,
    };
    serve(shared, &link, volume, seat);
}

fn refuse(link: &Link, errno: Errno) {
    // Linux has no errno above 133.
    let errno = u8::try_from(errno.raw_os_error()).unwrap_or(u8::MAX);
    let _ = say(&link.stream, LoginReply::Refused { errno });
}

fn say(mut stream: &TcpStream, reply: LoginReply) -> io::Result<()> {
    stream.write_all(&reply.encode())
}
