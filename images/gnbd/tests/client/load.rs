//! `gnbd_load`, against the server of this crate.

use gnbd::command::{Console, load};

use crate::real::Storage;
use crate::transcript::told;

fn run(words: &[&str]) -> String {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let words = words.iter().map(std::ffi::OsString::from).collect();
    let mut console = Console::new("gnbd_load", &mut out, &mut err);
    let status = load::run(words, &mut console);
    told(out, err, status)
}

#[test]
fn logins_are_counted_and_leave_nothing() {
    let storage = Storage::start();
    storage.export("disk", 2048, 0, false, "");
    let port = storage.address.port.to_string();
    let server = ["-i", "127.0.0.1", "-p", &port, "-e", "disk"];
    let text = run(&[&server[..], &["-c", "50"]].concat());
    assert!(
        text.starts_with("50 logins in 0.") && text.ends_with(" s\nstatus 0\n"),
        "{text}"
    );
    let text = run(&["-i", "127.0.0.1", "-p", &port, "-e", "none", "-c", "50"]);
    assert!(
        text.starts_with("stderr: gnbd_load: ERROR failed to be served: No such device, login "),
        "{text}"
    );
    assert!(text.ends_with("status 1\n"), "{text}");
}

#[test]
fn reads_are_counted() {
    let storage = Storage::start();
    storage.export("disk", 2048, 0, false, "");
    let file = storage.file("disk");
    let text = run(&["-d", file.to_str().unwrap(), "-s", "1", "-q", "3"]);
    let count: u64 = text.split(' ').next().unwrap().parse().unwrap();
    assert!(count > 100 && text.contains(" reads in 1.0"), "{text}");
}

#[test]
fn mistakes_are_told() {
    for words in [
        &[][..],
        &["-d", "/dev/null", "-q", "0"],
        &["-i", "x", "-e", "y", "-c", "-1"],
    ] {
        let text = run(words);
        assert!(
            text.starts_with("stderr: ") && text.ends_with("status 1\n"),
            "{text}"
        );
    }
}
