//! The plugin in a QEMU of functions that only remember. That it counts in real ones is proved by `vm`.

use std::cell::RefCell;
use std::ffi::CString;
use std::path::PathBuf;

use super::*;
use crate::CounterFile;
use crate::file::page;

/// What the fake QEMU has of this thread's test.
#[derive(Default)]
struct Fake {
    /// The scoreboard: where it begins, and the bytes of an element.
    board: (usize, usize),
    /// How far each element after the first is from its place: what no QEMU does.
    shift: usize,
    /// The additions that blocks make when they are executed: to a place, or to a place in each element.
    additions: Vec<(Target, u64)>,
}

#[derive(Clone, Copy)]
enum Target {
    One(usize),
    Each(usize),
}

thread_local! {
    static FAKE: RefCell<Fake> = RefCell::default();
}

/// A block of that many instructions.
fn block(instructions: usize) -> Block {
    std::ptr::without_provenance_mut(instructions)
}

unsafe extern "C" fn tb_n_insns(block: Block) -> usize {
    block.addr()
}

unsafe extern "C" fn exec_inline(_: Block, op: c_uint, counter: *mut c_void, number: u64) {
    assert_eq!(op, ADD_U64);
    let target = Target::One(counter.expose_provenance());
    FAKE.with_borrow_mut(|fake| fake.additions.push((target, number)));
}

unsafe extern "C" fn exec_inline_per_vcpu(_: Block, op: c_uint, entry: Entry, number: u64) {
    assert_eq!(op, ADD_U64);
    FAKE.with_borrow_mut(|fake| {
        assert_eq!(entry.scoreboard.addr(), fake.board.0);
        fake.additions.push((Target::Each(entry.offset), number));
    });
}

/// As in QEMU: sixteen elements side by side, not on a page's boundary.
unsafe extern "C" fn scoreboard_new(bytes: usize) -> *mut c_void {
    let all = vec![0_u8; 16 * bytes + page() + 64].leak();
    let begin = all.as_mut_ptr().expose_provenance();
    let begin = begin.next_multiple_of(page()) + 16;
    FAKE.with_borrow_mut(|fake| fake.board = (begin, bytes));
    std::ptr::with_exposed_provenance_mut(begin)
}

unsafe extern "C" fn scoreboard_find(board: *mut c_void, cpu: c_uint) -> *mut c_void {
    FAKE.with_borrow(|fake| {
        assert_eq!(board.addr(), fake.board.0);
        let cpu = cpu as usize;
        let shift = if cpu > 0 { fake.shift } else { 0 };
        std::ptr::with_exposed_provenance_mut(fake.board.0 + cpu * fake.board.1 + shift)
    })
}

fn lookup(name: &CStr) -> Option<*mut c_void> {
    Some(match name.to_bytes() {
        b"qemu_plugin_tb_n_insns" => tb_n_insns as *mut c_void,
        b"qemu_plugin_register_vcpu_tb_exec_inline" => exec_inline as *mut c_void,
        b"qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu" => exec_inline_per_vcpu as *mut c_void,
        b"qemu_plugin_scoreboard_new" => scoreboard_new as *mut c_void,
        b"qemu_plugin_scoreboard_find" => scoreboard_find as *mut c_void,
        _ => return None,
    })
}

/// A virtual processor executes everything that was translated, once.
fn execute(cpu: usize) {
    FAKE.with_borrow(|fake| {
        for (target, number) in &fake.additions {
            let at = match target {
                Target::One(at) => *at,
                Target::Each(offset) => fake.board.0 + cpu * fake.board.1 + offset,
            };
            let at: *mut u64 = std::ptr::with_exposed_provenance_mut(at);
            // SAFETY: the counter's mapping, or the fake's scoreboard; both stay.
            unsafe { at.write_volatile(at.read_volatile() + number) };
        }
    });
}

fn info(cpus: c_int) -> Info {
    Info {
        target: c"x86_64".as_ptr(),
        oldest_api: 1,
        newest_api: 1,
        is_system: true,
        cpus,
        most_cpus: cpus + 1,
    }
}

struct Bench {
    _folder: tempfile::TempDir,
    path: PathBuf,
    argument: CString,
}

impl Bench {
    fn new() -> Self {
        FAKE.take();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("instructions");
        let argument = CString::new(format!("out={}", path.display())).unwrap();
        Self {
            _folder: folder,
            path,
            argument,
        }
    }

    fn counting(&self, api: Api, cpus: c_int) -> Result<Counting, Refusal> {
        Counting::new(api, Some(&info(cpus)), Some(&self.argument), lookup)
    }
}

