//! Peers that are broken or mean no good: an error or a closed connection, one line, and nobody else is disturbed.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use gnbd::protocol::{Command, FAILURE, NodeName, Request};
use proptest::prelude::*;

use crate::wire::{Lab, connect, pattern, until};

const SIZE: usize = 1 << 20;

/// A second, instead of many: the tests that use it are about time.
const SHORT: Duration = Duration::from_millis(300);

#[test]
fn unknown_requests_are_closed_without_a_word() {
    let lab = Lab::new();
    assert_eq!(lab.ask_bytes(&[0, 0, 0, 9]), []);
    lab.told("failed to know request number 9");
    assert_eq!(lab.ask_bytes(b"GET / HTTP/1.0\r\n\r\n").len(), 0);
    assert_eq!(lab.ask(&Request::NodeName).len(), 18);
}

#[test]
fn names_without_end_are_refused() {
    let lab = Lab::new();
    let invalid = 22_u32.to_be_bytes();
    let request = |number: u8, body: usize| [&[0, 0, 0, number][..], &vec![b'x'; body]].concat();
    for (number, body) in [(2, 65), (3, 65), (5, 97), (8, 32)] {
        assert_eq!(lab.ask_bytes(&request(number, body)), invalid, "{number}");
    }
    let login = lab.ask_bytes(&request(6, 113));
    assert_eq!(login[8..11], [0, 0, 22]);
    lab.told("it has no end");
    assert_eq!(lab.ask(&Request::ListBanned).len(), 8);
}

#[test]
fn half_a_request_is_not_waited_for_long() {
    let lab = Lab::with_limits(|limits| limits.control_request = SHORT);
    for sent in [&[][..], &[0], &[0, 0, 0, 8], &[0, 0, 0, 8, b'x']] {
        assert_eq!(lab.ask_bytes(sent), [], "{sent:?}");
    }
    lab.told("no request came in time");
}

#[test]
fn half_a_data_request_is_not_waited_for_long() {
    let lab = Lab::with_limits(|limits| limits.data_request = SHORT);
    lab.export("disk", SIZE);
    let mut bystander = lab.login("disk");
    let mut header = lab.login("disk");
    header
        .stream
        .write_all(&[0x37, 0xa0, 0x7e, 0x00, 0])
        .unwrap();
    let mut payload = lab.login("disk");
    payload.send(Command::Write, 1, 0, 4096);
    payload.stream.write_all(&[1; 4095]).unwrap();
    assert!(header.is_closed());
    assert!(payload.is_closed());
    lab.told("it began a request and did not end it");
    // Silence between requests is no fault, however long.
    bystander.ping();
    assert_eq!(bystander.read(0, 4096).unwrap(), pattern(0, 4096));
}

#[test]
fn a_trickle_is_as_bad_as_silence() {
    let lab = Lab::with_limits(|limits| limits.data_request = SHORT);
    lab.export("disk", SIZE);
    let mut client = lab.login("disk");
    client.send(Command::Write, 1, 0, 131_072);
    until(|| {
        let _ = (&client.stream).write_all(&[1]);
        lab.server.sessions().is_empty()
    });
}

#[test]
fn nonsense_in_the_data_phase_is_the_end() {
    let lab = Lab::new();
    lab.export("disk", SIZE);
    let mut bystander = lab.login("disk");
    let mut magic = lab.login("disk");
    magic.stream.write_all(&[0; 28]).unwrap();
    assert!(magic.is_closed());
    lab.told("its magic is 0x00000000");
    for command in [Command::Read, Command::Write] {
        let mut long = lab.login("disk");
        long.send(command, 1, 0, 131_073);
        assert_eq!(long.answer().unwrap_or(None), None);
        let mut longer = lab.login("disk");
        longer.send(command, 1, 0, u32::MAX);
        assert!(longer.is_closed());
    }
    lab.told("failed to transfer 131073 bytes in one request");

    let mut unknown = lab.login("disk");
    let mut header = [0; 28];
    header[..16].copy_from_slice(&[0x37, 0xa0, 0x7e, 0, 0, 0, 0, 7, 1, 2, 3, 4, 5, 6, 7, 8]);
    unknown.stream.write_all(&header).unwrap();
    let answer = unknown.answer().unwrap().unwrap();
    assert_eq!(
        (answer.handle, answer.error),
        (0x0102_0304_0506_0708, FAILURE)
    );
    assert!(unknown.is_closed());
    lab.told("failed to know data command 7");
    bystander.ping();
    assert_eq!(bystander.read(0, 4096).unwrap(), pattern(0, 4096));
}

