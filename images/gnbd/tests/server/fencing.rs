//! What a fenced node can and cannot do. The promise: once a FENCE or KILL is answered, nothing of that node is
//! written any more.

use std::io::Write as _;

use gnbd::protocol::{DataRequest, LoginReply, Request};

use crate::wire::{Lab, connect, device, node};

const SIZE: usize = 1 << 20;

#[test]
fn a_fenced_node_comes_back_with_another_timestamp_or_by_unfence() {
    let lab = Lab::new();
    lab.export("disk", SIZE);
    let mut client = lab.login("disk");
    let banned = Some(LoginReply::Refused { errno: 1 });
    lab.ask(&Request::Fence(node("client0")));
    assert!(client.is_closed());
    assert!(lab.server.sessions().is_empty());
    assert_eq!(lab.login_as("disk", "client0", 1).err(), banned);
    assert!(lab.login_as("disk", "client1", 1).is_ok());
    lab.ask(&Request::Unfence(node("client0")));
    assert!(lab.login_as("disk", "client0", 1).is_ok());
    lab.ask(&Request::Fence(node("client0")));
    assert_eq!(lab.login_as("disk", "client0", 1).err(), banned);
    assert!(
        lab.login_as("disk", "client0", 2).is_ok(),
        "it was started anew"
    );
}

#[test]
fn a_node_that_was_banned_before_it_was_seen_stays_banned() {
    let lab = Lab::new();
    lab.export("disk", SIZE);
    lab.ask(&Request::Fence(node("client0")));
    let banned = Some(LoginReply::Refused { errno: 1 });
    assert_eq!(lab.login_as("disk", "client0", 1).err(), banned);
}

/// A client that writes as fast as it can, and never hears an answer, is cut off: what the file holds when the answer
/// to FENCE or KILL is there, it holds for ever.
fn nothing_is_written_after(request: &Request) {
    let lab = Lab::new();
    let path = lab.export("disk", SIZE);
    for round in 0..10_u8 {
        let mut client = lab.login_as("disk", "client0", u64::from(round)).unwrap();
        std::thread::scope(|scope| {
            let mut stream = client.stream.try_clone().unwrap();
            scope.spawn(move || {
                let header = |offset| DataRequest {
                    command: gnbd::protocol::Command::Write,
                    handle: [0; 8],
                    offset,
                    length: 65_536,
                };
                for number in 0_u64.. {
                    let frame = header(number % 16 * 65_536).encode();
                    let data = vec![number.to_le_bytes()[0] ^ round; 65_536];
                    if stream
                        .write_all(&frame)
                        .and_then(|()| stream.write_all(&data))
                        .is_err()
                    {
                        return;
                    }
                }
            });
            // Some answers, so that it is in the midst of it.
            for _ in 0..20 {
                client.answer().unwrap().unwrap();
            }
            assert_eq!(lab.ask(request), [0; 4]);
            let before = fs_err::read(&path).unwrap();
            assert!(client.is_closed());
            let after = fs_err::read(&path).unwrap();
            assert!(before == after, "something was written in round {round}");
        });
    }
}

#[test]
fn nothing_is_written_after_fence() {
    nothing_is_written_after(&Request::Fence(node("client0")));
}

#[test]
fn nothing_is_written_after_kill() {
    nothing_is_written_after(&Request::KillServer {
        device: device("disk"),
        node: node("client0"),
    });
}

#[test]
fn logins_race_with_a_fence_and_lose() {
    let lab = Lab::new();
    lab.export("disk", SIZE);
    drop(lab.login("disk"));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                // Until it is refused; who is let in is let in before the ban.
                while let Ok(client) = lab.login_as("disk", "client0", 1) {
                    drop(client);
                }
            });
        }
        let mut fence = connect(lab.address());
        fence
            .write_all(&Request::Fence(node("client0")).encode())
            .unwrap();
        let mut status = [1; 4];
        std::io::Read::read_exact(&mut fence, &mut status).unwrap();
        assert_eq!(status, [0; 4]);
        assert!(lab.server.sessions().is_empty());
    });
}
