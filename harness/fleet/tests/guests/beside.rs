//! Two forks of one checkpoint at the same time. The second runs in a process with a registry, and so a budget, of its own:
//! a small host has no place for two fleets.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

use sanlab_fleet::{Fleet, Kind};

use crate::fixture::{checkpoint, end, expect_as_saved, fork, node_says, store_of};

/// Makes a process of this program the second.
pub(crate) const WORD: &str = "fork-beside";

pub(crate) async fn apart() {
    let held = checkpoint().await;
    let runtime = tempfile::tempdir().unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args([WORD.as_ref(), held.path()])
        .env("SANLAB_RUNTIME", runtime.path().join("runs"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut other = Other(child.unwrap());
    let fleet = fork(held, "beside", None).await;
    other.hears("changed");
    expect_as_saved(&fleet).await;
    change(&fleet, "this").await;
    // The other's vix2 has an address that nobody has here.
    let lost = node_says(
        &fleet,
        "vix1",
        "ping -c 1 -W 2 10.77.0.99 >/dev/null || echo lost",
    )
    .await;
    assert_eq!(lost, "lost");
    other.tell("check");
    other.hears("apart");
    expect_changed(&fleet, "this").await;
    end(fleet).await;
    assert!(other.0.wait().unwrap().success());
}

/// The second's whole life.
pub(crate) async fn second(folder: &Path) -> ExitCode {
    let key = folder.file_name().unwrap().to_string_lossy().into_owned();
    let held = store_of(folder).hold(Kind::Checkpoint, &key);
    let fleet = fork(&held.unwrap().unwrap(), "other", None).await;
    expect_as_saved(&fleet).await;
    change(&fleet, "other").await;
    node_says(&fleet, "vix2", "ip addr add 10.77.0.99/24 dev eth0").await;
    node_says(&fleet, "vix1", "ping -c 1 -W 5 10.77.0.99 >/dev/null").await;
    say("changed");
    let mut order = String::new();
    std::io::stdin().lock().read_line(&mut order).unwrap();
    expect_changed(&fleet, "other").await;
    say("apart");
    end(fleet).await;
    ExitCode::SUCCESS
}

async fn change(fleet: &Fleet, whose: &str) {
    let script = format!(
        "echo disk of {whose} | dd of=/dev/vdb conv=notrunc 2>/dev/null; echo memory of {whose} >/tmp/mark; sync"
    );
    node_says(fleet, "vix1", &script).await;
}

async fn expect_changed(fleet: &Fleet, whose: &str) {
    let script = "echo 3 >/proc/sys/vm/drop_caches; head -n 1 /dev/vdb; cat /tmp/mark";
    let seen = node_says(fleet, "vix1", script).await;
    assert_eq!(seen, format!("disk of {whose}\nmemory of {whose}"));
}

fn say(word: &str) {
    let mut out = std::io::stdout();
    out.write_all(format!("{word}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

struct Other(Child);

impl Other {
    fn tell(&mut self, word: &str) {
        writeln!(self.0.stdin.as_mut().unwrap(), "{word}").unwrap();
    }

    fn hears(&mut self, word: &str) {
        // A line at a time, and nothing is read ahead: it speaks when spoken to.
        let mut line = String::new();
        BufReader::with_capacity(1, self.0.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line.trim(), word);
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
