//! Reading and writing.

use std::collections::BTreeSet;
use std::io::Read as _;

use gnbd::protocol::{Command, FAILURE};

use crate::wire::{Answer, Client, Lab, device, export, pattern};

const SIZE: usize = 1 << 20;

#[test]
fn what_is_written_is_read_and_in_the_file() {
    let lab = Lab::new();
    let path = lab.export("disk", SIZE);
    let mut client = lab.login("disk");
    assert_eq!(client.sectors, 2048);
    assert_eq!(client.read(512, 131_072).unwrap(), pattern(512, 131_072));
    let data: Vec<u8> = (0..131_072_u32).map(|at| at.to_le_bytes()[1]).collect();
    client.write(1024, &data).unwrap();
    assert_eq!(fs_err::read(path).unwrap()[1024..1024 + 131_072], data);
    assert_eq!(client.read(1024, 131_072).unwrap(), data);
    client.ping();
}

#[test]
fn uncached_exports_pass_by_the_page_cache() {
    let lab = Lab::new();
    let path = lab.disk("disk", SIZE);
    let mut uncached = export("disk", &path);
    uncached.uncached = true;
    lab.server.create(uncached).unwrap();
    let mut client = lab.login("disk");
    client.write(4096, &[7; 8192]).unwrap();
    assert_eq!(client.read(8192, 8192).unwrap()[..4096], [7; 4096]);
    // Direct I/O does not take odd offsets: that is how it is known to be direct.
    assert_eq!(client.read(1, 3), Err(FAILURE));
    assert_eq!(client.write(1, &[1; 3]), Err(FAILURE));
    lab.told("failed to read 3 bytes at 1 of disk for client0");
    client.ping();
}

#[test]
fn beyond_the_end_is_an_error_and_the_next_request_is_understood() {
    let lab = Lab::new();
    let path = lab.export("disk", SIZE);
    let mut client = lab.login("disk");
    let end = SIZE as u64;
    for (offset, length) in [
        (end, 512),
        (end - 512, 1024),
        (u64::MAX - 100, 512),
        (u64::MAX, 1),
    ] {
        assert_eq!(
            client.read(offset, length),
            Err(FAILURE),
            "{offset} {length}"
        );
        assert_eq!(
            client.write(offset, &vec![9; length as usize]),
            Err(FAILURE)
        );
    }
    client.ping();
    assert_eq!(
        client.read(end - 512, 512).unwrap(),
        pattern(end - 512, 512)
    );
    assert_eq!(client.read(end, 0).unwrap(), []);
    assert_eq!(client.write(0, &[]), Ok(()));
    assert_eq!(fs_err::read(path).unwrap(), pattern(0, SIZE));
}

#[test]
fn a_read_only_export_is_not_written() {
    let lab = Lab::new();
    let path = lab.disk("disk", SIZE);
    let mut read_only = export("disk", &path);
    read_only.read_only = true;
    lab.server.create(read_only).unwrap();
    let mut client = lab.login("disk");
    assert_eq!(client.write(0, &[1; 512]), Err(FAILURE));
    assert_eq!(client.read(0, 512).unwrap(), pattern(0, 512));
    assert_eq!(fs_err::read(path).unwrap(), pattern(0, SIZE));
}

#[test]
fn a_file_that_shrinks_is_an_error_and_no_end() {
    let lab = Lab::new();
    let path = lab.export("disk", SIZE);
    let mut client = lab.login("disk");
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(4096).unwrap();
    assert_eq!(client.read(8192, 512), Err(FAILURE));
    assert_eq!(client.read(0, 512).unwrap(), pattern(0, 512));
}

/// Reads the answers of as many READs as are under way, of 4096 bytes at 4096 times their handle.
fn collect(client: &mut Client, count: usize) {
    let mut handles = BTreeSet::new();
    for _ in 0..count {
        let Answer { handle, error } = client.answer().unwrap().unwrap();
        assert_eq!(error, 0);
        let mut data = [0; 4096];
        client.stream.read_exact(&mut data).unwrap();
        assert_eq!(data.to_vec(), pattern(handle * 4096, 4096));
        assert!(handles.insert(handle), "{handle} was answered twice");
    }
    assert_eq!(handles.len(), count);
}

