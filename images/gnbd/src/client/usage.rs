//! Whether somebody has a block device open. The nbd driver does not tell, unlike gnbd's.

use std::io;
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

fn is_block(mode: u32) -> bool {
    rustix::fs::FileType::from_raw_mode(mode) == rustix::fs::FileType::BlockDevice
}
