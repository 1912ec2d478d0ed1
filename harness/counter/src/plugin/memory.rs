//! The file's pages in QEMU's memory.

#![expect(unsafe_code, reason = "memory is shared with a file")]

use std::ffi::c_void;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering::Relaxed};

use fs_err::{File, OpenOptions};
use rustix::mm::{MapFlags, ProtFlags, mmap};

use crate::file::{LOADED, LOST, STATE, header, page, place};

/// What a virtual processor gets of a scoreboard: wherever it begins, a whole page is in it.
pub(super) fn element_bytes() -> usize {
    2 * page()
}

/// A file to count in.
pub(super) struct Pages {
    file: File,
    cpus: u8,
    first: AtomicPtr<c_void>,
}

impl Pages {
    /// A file that was made for that many virtual processors.
    pub(super) fn open(path: &Path, cpus: u8) -> io::Result<Self> {
        use std::os::unix::fs::FileExt as _;
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let mut found = [0; STATE];
        file.file().read_exact_at(&mut found, 0)?;
        if found != header(cpus) || file.metadata()?.len() != place(cpus) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        // SAFETY: a new mapping, of a file that is as long as that.
        let first = unsafe { map(&file, std::ptr::null_mut(), MapFlags::empty(), 0)? };
        let pages = Self {
            file,
            cpus,
            first: AtomicPtr::new(first),
        };
        pages.state().store(LOADED, Relaxed);
        Ok(pages)
    }

    /// Says that something was executed that is not counted.
    pub(super) fn lose(&self) {
        self.state().store(LOST, Relaxed);
    }

    fn state(&self) -> &AtomicU64 {
        // SAFETY: mapped as long as this process lives, aligned, and only touched atomically.
        unsafe { AtomicU64::from_ptr(self.first.load(Relaxed).byte_add(STATE).cast()) }
    }

    /// The only virtual processor's counter, anywhere in memory.
    pub(super) fn counter(&self) -> io::Result<*mut c_void> {
        // SAFETY: a new mapping, of a page that the file has.
        unsafe {
            map(
                &self.file,
                std::ptr::null_mut(),
                MapFlags::empty(),
                place(0),
            )
        }
    }

    /// Lays the page of a virtual processor over the one that is whole in its element of a scoreboard, and says how many bytes
    /// behind the element's begin that is.
    ///
    /// # Safety
    ///
    /// `element` is the begin of [`element_bytes`] bytes that nobody else uses, nor frees.
    pub(super) unsafe fn lay_over(&self, cpu: u8, element: *mut c_void) -> io::Result<usize> {
        if cpu >= self.cpus || element.is_null() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let offset = element.addr().next_multiple_of(page()) - element.addr();
        // SAFETY: the page is within the element, of which the caller disposes.
        unsafe {
            let at = element.byte_add(offset);
            map(&self.file, at, MapFlags::FIXED, place(cpu))?;
        }
        Ok(offset)
    }
}

/// # Safety
///
/// With [`MapFlags::FIXED`] the page at `at` is the caller's.
unsafe fn map(file: &File, at: *mut c_void, how: MapFlags, offset: u64) -> io::Result<*mut c_void> {
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new place, or one of the caller's.
    Ok(unsafe { mmap(at, page(), access, MapFlags::SHARED | how, file, offset)? })
}