#[test]
fn one_processor_is_counted_by_every_version() {
    for api in Api::ALL {
        let bench = Bench::new();
        let file = CounterFile::create(&bench.path, 1).unwrap();
        let counting = bench.counting(api, 1).ok().unwrap();
        assert!(file.is_loaded().unwrap());
        counting.started(0);
        counting.translated(block(7));
        counting.translated(block(3));
        assert_eq!(file.read().unwrap(), Some(0), "nothing was executed");
        execute(0);
        execute(0);
        assert_eq!(file.read().unwrap(), Some(20), "{api:?}");
    }
}

#[test]
fn several_processors_are_added_up() {
    let bench = Bench::new();
    let file = CounterFile::create(&bench.path, 4).unwrap();
    let counting = bench.counting(Api::V2, 4).ok().unwrap();
    for cpu in 0..4 {
        counting.started(cpu);
    }
    counting.translated(block(5));
    for cpu in [0, 1, 2, 3, 3, 0] {
        execute(cpu);
    }
    assert_eq!(file.read().unwrap(), Some(30));
    // In QEMU's memory the pages are neighbours of others, which they leave alone.
    let (begin, bytes) = FAKE.with_borrow(|fake| fake.board);
    for cpu in 0..5 {
        let at: *const u8 = std::ptr::with_exposed_provenance(begin + cpu * bytes);
        // SAFETY: the fake's scoreboard.
        assert_eq!(unsafe { at.read() }, 0);
    }
}

#[test]
fn what_is_not_counted_is_known() {
    // Translated before any processor started; a processor that nobody announced; elements that are not laid out alike.
    let cases: [fn(&Counting); 4] = [
        |counting| counting.translated(block(1)),
        |counting| counting.started(2),
        |counting| counting.started(200),
        |counting| {
            FAKE.with_borrow_mut(|fake| fake.shift = 8);
            counting.started(0);
            counting.started(1);
        },
    ];
    for case in cases {
        let bench = Bench::new();
        let file = CounterFile::create(&bench.path, 2).unwrap();
        let counting = bench.counting(Api::V7, 2).ok().unwrap();
        assert_eq!(file.read().unwrap(), Some(0));
        case(&counting);
        assert_eq!(file.read().unwrap(), None);
    }
}

#[test]
fn what_cannot_be_counted_is_refused() {
    let bench = Bench::new();
    let refusal = |api, cpus| bench.counting(api, cpus).err();
    assert_eq!(refusal(Api::V1, 2), Some(Refusal::Processors));
    assert_eq!(refusal(Api::V2, 17), Some(Refusal::Processors));
    assert_eq!(refusal(Api::V2, 0), Some(Refusal::Processors));
    assert_eq!(refusal(Api::V2, 1), Some(Refusal::File), "no file");
    fs_err::write(&bench.path, vec![0; 2 * page()]).unwrap();
    assert_eq!(refusal(Api::V2, 1), Some(Refusal::File), "another's file");
    let file = CounterFile::create(&bench.path, 2).unwrap();
    assert_eq!(refusal(Api::V2, 1), Some(Refusal::File), "for two");
    assert!(!file.is_loaded().unwrap());
    for argument in [None, Some(c"in=x")] {
        let counting = Counting::new(Api::V2, Some(&info(1)), argument, lookup);
        assert_eq!(counting.err(), Some(Refusal::Arguments));
    }
    let program = Info {
        is_system: false,
        ..info(1)
    };
    let counting = Counting::new(Api::V2, Some(&program), Some(&bench.argument), lookup);
    assert_eq!(counting.err(), Some(Refusal::Processors));
}

/// This program is no QEMU.
#[test]
fn a_program_without_the_functions_is_refused() {
    let bench = Bench::new();
    let file = CounterFile::create(&bench.path, 1).unwrap();
    let arguments = [bench.argument.as_ptr()];
    let info = info(1);
    // SAFETY: one argument, and an information of the right shape.
    let code = unsafe { qemu_plugin_install(1, &raw const info, 1, arguments.as_ptr()) };
    assert_eq!(code, Refusal::Functions as c_int);
    assert!(file.is_loaded().unwrap(), "its version was accepted");
}

/// The callbacks do nothing where no plugin was installed.
#[test]
fn callbacks_by_both_conventions_reach_the_plugin() {
    thread_local! {
        static REGISTERED: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
    }
    unsafe extern "C" fn register(_: u64, callback: *mut c_void) {
        REGISTERED.with_borrow_mut(|all| all.push(callback.addr()));
    }
    let lookup = |_: &CStr| Some(register as *mut c_void);
    for api in Api::ALL {
        on_cpu(api, lookup, 1, (started, started_7)).unwrap();
        on_block(api, lookup, 1, (translated, translated_7)).unwrap();
    }
    let old = [started as *const (), translated as *const ()].map(<*const ()>::addr);
    let new = [started_7 as *const (), translated_7 as *const ()].map(<*const ()>::addr);
    let all = [new, old, old, old].concat();
    assert_eq!(REGISTERED.take(), all);
}
