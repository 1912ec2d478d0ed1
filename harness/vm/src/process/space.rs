//! Whether a QEMU died because the host had no space left.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use procfs::process::{MountInfo, Process};
use rustix::process::Signal;

use crate::process::status::Status;

/// So little counts as nothing, bytes: some file systems keep a few MiB for themselves.
const NOTHING: u64 = 16 << 20;

/// A file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSystem {
    /// A file or folder that lies in it.
    pub place: PathBuf,
    /// Where it is mounted.
    pub mount_point: PathBuf,
    /// Its type, such as `tmpfs`.
    pub kind: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Bytes that an ordinary user could still write.
    pub free_bytes: u64,
}

impl FileSystem {
    /// The one that a file or folder lies in.
    pub(crate) fn of(place: &Path) -> io::Result<Self> {
        let found = rustix::fs::statvfs(place)?;
        let mount = mount_of(place)?;
        Ok(Self {
            place: place.to_owned(),
            mount_point: mount.mount_point,
            kind: mount.fs_type,
            bytes: found.f_blocks.saturating_mul(found.f_frsize),
            free_bytes: found.f_bavail.saturating_mul(found.f_frsize),
        })
    }
}

/// Of one without space, and how to get some.
impl fmt::Display for FileSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            place,
            mount_point,
            kind,
            bytes,
            free_bytes,
        } = self;
        write!(
            f,
            "the {kind} at {} ({} of {} MiB free by now), where {} lies; make room there, or choose other folders by SANLAB_CACHE \
             (the store) and SANLAB_RUNTIME (running fleets)",
            mount_point.display(),
            free_bytes >> 20,
            bytes >> 20,
            place.display()
        )
    }
}

/// The first of the file systems of these files and folders that is full, of a QEMU that was killed by SIGBUS: so ends who
/// writes to a mapped file, such as a guest's memory, for which there is no space. With each stands how many bytes QEMU could
/// have written there: what others have given back since may be less than that.
pub(crate) fn full(
    status: Status,
    places: &[(&Path, u64)],
    file_system: impl Fn(&Path) -> io::Result<FileSystem>,
) -> Option<FileSystem> {
    if status != Status::Signalled(Signal::BUS.as_raw()) {
        return None;
    }
    let mut full = places.iter().filter_map(|(place, wanted)| {
        // What cannot be looked at is not known to be full.
        let found = file_system(place).ok()?;
        (found.free_bytes < NOTHING.max(*wanted)).then_some(found)
    });
    full.next()
}

/// The mount that a path is below: of those with the longest path, the one mounted last.
fn mount_of(place: &Path) -> io::Result<MountInfo> {
    let place = fs_err::canonicalize(place)?;
    let mounts = Process::myself().and_then(|process| process.mountinfo());
    let above = mounts
        .map_err(io::Error::other)?
        .into_iter()
        .filter(|mount| place.starts_with(&mount.mount_point));
    above
        .max_by_key(|mount| mount.mount_point.components().count())
        .ok_or_else(|| io::ErrorKind::NotFound.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sigbus_on_a_full_file_system_is_no_space() {
        let places = [
            (Path::new("/run/vix0"), 0),
            (Path::new("/cache/vix0.ram"), 256 << 20),
        ];
        let found = |place: &Path| {
            let (mount_point, kind, free_bytes) = match place.to_str() {
                Some("/run/vix0") => ("/run", "tmpfs", 1 << 30),
                Some("/cache/vix0.ram") => ("/cache", "ext4", 60 << 20),
                _ => return Err(io::ErrorKind::NotFound.into()),
            };
            Ok(FileSystem {
                place: place.to_owned(),
                mount_point: mount_point.into(),
                kind: kind.to_owned(),
                bytes: 8 << 30,
                free_bytes,
            })
        };
        let bus = Status::Signalled(Signal::BUS.as_raw());
        let told = full(bus, &places, found).map(|full| full.to_string());
        insta::assert_snapshot!(told.unwrap(), @"the ext4 at /cache (60 of 8192 MiB free by now), where /cache/vix0.ram lies; make room there, or choose other folders by SANLAB_CACHE (the store) and SANLAB_RUNTIME (running fleets)");
        assert_eq!(full(bus, &places[..1], found), None, "there is space");
        assert_eq!(full(bus, &[(Path::new("/gone"), 0)], found), None);
        let killed = Status::Signalled(Signal::KILL.as_raw());
        assert_eq!(full(killed, &places, found), None);
        assert_eq!(bus.to_string(), "was ended by SIGBUS");
    }

    #[test]
    fn a_place_is_in_the_innermost_mount() {
        let proc = FileSystem::of(Path::new("/proc/self/stat")).unwrap();
        assert_eq!(
            (proc.mount_point.to_str(), proc.kind.as_str()),
            (Some("/proc"), "proc")
        );
    }
}
