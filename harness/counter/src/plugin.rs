//! What QEMU calls. The one file with unsafe code.
//!
//! It speaks version 1 of the interface of TCG plugins (`include/qemu/qemu-plugin.h` of QEMU 4.2 to 8.2; 9.0 took the
//! operation away that is used here, and refuses to load this). QEMU's functions are looked up when it is loaded, so that
//! this crate can also be linked into programs that are no QEMU.

#![expect(
    unsafe_code,
    reason = "QEMU calls it by C functions, and it calls QEMU's; memory is shared with a file"
)]

use std::ffi::{CStr, OsStr, c_char, c_int, c_uint, c_void};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::AtomicPtr;
use std::sync::atomic::Ordering::Relaxed;

use fs_err::OpenOptions;
use rustix::mm::{MapFlags, ProtFlags, mmap};

use crate::file::{COUNTER, LENGTH, header};

/// The version of the interface, which QEMU looks for by this name.
#[unsafe(no_mangle)]
pub(crate) static qemu_plugin_version: c_int = 1;

/// A block of guest code that is being translated.
type Block = *mut c_void;
/// `qemu_plugin_register_vcpu_tb_trans_cb`.
type OnTranslation = unsafe extern "C" fn(u64, extern "C" fn(u64, Block));
/// `qemu_plugin_tb_n_insns`.
type Instructions = unsafe extern "C" fn(Block) -> usize;
/// `qemu_plugin_register_vcpu_tb_exec_inline`.
type Inline = unsafe extern "C" fn(Block, c_uint, *mut c_void, u64);

/// `QEMU_PLUGIN_INLINE_ADD_U64`.
const ADD_U64: c_uint = 0;

/// `qemu_info_t`.
#[repr(C)]
pub(crate) struct Info {
    _target: *const c_char,
    _oldest_version: c_int,
    _version: c_int,
    is_system: bool,
    cpus: c_int,
    _most_cpus: c_int,
}

/// What QEMU's functions and the counter are, once it is known.
struct Counting {
    instructions: Instructions,
    inline: Inline,
    counter: AtomicPtr<c_void>,
}

static COUNTING: OnceLock<Counting> = OnceLock::new();

/// Why the plugin cannot be used: what QEMU prints as the install function's error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    /// No argument `out=FILE`, or more than that.
    Arguments = 1,
    /// More than one processor, or a program instead of a system.
    Processors = 2,
    /// The file cannot be mapped, or is not one of this version.
    File = 3,
    /// This QEMU lacks a function.
    Functions = 4,
    /// It is loaded a second time.
    Twice = 5,
}

unsafe extern "C" {
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
}

/// Called by QEMU when it has loaded the plugin. 0, or the [`Refusal`].
///
/// # Safety
///
/// `info` is null or what QEMU's interface says, and `arguments` are `count` C strings.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn qemu_plugin_install(
    id: u64,
    info: *const Info,
    count: c_int,
    arguments: *const *const c_char,
) -> c_int {
    // SAFETY: as the caller promises.
    match unsafe { install(id, info, count, arguments) } {
        Ok(()) => 0,
        Err(refusal) => refusal as c_int,
    }
}

/// # Safety
///
/// As of [`qemu_plugin_install`].
unsafe fn install(
    id: u64,
    info: *const Info,
    count: c_int,
    arguments: *const *const c_char,
) -> Result<(), Refusal> {
    // SAFETY: null or a valid structure.
    let info = unsafe { info.as_ref() }.ok_or(Refusal::Processors)?;
    if !info.is_system || info.cpus != 1 {
        return Err(Refusal::Processors);
    }
    if count != 1 || arguments.is_null() {
        return Err(Refusal::Arguments);
    }
    // SAFETY: there is one, and it ends with a zero byte.
    let argument = unsafe { CStr::from_ptr(*arguments) };
    let path = argument.to_bytes().strip_prefix(b"out=");
    let path = Path::new(OsStr::from_bytes(path.ok_or(Refusal::Arguments)?));
    let counter = map(path).map_err(|_| Refusal::File)?;
    let missing = Refusal::Functions;
    // SAFETY: the types are those of the header, and so is this version of the interface.
    let (on_translation, counting) = unsafe {
        let on_translation = function(c"qemu_plugin_register_vcpu_tb_trans_cb").ok_or(missing)?;
        let instructions = function(c"qemu_plugin_tb_n_insns").ok_or(missing)?;
        let inline = function(c"qemu_plugin_register_vcpu_tb_exec_inline").ok_or(missing)?;
        let counting = Counting {
            instructions: std::mem::transmute::<*mut c_void, Instructions>(instructions),
            inline: std::mem::transmute::<*mut c_void, Inline>(inline),
            counter: AtomicPtr::new(counter),
        };
        let on_translation = std::mem::transmute::<*mut c_void, OnTranslation>(on_translation);
        (on_translation, counting)
    };
    COUNTING.set(counting).map_err(|_| Refusal::Twice)?;
    // SAFETY: QEMU's own function, called with the id that it gave.
    unsafe { on_translation(id, translated) };
    Ok(())
}

