//! Journals as the program writes and checks them, whole and damaged.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sanlab_witness::{Identity, Journal, Written, run};
use tempfile::TempDir;

const BLOCK: usize = 4096;

/// A folder on a disk: `O_DIRECT` is not for every temporary one.
fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

struct Case {
    _folder: TempDir,
    path: PathBuf,
}

impl Case {
    /// A journal of ten blocks by `client0`, seed 7.
    fn new() -> Self {
        let folder = folder();
        let path = folder.path().join("client0.journal");
        let case = Self {
            _folder: folder,
            path,
        };
        let (status, said) = case.run("write --writer client0 --block 4096 --count 10 --seed 7");
        assert_eq!(status, 0, "{said}");
        case
    }

    fn run(&self, words: &str) -> (u8, String) {
        let mut words = words
            .split_whitespace()
            .map(OsString::from)
            .collect::<Vec<_>>();
        words.extend(["--file".into(), self.path.clone().into()]);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let status = run(&words, &mut out, &mut err);
        let said = [out, err].concat();
        (status, String::from_utf8(said).unwrap())
    }

    fn check(&self, words: &str) -> (u8, String) {
        self.run(&format!("check --writer client0 --block 4096 {words}"))
    }

    fn list(&self, text: &str) -> (u8, String) {
        let list = self.path.with_extension("list");
        fs_err::write(&list, text).unwrap();
        self.check(&format!("--seed 7 --blocks {}", list.display()))
    }

    fn damage(&self, at: u64, bytes: &[u8]) {
        let file = fs_err::OpenOptions::new()
            .write(true)
            .open(&self.path)
            .unwrap();
        file.file().write_all_at(bytes, at).unwrap();
        file.sync_all().unwrap();
    }
}

#[test]
fn a_whole_journal_is_good() {
    let case = Case::new();
    assert_eq!(fs_err::metadata(&case.path).unwrap().len(), 40960);
    assert_eq!(case.check("--seed 7"), (0, "checked 10\n".to_owned()));
    assert_eq!(
        case.check("--seed 7 --upto 3"),
        (0, "checked 3\n".to_owned())
    );
}

#[test]
fn every_block_is_acknowledged_in_its_order() {
    let folder = folder();
    let (path, port) = (folder.path().join("j"), folder.path().join("port"));
    fs_err::write(&port, "").unwrap();
    let words = format!(
        "write --file {} --writer n --block 512 --count 3 --ack {}",
        path.display(),
        port.display()
    );
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let words: Vec<_> = words.split(' ').map(OsString::from).collect();
    assert_eq!(run(&words, &mut out, &mut err), 0, "{err:?}");
    assert_eq!(out, b"ready\n");
    let lines = fs_err::read_to_string(port).unwrap();
    let lines: Vec<_> = lines.lines().collect();
    assert_eq!((lines[0], lines[4]), ("begin n 512 3 0", "end 3"));
    let mut last = 0;
    for (number, line) in lines[1..4].iter().enumerate() {
        let micros = line.strip_prefix(&format!("ack {number} ")).unwrap();
        let micros: u64 = micros.parse().unwrap();
        assert!(micros >= last);
        last = micros;
    }
}

/// When a block is acknowledged, another reader sees it on the disk.
#[test]
fn an_acknowledged_block_is_there() {
    struct Looks<'a> {
        path: &'a Path,
        seen: u64,
    }
    impl Write for Looks<'_> {
        fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
            let text = String::from_utf8_lossy(line);
            if let Some(number) = text.strip_prefix("ack ") {
                let number: u64 = number.split(' ').next().unwrap().parse().unwrap();
                let words = format!(
                    "check --file {} --writer n --block 4096 --upto {}",
                    self.path.display(),
                    number + 1
                );
                let words: Vec<_> = words.split(' ').map(OsString::from).collect();
                let mut out = Vec::new();
                assert_eq!(run(&words, &mut out, &mut Vec::new()), 0);
                self.seen += 1;
            }
            Ok(line.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let folder = folder();
    let path = folder.path().join("j");
    let identity = Identity::new("n", 0, BLOCK).unwrap();
    let interval = Duration::from_millis(5);
    let journal = Journal::create(&path, &identity, 8, interval).unwrap();
    let mut looks = Looks {
        path: &path,
        seen: 0,
    };
    let begun = Instant::now();
    assert_eq!(journal.write(&mut looks).unwrap(), Written::Whole);
    assert_eq!(looks.seen, 8);
    assert!(begun.elapsed() >= 7 * interval);
}

#[test]
fn what_is_not_written_yet_is_zeros() {
    let folder = folder();
    let path = folder.path().join("j");
    let identity = Identity::new("client0", 7, BLOCK).unwrap();
    Journal::create(&path, &identity, 2, Duration::ZERO).unwrap();
    let case = Case {
        _folder: folder,
        path,
    };
    insta::assert_snapshot!(case.check("--seed 7").1);
}

#[test]
fn damage_is_told() {
    let case = Case::new();
    let good = fs_err::read(&case.path).unwrap();
    // One bit, a torn block, an older journal's block, another block, zeros, and an end that is missing.
    case.damage(BLOCK as u64 + 100, &[good[BLOCK + 100] ^ 1]);
    case.damage(2 * BLOCK as u64 + 512, &[0; 3584]);
    let older = Case::new();
    let (status, _) = older.run("write --writer client0 --block 4096 --count 10 --seed 6");
    assert_eq!(status, 0);
    case.damage(
        3 * BLOCK as u64,
        &fs_err::read(&older.path).unwrap()[3 * BLOCK..4 * BLOCK],
    );
    case.damage(4 * BLOCK as u64, &good[5 * BLOCK..6 * BLOCK]);
    case.damage(6 * BLOCK as u64, &[0; BLOCK]);
    let file = fs_err::OpenOptions::new()
        .write(true)
        .open(&case.path)
        .unwrap();
    file.set_len(8 * BLOCK as u64 + 1024).unwrap();
    let (status, said) = case.check("--seed 7 --upto 10");
    assert_eq!(status, 1);
    insta::assert_snapshot!(said);
}

#[test]
fn another_writers_journal_is_no_journal_of_this_one() {
    let case = Case::new();
    let (status, said) = case.run("check --writer client1 --block 4096 --seed 7 --upto 1");
    assert_eq!(
        (status, said.as_str()),
        (
            1,
            "bad 0 0 in its place stands block 0 of client0, seed 7\nchecked 1\n"
        )
    );
    assert_eq!(case.check("--seed 8").0, 1);
}

/// A striped volume has parts of a block on every leg, at places of their own.
#[test]
fn parts_of_blocks_are_found_where_a_list_says() {
    let case = Case::new();
    let good = fs_err::read(&case.path).unwrap();
    let mut leg = vec![0; 8192];
    leg.extend(&good[3 * BLOCK + 1024..3 * BLOCK + 2048]);
    leg.extend(&good[5 * BLOCK..5 * BLOCK + 512]);
    leg.resize(16384, 0);
    fs_err::write(&case.path, leg).unwrap();
    assert_eq!(
        case.list("3 8192 1024 1024\n5 9216 0 512\n"),
        (0, "checked 2\n".to_owned())
    );
    let (status, said) = case.list("3 8192 1024 1024\n3 8704 1024 512\n5 0 0 512\n9 1048576\n");
    assert_eq!(status, 1);
    insta::assert_snapshot!(said);
}
