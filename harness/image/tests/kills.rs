//! Processes that build, use and collect are killed at any moment: the others go on, what is there is whole, and what
//! is left over is swept.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use libtest_mimic::{Arguments, Trial};
use sanlab_image::{Held, Kind, Store};

const KILLS: u64 = 40;
const STORE: &str = "SANLAB_TEST_STORE";
const FILES: [&str; 3] = ["n1.ram", "n1.disk", "n1.state"];
const BYTES: usize = 96 << 10;

/// A sequence without a pattern, the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

fn assert_whole(folder: &Path) {
    for name in FILES {
        let bytes = fs_err::read(folder.join(name)).unwrap();
        assert!(bytes == vec![7; BYTES], "{name} of {}", folder.display());
    }
}

fn hold_or_make(store: &Store, key: &str) -> Held {
    if let Some(held) = store.hold(Kind::Checkpoint, key).unwrap() {
        return held;
    }
    let claim = store.claim(Kind::Checkpoint, key, |_| ()).unwrap();
    if let Some(held) = store.hold(Kind::Checkpoint, key).unwrap() {
        return held;
    }
    let workspace = claim.workspace().unwrap();
    for name in FILES {
        fs_err::write(workspace.path().join(name), vec![7; BYTES]).unwrap();
    }
    workspace
        .publish(&serde_json::json!({ "about": key }))
        .unwrap()
}

/// The program that the test starts and kills, and the test.
fn main() {
    if let Some(root) = std::env::var_os(STORE) {
        work(Path::new(&root));
    }
    let trial = Trial::test("leave_nothing_and_harm_nobody", || {
        leave_nothing_and_harm_nobody();
        Ok(())
    });
    libtest_mimic::run(&Arguments::from_args(), vec![trial]).exit();
}

fn work(root: &Path) -> ! {
    let store = Store::at(root).unwrap();
    let mut dice = Dice(u64::from(std::process::id()));
    loop {
        let held = hold_or_make(&store, &format!("{:02}", dice.below(6)));
        assert_whole(held.path());
        if dice.below(3) == 0 {
            let most = dice.below(4) * (FILES.len() * BYTES) as u64;
            store.collect(most).unwrap();
        }
        assert_whole(held.path());
        let mut output = std::io::stdout();
        output.write_all(b".").unwrap();
        output.flush().unwrap();
    }
}

fn start_worker(store: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .env(STORE, store)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn read_some(worker: &mut Child, bytes: u64) {
    let output = worker.stdout.as_mut().unwrap();
    let read = std::io::copy(&mut output.take(bytes), &mut std::io::sink());
    assert_eq!(read.unwrap(), bytes, "a worker ended by itself");
}

fn kill(mut worker: Child) {
    worker.kill().unwrap();
    worker.wait().unwrap();
}

fn leave_nothing_and_harm_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(folder.path()).unwrap();
    let mut dice = Dice(3);
    let mut survivor = start_worker(folder.path());
    for _ in 0..KILLS {
        let mut worker = start_worker(folder.path());
        // It says a byte a round, and is never at the same place.
        read_some(&mut worker, dice.below(32));
        kill(worker);
        assert!(store.entries().unwrap().iter().all(|entry| entry.whole));
        read_some(&mut survivor, 2);
    }
    kill(survivor);
    for entry in store.entries().unwrap() {
        let held = store.hold(entry.kind, &entry.key).unwrap().unwrap();
        assert_whole(held.path());
        assert!(!entry.held);
    }
    assert_eq!(
        fs_err::read_dir(folder.path().join("building"))
            .unwrap()
            .count(),
        0
    );
    assert_eq!(store.collect(0).unwrap().real_bytes, 0);
}