#[test]
fn many_requests_are_under_way() {
    for uncached in [false, true] {
        let lab = Lab::new();
        let path = lab.disk("disk", SIZE);
        let mut described = export("disk", &path);
        described.uncached = uncached;
        lab.server.create(described).unwrap();
        let mut client = lab.login("disk");
        for outstanding in [1, 2, 64] {
            for round in 0..4 {
                for handle in 0..outstanding {
                    client.send(
                        Command::Read,
                        (handle + round) % 256,
                        (handle + round) % 256 * 4096,
                        4096,
                    );
                }
                collect(&mut client, usize::try_from(outstanding).unwrap());
            }
        }
        client.ping();
    }
}

#[test]
fn overlapping_requests_keep_their_order() {
    let lab = Lab::new();
    lab.export("disk", SIZE);
    let mut client = lab.login("disk");
    let rounds = 50_u8;
    for round in 0..rounds {
        // All at once: a write, another over its half, a read of both, and so on.
        client.send_write(u64::from(round) * 4, 0, &[round; 8192]);
        client.send_write(u64::from(round) * 4 + 1, 4096, &[round | 0x80; 8192]);
        client.send(Command::Read, u64::from(round) * 4 + 2, 0, 12_288);
        client.send_write(u64::from(round) * 4 + 3, 0, &[0xff; 12_288]);
    }
    let mut reads = 0;
    for _ in 0..usize::from(rounds) * 4 {
        let Answer { handle, error } = client.answer().unwrap().unwrap();
        assert_eq!(error, 0);
        if handle % 4 == 2 {
            let mut data = vec![0; 12_288];
            client.stream.read_exact(&mut data).unwrap();
            let round = (handle / 4).to_le_bytes()[0];
            assert!(data[..4096].iter().all(|byte| *byte == round));
            assert!(data[4096..].iter().all(|byte| *byte == round | 0x80));
            reads += 1;
        }
    }
    assert_eq!(reads, rounds);
}

#[test]
fn disconnect_is_answered_after_everything_else() {
    let lab = Lab::new();
    let path = lab.export("disk", SIZE);
    let mut client = lab.login("disk");
    for handle in 0..16 {
        client.send_write(handle, handle * 65_536, &vec![0xab; 65_536]);
    }
    client.send(Command::Disconnect, 99, 0, 0);
    let mut answers = Vec::new();
    while let Some(answer) = client.answer().unwrap() {
        assert_eq!(answer.error, 0);
        answers.push(answer.handle);
    }
    assert_eq!(answers.len(), 17);
    assert_eq!(answers[16], 99);
    assert!(fs_err::read(path).unwrap().iter().all(|byte| *byte == 0xab));
    crate::wire::until(|| lab.server.sessions().is_empty());
}

#[test]
fn validate_sends_two_keep_alives_to_an_idle_client() {
    let lab = Lab::new();
    lab.export("disk", SIZE);
    let mut client = lab.login("disk");
    client.ping();
    // The answer may be with the client before the server counts it as given.
    crate::wire::until(|| {
        lab.server.validate();
        client.stream.set_nonblocking(true).unwrap();
        let arrived = client.stream.peek(&mut [0; 32]).unwrap_or(0);
        client.stream.set_nonblocking(false).unwrap();
        arrived == 32
    });
    let mut frames = [0; 32];
    client.stream.read_exact(&mut frames).unwrap();
    let frame = [&[0x5b, 0x46, 0xd8, 0xc2][..], &[0; 12]].concat();
    assert_eq!(frames.to_vec(), [&frame[..], &frame].concat());
    client.ping();
    assert_eq!(client.read(0, 512).unwrap(), pattern(0, 512));
}

#[test]
fn invalidated_exports_let_their_clients_go() {
    let lab = Lab::new();
    lab.export("disk", SIZE);
    let mut client = lab.login("disk");
    lab.server.invalidate(&device("disk")).unwrap();
    assert!(lab.server.sessions().is_empty());
    assert!(client.is_closed());
    lab.server.remove(&device("disk")).unwrap();
}
