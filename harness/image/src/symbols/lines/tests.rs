//! Files as a compiler makes them: a module, which has no addresses yet, and a kernel.

use std::process::Command;

use tempfile::TempDir;

use super::*;

const MODULE: &str = "\
static volatile int sink;
static inline __attribute__((always_inline)) void inner(int by)
{
    sink = 17 / by;
}
int outer(int by)
{
    inner(by);
    return sink;
}
__attribute__((section(\".init.text\"))) int begin(int by)
{
    return sink + by;
}
__attribute__((section(\".text.unlikely\"))) int rare(int by)
{
    sink = by;
    return outer(by) + 1;
}
";

const KERNEL: &str = "\
static int seen;
static __attribute__((noinline)) int twice(int by) { return 2 * by + seen; }
void start_kernel(void)
{
    seen = twice(seen);
}
";

const OTHER: &str = "\
extern volatile int far[];
static __attribute__((noinline)) int twice(int by) { return far[by] * far[by + 7] * 3; }
int (*other)(int) = twice;
int last(int by) { return by; }
volatile int far[9];
";

fn compile(folder: &TempDir, sources: &[(&str, &str)], flags: &[&str]) -> std::path::PathBuf {
    let out = folder.path().join("out.ko");
    let mut command = Command::new("cc");
    command.args([
        "-g",
        "-O2",
        "-fno-pie",
        "-fno-pic",
        "-fcf-protection=none",
        "-fno-toplevel-reorder",
    ]);
    command.args(flags).arg("-o").arg(&out);
    for (name, text) in sources {
        let path = folder.path().join(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(&path, text).unwrap();
        command.arg(path);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    out
}

/// Every place that a function has, with its own size or another.
fn all(path: &Path, function: &str, grown: u64) -> Vec<Vec<String>> {
    let size = size_of(path, function) + grown;
    let calls: Vec<Call> = (0..size)
        .map(|offset| Call {
            function: function.to_owned(),
            offset,
            size,
            module: None,
            exact: true,
        })
        .collect();
    let calls: Vec<&Call> = calls.iter().collect();
    let mut places = of_module(path, &calls, None).unwrap().places;
    places.dedup();
    places
}

/// From its beginning to the next function, in a file in which each has a section of its own or is followed by another.
fn size_of(path: &Path, function: &str) -> u64 {
    let bytes = fs_err::read(path).unwrap();
    let file = File::parse(bytes.as_slice()).unwrap();
    let functions = Functions::of(&file, &Layout::of(&file));
    let fits = |size: &u64| {
        let call = Call {
            function: function.to_owned(),
            offset: 0,
            size: *size,
            module: None,
            exact: true,
        };
        functions.address(&call).is_some()
    };
    (1..8192).find(fits).unwrap()
}

#[test]
fn a_modules_calls_have_lines_and_inlined_callers() {
    for flags in [
        &["-c"][..],
        &["-c", "-m32"],
        &["-c", "-gdwarf-4"],
        &["-c", "-gz=zlib"],
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = compile(&folder, &[("fs/lock.c", MODULE)], flags);
        let at = |line: u32| format!("{}:{line}", folder.path().join("fs/lock.c").display());
        let inlined = vec![at(4), at(8)];
        let outer = all(&path, "outer", 0);
        assert!(outer.contains(&inlined), "{flags:?}: {outer:?}");
        // The sections of a module begin where others end, not all at once.
        let rare = all(&path, "rare", 0).concat();
        assert!(rare.contains(&at(17)), "{flags:?}: {rare:?}");
        let begin = all(&path, "begin", 0).concat();
        assert!(begin.contains(&at(13)), "{flags:?}: {begin:?}");
        assert!(!begin.contains(&at(8)), "{flags:?}: {begin:?}");
    }
}

#[test]
fn a_function_of_another_size_has_no_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = compile(&folder, &[("lock.c", MODULE)], &["-c"]);
    assert_eq!(all(&path, "outer", 1), [Vec::<String>::new()]);
}

#[test]
fn a_kernels_paths_begin_where_it_was_built() {
    let folder = tempfile::tempdir().unwrap();
    let sources = [("init/main.c", KERNEL), ("mm/other.c", OTHER)];
    let path = compile(
        &folder,
        &sources,
        &["-nostdlib", "-static", "-Wl,-e,start_kernel"],
    );
    let calls = [size_of(&path, "start_kernel")].map(|size| Call {
        function: "start_kernel".to_owned(),
        offset: 0,
        size,
        module: None,
        exact: true,
    });
    let found = of_kernel(&path, &[&calls[0]]).unwrap();
    assert_eq!(found.places, [["init/main.c:5"]]);
    let built_in = format!("{}/", folder.path().display());
    assert_eq!(found.built_in, Some(built_in));
}

#[test]
fn functions_of_one_name_are_told_apart_by_their_sizes() {
    let folder = tempfile::tempdir().unwrap();
    let sources = [("init/main.c", KERNEL), ("mm/other.c", OTHER)];
    let path = compile(
        &folder,
        &sources,
        &["-nostdlib", "-static", "-Wl,-e,start_kernel"],
    );
    let sizes: Vec<u64> = (1..200)
        .filter(|size| {
            let call = twice(*size);
            let found = of_kernel(&path, &[&call]).unwrap();
            !found.places[0].is_empty()
        })
        .collect();
    assert_eq!(sizes.len(), 2, "{sizes:?}");
    let files = sizes.iter().map(|size| {
        let found = of_kernel(&path, &[&twice(*size)]).unwrap();
        found.places[0][0].clone()
    });
    let files: Vec<String> = files.collect();
    assert_eq!(files.iter().filter(|it| *it == "init/main.c:2").count(), 1);
    assert_eq!(files.iter().filter(|it| *it == "mm/other.c:2").count(), 1);
    // The same twice: neither is meant for certain.
    let same = [("a.c", OTHER), ("init/main.c", KERNEL)];
    let again = OTHER
        .replace("other", "another")
        .replace("last", "final")
        .replace("volatile int far[9];\n", "");
    let folder = tempfile::tempdir().unwrap();
    let path = compile(
        &folder,
        &[same[0], ("b.c", &again), same[1]],
        &["-nostdlib", "-static", "-Wl,-e,start_kernel"],
    );
    let told = (1..200).filter(|size| {
        let found = of_kernel(&path, &[&twice(*size)]).unwrap();
        found.places[0]
            .iter()
            .any(|place| !place.starts_with("init"))
    });
    assert_eq!(told.count(), 0);
}

fn twice(size: u64) -> Call {
    Call {
        function: "twice".to_owned(),
        offset: 0,
        size,
        module: None,
        exact: true,
    }
}

#[test]
fn paths_lose_their_dots() {
    for (path, told) in [
        ("./include/linux/fs.h", "include/linux/fs.h"),
        ("/build/x/../../fs/ocfs2/./dlmglue.c", "/fs/ocfs2/dlmglue.c"),
        ("../fs/a.c", "../fs/a.c"),
        ("/build//a.c", "/build/a.c"),
    ] {
        assert_eq!(normal(path), told);
    }
}