/// Called by QEMU for every block that it translates.
extern "C" fn translated(_id: u64, block: Block) {
    let Some(counting) = COUNTING.get() else {
        return;
    };
    // SAFETY: QEMU's own functions with the block that it gave; the counter is mapped as long as QEMU lives.
    unsafe {
        let instructions = (counting.instructions)(block);
        (counting.inline)(
            block,
            ADD_U64,
            counting.counter.load(Relaxed),
            instructions as u64,
        );
    }
}

/// Where the counter of a file is in memory. It stays there until the process ends.
fn map(path: &Path) -> io::Result<*mut c_void> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut found = [0; 16];
    file.read_exact(&mut found)?;
    if found != header() || file.metadata()?.len() != LENGTH as u64 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    // SAFETY: a new mapping, of a file that is as long as that.
    let page = unsafe {
        mmap(
            std::ptr::null_mut(),
            LENGTH,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::SHARED,
            &file,
            0,
        )?
    };
    // SAFETY: within the mapping, and aligned as a u64 is.
    Ok(unsafe { page.byte_add(COUNTER) })
}

/// A function of the program that has loaded this.
fn function(name: &CStr) -> Option<*mut c_void> {
    // SAFETY: a null library means all that the program has; the name ends with a zero byte.
    let found = unsafe { dlsym(std::ptr::null_mut(), name.as_ptr()) };
    (!found.is_null()).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CounterFile;

    fn info(cpus: c_int) -> Info {
        Info {
            _target: c"x86_64".as_ptr(),
            _oldest_version: 0,
            _version: 1,
            is_system: true,
            cpus,
            _most_cpus: 2,
        }
    }

    fn installed(cpus: c_int, argument: &str) -> c_int {
        let argument = std::ffi::CString::new(argument).unwrap();
        let arguments = [argument.as_ptr()];
        let info = info(cpus);
        // SAFETY: one argument, and an information of the right shape.
        unsafe { qemu_plugin_install(1, &raw const info, 1, arguments.as_ptr()) }
    }

    /// That it counts is proved with a real QEMU, by `vm`.
    #[test]
    fn what_cannot_be_counted_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("instructions");
        let out = format!("out={}", path.display());
        assert_eq!(installed(2, &out), Refusal::Processors as c_int);
        assert_eq!(installed(1, "in=x"), Refusal::Arguments as c_int);
        assert_eq!(installed(1, &out), Refusal::File as c_int, "no file");
        fs_err::write(&path, [0; LENGTH]).unwrap();
        assert_eq!(installed(1, &out), Refusal::File as c_int, "another's file");
        CounterFile::create(&path).unwrap();
        assert_eq!(installed(1, &out), Refusal::Functions as c_int, "no QEMU");
    }

    /// What is added in the mapping is read from the file.
    #[test]
    fn the_mapping_is_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("instructions");
        let file = CounterFile::create(&path).unwrap();
        let counter = map(&path).unwrap().cast::<u64>();
        // SAFETY: mapped, aligned, and nobody else writes.
        unsafe { counter.write_volatile(counter.read_volatile() + 42) };
        assert_eq!(file.read().unwrap(), 42);
    }
}
