//! What comes and goes leaves nothing: no descriptor, no thread, no memory.

use gnbd::protocol::Request;

use crate::wire::{Lab, node, until};

fn count(folder: &str) -> usize {
    fs_err::read_dir(folder).unwrap().count()
}

#[test]
fn everything_is_given_back() {
    // The other tests of this process have descriptors and threads of their own: run as a program of its own.
    if std::env::var_os("GNBD_LEAKS").is_none() {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "leaks::everything_is_given_back", "--nocapture"])
            .env("GNBD_LEAKS", "1")
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        return;
    }
    let lab = Lab::new();
    lab.export("disk", 1 << 20);
    let cycle = |rounds: usize| {
        for _ in 0..rounds {
            let mut client = lab.login("disk");
            // Two at once, so that there are two threads.
            client.send(gnbd::protocol::Command::Read, 1, 0, 512);
            client.send_write(2, 4096, &[1; 512]);
            let answer = client.answer().unwrap().unwrap();
            assert_eq!(answer.error, 0);
            drop(client);
            lab.ask(&Request::Unfence(node("client0")));
        }
        until(|| lab.server.sessions().is_empty());
    };
    cycle(50);
    until(|| count("/proc/self/task") <= 4);
    let memory = || {
        let statm = fs_err::read_to_string("/proc/self/statm").unwrap();
        statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap()
    };
    let (descriptors, pages) = (count("/proc/self/fd"), memory());
    let rounds = std::env::var("GNBD_CYCLES").map_or(500, |rounds| rounds.parse().unwrap());
    cycle(rounds);
    until(|| count("/proc/self/fd") <= descriptors);
    until(|| count("/proc/self/task") <= 4);
    // The allocator keeps some for later, more under load; a lost buffer a cycle would be 66 MiB.
    let now = memory();
    assert!(now < pages + 4096, "{pages} pages have become {now}");
}
