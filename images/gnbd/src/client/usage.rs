//! Whether somebody has a block device open, and waits for it. The nbd driver does not tell, unlike gnbd's.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags, open, stat};
use rustix::io::Errno;

/// Whether a device is open, mounted, or part of another. `processes` is `/proc`.
pub(super) fn is_open(device: &Path, processes: &Path) -> io::Result<bool> {
    if is_claimed(device)? {
        return Ok(true);
    }
    let number = stat(device)?.st_rdev;
    for process in processes.read_dir()? {
        let process = process?.path();
        let numeric = process.file_name().is_some_and(|name| {
            let mut bytes = name.as_encoded_bytes().iter();
            bytes.all(u8::is_ascii_digit)
        });
        if !numeric {
            continue;
        }
        // Processes come and go while one looks.
        let Ok(descriptors) = process.join("fd").read_dir() else {
            continue;
        };
        for descriptor in descriptors.flatten() {
            let found = stat(descriptor.path());
            if found.is_ok_and(|found| found.st_rdev == number && is_block(found.st_mode)) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Whether the kernel holds it for itself: file systems, swap and device-mapper claim what they use.
fn is_claimed(device: &Path) -> io::Result<bool> {
    if !device.metadata()?.file_type().is_block_device() {
        return Ok(false);
    }
    match open(
        device,
        OFlags::RDONLY | OFlags::EXCL | OFlags::CLOEXEC,
        Mode::empty(),
    ) {
        Err(Errno::BUSY) => Ok(true),
        // Or an error: a device without a connection cannot be opened, hence is not.
        _ => Ok(false),
    }
}

/// Whether the kernel has requests to a device under way. `sys` is `/sys`.
///
/// Requests that the driver has sent are counted in `inflight`. Those that it holds back, because its socket is dead,
/// have a tag and no more; they show where debugfs is mounted, as `busy=N` among the tags.
pub(super) fn is_pending(device: &str, sys: &Path) -> bool {
    let sent = read(&sys.join("block").join(device).join("inflight"));
    if sent.split_whitespace().any(|count| count != "0") {
        return true;
    }
    let queues = sys.join("kernel/debug/block").join(device).read_dir();
    let queues = queues.into_iter().flatten().flatten();
    queues.into_iter().any(|queue| {
        let tags = ["tags", "sched_tags"].map(|name| read(&queue.path().join(name)));
        let mut lines = tags.iter().flat_map(|text| text.lines());
        lines.any(|line| {
            let busy = line.strip_prefix("busy=");
            busy.is_some_and(|count| count != "0")
        })
    })
}

/// An empty text if there is none.
fn read(file: &Path) -> String {
    let mut text = String::new();
    let file = open(file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    match file.map(|file| File::from(file).read_to_string(&mut text)) {
        Ok(Ok(_)) => text,
        _ => String::new(),
    }
}

fn is_block(mode: u32) -> bool {
    rustix::fs::FileType::from_raw_mode(mode) == rustix::fs::FileType::BlockDevice
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_show_in_one_place_or_the_other() {
        let sys = tempfile::tempdir().unwrap();
        let put = |file: &str, text: &str| {
            let file = sys.path().join(file);
            fs_err::create_dir_all(file.parent().unwrap()).unwrap();
            fs_err::write(file, text).unwrap();
        };
        let tags =
            "nr_tags=128\nnr_reserved_tags=0\nactive_queues=0\n\nbitmap_tags:\ndepth=128\nbusy=0\n";
        assert!(!is_pending("nbd0", sys.path()));
        put("block/nbd0/inflight", "       0        0\n");
        put("kernel/debug/block/nbd0/state", "SAME_COMP\n");
        put("kernel/debug/block/nbd0/hctx0/tags", tags);
        assert!(!is_pending("nbd0", sys.path()));
        put(
            "kernel/debug/block/nbd0/hctx0/tags",
            &tags.replace("busy=0", "busy=12"),
        );
        assert!(is_pending("nbd0", sys.path()));
        put("kernel/debug/block/nbd0/hctx0/tags", tags);
        put("block/nbd0/inflight", "       0       10\n");
        assert!(is_pending("nbd0", sys.path()));
        assert!(!is_pending("nbd1", sys.path()));
    }
}