#[test]
fn a_thousand_connections_that_say_nothing_keep_nobody_out() {
    let lab = Lab::new();
    let mut crowd: Vec<TcpStream> = Vec::new();
    for _ in 0..1000 {
        crowd.push(connect(lab.address()));
        if crowd.len() > 400 {
            // This process has descriptors for both ends to pay; the server has closed these.
            crowd.remove(0);
        }
    }
    lab.told("too many have no request");
    assert_eq!(lab.ask(&Request::NodeName).len(), 18);
    let threads = fs_err::read_dir("/proc/self/task").unwrap().count();
    assert!(threads < 300, "{threads} threads");
}

#[test]
fn connections_have_a_limit_and_their_end_makes_room() {
    let lab = Lab::with_limits(|limits| limits.sessions = 3);
    lab.export("disk", SIZE);
    let mut clients: Vec<_> = (0..3).map(|_| lab.login("disk")).collect();
    let login = gnbd::protocol::LoginRequest::new(
        crate::wire::device("disk"),
        NodeName::new("client1").unwrap(),
        1,
    );
    // Closed without an answer: the client comes again.
    assert_eq!(lab.ask(&Request::Login(login)), []);
    lab.told("there are too many");
    for client in &mut clients {
        client.ping();
    }
    clients.pop();
    until(|| lab.server.sessions().len() == 2);
    lab.login("disk").ping();
}

#[test]
fn who_does_not_read_is_let_go_and_disturbs_nobody() {
    let lab = Lab::with_limits(|limits| {
        limits.data_request = SHORT;
        limits.extra_workers = 4;
    });
    lab.export("disk", SIZE);
    let mut bystander = lab.login("disk");
    let slow = lab.login("disk");
    // More answers than any socket buffer holds, until the server does not take requests any more.
    slow.stream.set_write_timeout(Some(SHORT)).unwrap();
    let request = gnbd::protocol::DataRequest {
        command: Command::Read,
        handle: [0; 8],
        offset: 0,
        length: 131_072,
    };
    for _ in 0..4096 {
        if (&slow.stream).write_all(&request.encode()).is_err() {
            break;
        }
    }
    bystander.ping();
    assert_eq!(bystander.read(0, 131_072).unwrap(), pattern(0, 131_072));
    lab.told("failed to answer");
    until(|| lab.server.sessions().len() == 1);
    bystander.ping();
}

#[test]
fn a_client_that_vanishes_in_the_middle_leaves_a_whole_disk() {
    let lab = Lab::new();
    let path = lab.export("disk", SIZE);
    for cut in [0, 1, 27, 28, 29, 4096, 4123] {
        let mut client = lab.login("disk");
        let header = gnbd::protocol::DataRequest {
            command: Command::Write,
            handle: [0; 8],
            offset: 0,
            length: 4096,
        };
        let whole = [&header.encode()[..], &[0xee; 4096]].concat();
        client.stream.write_all(&whole[..cut]).unwrap();
    }
    until(|| lab.server.sessions().is_empty());
    assert_eq!(
        fs_err::read(path).unwrap(),
        pattern(0, SIZE),
        "half a payload was written"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever comes, in whatever phase: the server lives, and a bystander reads what it should.
    #[test]
    fn nothing_that_is_sent_harms_others(
        login in any::<bool>(),
        number in 0_u32..10,
        good_header in any::<bool>(),
        header in (0_u32..5, any::<u64>(), 0_u32..140_000),
        rest in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        let lab = shared();
        let mut bystander = lab.login_as("disk", "bystander", 1).unwrap();
        let mut stream = if login {
            let mut stream = lab.login("disk").stream;
            if good_header {
                let (command, offset, length) = header;
                let mut bytes = vec![0x37, 0xa0, 0x7e, 0x00];
                bytes.extend(command.to_be_bytes());
                bytes.extend([0; 8]);
                // Beyond the end: what is written by chance must not be what the bystander reads.
                bytes.extend((offset | 1 << 40).to_be_bytes());
                bytes.extend(length.to_be_bytes());
                let _ = stream.write_all(&bytes);
            }
            stream
        } else {
            let mut stream = connect(lab.address());
            let _ = stream.write_all(&number.to_be_bytes());
            stream
        };
        let _ = stream.write_all(&rest);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
        prop_assert_eq!(bystander.read(4096, 512).unwrap(), pattern(4096, 512));
    }
}

/// One server for all cases.
fn shared() -> &'static Lab {
    static LAB: std::sync::OnceLock<Lab> = std::sync::OnceLock::new();
    LAB.get_or_init(|| {
        let lab = Lab::new();
        lab.export("disk", SIZE);
        lab
    })
}
