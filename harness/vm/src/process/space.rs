//! Whether a QEMU died because the host had no space left.

use std::io;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::process::status::Status;

/// So little counts as nothing, bytes: others may have given something back since.
const NOTHING: u64 = 1 << 20;

/// The first of these files and folders whose file system is full, of a QEMU that was killed by SIGBUS: so ends who writes to
/// a mapped file, such as a guest's memory, for which there is no space.
pub(crate) fn full(
    status: Status,
    places: &[&Path],
    free_bytes: impl Fn(&Path) -> io::Result<u64>,
) -> Option<PathBuf> {
    if status != Status::Signalled(Signal::BUS.as_raw()) {
        return None;
    }
    // What cannot be looked at is not known to be full.
    let is_full = |place: &&&Path| free_bytes(place).is_ok_and(|free| free < NOTHING);
    places.iter().find(is_full).map(|place| place.to_path_buf())
}

/// Bytes that an ordinary user could write there.
pub(crate) fn free_bytes(place: &Path) -> io::Result<u64> {
    let found = rustix::fs::statvfs(place)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sigbus_on_a_full_file_system_is_no_space() {
        let places = [Path::new("/run/vix0"), Path::new("/cache/vix0.ram")];
        let free = |place: &Path| match place.to_str() {
            Some("/run/vix0") => Ok(1 << 30),
            Some("/cache/vix0.ram") => Ok(4096),
            _ => Err(io::ErrorKind::NotFound.into()),
        };
        let bus = Status::Signalled(Signal::BUS.as_raw());
        assert_eq!(full(bus, &places, free).as_deref(), Some(places[1]));
        assert_eq!(full(bus, &places[..1], free), None, "there is space");
        assert_eq!(full(bus, &[Path::new("/gone")], free), None);
        let killed = Status::Signalled(Signal::KILL.as_raw());
        assert_eq!(full(killed, &places, free), None);
        assert_eq!(bus.to_string(), "was ended by SIGBUS");
        assert!(free_bytes(Path::new("/")).is_ok());
    }
}
