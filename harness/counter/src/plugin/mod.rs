//! What QEMU calls.
//!
//! Up to version 1 of its interface QEMU adds to any place in memory: that is the file's page. Since version 2 it adds to memory
//! of its own, a scoreboard with an element for each virtual processor. When a virtual processor starts, its page of the file
//! is mapped over a page of its element: QEMU goes on adding there, and that is the file. So nobody has to copy sums, a reading
//! is exact at any moment, and what was counted stays when QEMU is killed.

#![expect(
    unsafe_code,
    reason = "QEMU calls it by C functions, and it calls QEMU's"
)]

mod functions;
mod memory;
#[cfg(test)]
mod tests;

use std::ffi::{CStr, OsStr, c_char, c_int, c_uint, c_void};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicPtr, Ordering::Relaxed};

use self::functions::{ADD_U64, Add, Block, Entry, Info, Instructions, Lookup, on_block, on_cpu};
use self::memory::{Pages, element_bytes};
use crate::api::Api;
use crate::file::MOST_CPUS;

/// The version of the interface, which QEMU looks for by this name, reads once the library is loaded, and compares with the range
/// that it supports.
#[unsafe(no_mangle)]
pub(crate) static qemu_plugin_version: AtomicI32 = AtomicI32::new(1);

/// Called when the library is loaded. QEMU hands the plugin's arguments over only when it has accepted the version, so that the
/// one that is asked for is read from the command line.
#[used]
#[unsafe(link_section = ".init_array")]
static WHEN_LOADED: extern "C" fn() = declare;

extern "C" fn declare() {
    let command_line = fs_err::read("/proc/self/cmdline").unwrap_or_default();
    if let Some(api) = Api::asked_for(&command_line) {
        qemu_plugin_version.store(api.number(), Relaxed);
    }
}

/// Why the plugin cannot be used: what QEMU prints as the install function's error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    /// No argument `out=FILE` before all others.
    Arguments = 1,
    /// More processors than can be counted, or a program instead of a system.
    Processors = 2,
    /// The file cannot be mapped, or is not one of this version for so many processors.
    File = 3,
    /// This QEMU lacks a function.
    Functions = 4,
    /// It is loaded a second time.
    Twice = 5,
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
    // SAFETY: null or a valid structure; if there is an argument, it ends with a zero byte.
    let (info, argument) = unsafe {
        let is_there = count > 0 && !arguments.is_null();
        (info.as_ref(), is_there.then(|| CStr::from_ptr(*arguments)))
    };
    match install(id, info, argument) {
        Ok(()) => 0,
        Err(refusal) => refusal as c_int,
    }
}

fn install(id: u64, info: Option<&Info>, argument: Option<&CStr>) -> Result<(), Refusal> {
    let api = Api::of(qemu_plugin_version.load(Relaxed)).ok_or(Refusal::Functions)?;
    let counting = Counting::new(api, info, argument, of_program)?;
    let counts_several = api.counts_several();
    COUNTING.set(counting).map_err(|_| Refusal::Twice)?;
    if counts_several {
        on_cpu(api, of_program, id, (started, started_7))?;
    }
    on_block(api, of_program, id, (translated, translated_7))
}

static COUNTING: OnceLock<Counting> = OnceLock::new();

extern "C" fn started(_id: u64, cpu: c_uint) {
    COUNTING.get().into_iter().for_each(|it| it.started(cpu));
}

extern "C" fn started_7(cpu: c_uint, _: *mut c_void) {
    COUNTING.get().into_iter().for_each(|it| it.started(cpu));
}

extern "C" fn translated(_id: u64, block: Block) {
    COUNTING
        .get()
        .into_iter()
        .for_each(|it| it.translated(block));
}

extern "C" fn translated_7(block: Block, _: *mut c_void) {
    COUNTING
        .get()
        .into_iter()
        .for_each(|it| it.translated(block));
}

/// What is added, and where.
struct Counting {
    instructions: Instructions,
    pages: Pages,
    add: Add,
    /// Up to version 1: the counter.
    counter: AtomicPtr<c_void>,
    /// Since version 2: where the counter is in each element, bytes. Known when the first virtual processor starts.
    offset: OnceLock<usize>,
}

impl Counting {
    fn new(
        api: Api,
        info: Option<&Info>,
        argument: Option<&CStr>,
        lookup: Lookup,
    ) -> Result<Self, Refusal> {
        let info = info
            .filter(|info| info.is_system)
            .ok_or(Refusal::Processors)?;
        let most = if api.counts_several() { MOST_CPUS } else { 1 };
        let cpus = u8::try_from(info.cpus).map_err(|_| Refusal::Processors)?;
        if !(1..=most).contains(&cpus) {
            return Err(Refusal::Processors);
        }
        let path = argument.and_then(|it| it.to_bytes().strip_prefix(b"out="));
        let path = Path::new(OsStr::from_bytes(path.ok_or(Refusal::Arguments)?));
        let pages = Pages::open(path, cpus).map_err(|_| Refusal::File)?;
        let instructions = functions::instructions(lookup)?;
        let add = Add::find(api, element_bytes(), lookup)?;
        let counter = match add {
            Add::ToOne(_) => pages.counter().map_err(|_| Refusal::File)?,
            Add::ToEach { .. } => std::ptr::null_mut(),
        };
        Ok(Self {
            instructions,
            pages,
            add,
            counter: AtomicPtr::new(counter),
            offset: OnceLock::new(),
        })
    }

    /// A virtual processor starts.
    fn started(&self, cpu: c_uint) {
        let Add::ToEach {
            element,
            scoreboard,
            ..
        } = &self.add
        else {
            return;
        };
        // One that nobody knew of.
        let Some(cpu) = u8::try_from(cpu).ok().filter(|cpu| *cpu < MOST_CPUS) else {
            return self.pages.lose();
        };
        // SAFETY: QEMU's own functions with a processor that has started; the element is this plugin's, is never freed, and is
        // not moved where there are no more than MOST_CPUS.
        let offset = unsafe {
            let element = element(scoreboard.load(Relaxed), cpu.into());
            self.pages.lay_over(cpu, element)
        };
        // The same in all, since an element is a number of pages.
        let differs = |it: usize| *self.offset.get_or_init(|| it) != it;
        if offset.ok().is_none_or(differs) {
            self.pages.lose();
        }
    }

    /// A block is translated: from now on each execution is counted.
    fn translated(&self, block: Block) {
        // SAFETY: QEMU's own functions with the block that it gave; the counter is there as long as QEMU lives.
        unsafe {
            let instructions = (self.instructions)(block) as u64;
            match (&self.add, self.offset.get()) {
                (Add::ToOne(add), _) => {
                    add(block, ADD_U64, self.counter.load(Relaxed), instructions);
                }
                (
                    Add::ToEach {
                        add, scoreboard, ..
                    },
                    Some(offset),
                ) => {
                    let entry = Entry {
                        scoreboard: scoreboard.load(Relaxed),
                        offset: *offset,
                    };
                    add(block, ADD_U64, entry, instructions);
                }
                (Add::ToEach { .. }, None) => self.pages.lose(),
            }
        }
    }
}

unsafe extern "C" {
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
}

/// A function of the program that has loaded this.
fn of_program(name: &CStr) -> Option<*mut c_void> {
    // SAFETY: a null library means all that the program has; the name ends with a zero byte.
    let found = unsafe { dlsym(std::ptr::null_mut(), name.as_ptr()) };
    (!found.is_null()).then_some(found)
}
