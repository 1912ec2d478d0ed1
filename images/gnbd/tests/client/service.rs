//! Servers that do as they should: what the kernel asks it gets, and nothing else.

use std::io::{Read as _, Write as _};

use gnbd::client::{End, NbdCommand, NbdRequest, Policy, Timing, errno};

use crate::kernel::{Kernel, settings, until};
use crate::server::{Quirk, Server};

/// 8 MiB.
const SECTORS: u64 = 16384;

fn pair() -> (Server, Kernel) {
    let server = Server::start(SECTORS);
    let kernel = attach(&server);
    (server, kernel)
}

/// No timer helps a relay that has forgotten to go on: the first is later than a test's patience.
fn attach(server: &Server) -> Kernel {
    let mut settings = settings(server, SECTORS, Policy::Wait);
    settings.timing = Timing::default();
    let kernel = Kernel::attach(settings);
    let patience = Timing::default().quiet.mul_f32(0.8);
    kernel.stream.set_read_timeout(Some(patience)).unwrap();
    kernel
}

fn pattern(seed: u64, length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| (seed.wrapping_mul(31).wrapping_add(at as u64 / 3) % 251) as u8)
        .collect()
}

#[test]
fn one_request_after_another() {
    let (server, mut kernel) = pair();
    assert_eq!(kernel.read(4096, 512).unwrap(), vec![0; 512]);
    assert_eq!(kernel.write(4096, &pattern(1, 4096)), Ok(vec![]));
    assert_eq!(kernel.read(4096, 4096).unwrap(), pattern(1, 4096));
    assert_eq!(server.disk()[4096..8192], pattern(1, 4096));
    assert_eq!(kernel.disconnect(), End::Disconnected);
    assert_eq!(
        (server.goodbyes(), server.logins(), server.kills()),
        (1, 1, 1)
    );
}

#[test]
fn as_many_outstanding_as_the_kernel_likes() {
    for count in [1, 2, 64, 128] {
        let (server, mut kernel) = pair();
        let spot = |number: u64| number * 65536 % (SECTORS * 512);
        for number in 0..count {
            kernel.send_write(spot(number), &pattern(number, 4096));
        }
        assert!(kernel.receive_all().values().all(Result::is_ok));
        let mut reads = Vec::new();
        for number in 0..count {
            reads.push((number, kernel.send_read(spot(number), 4096)));
        }
        let answers = kernel.receive_all();
        for (number, cookie) in reads {
            assert_eq!(answers[&cookie], Ok(pattern(number, 4096)));
        }
        assert_eq!(server.applied().len() as u64, count);
        assert_eq!(server.logins(), 1);
    }
}

#[test]
fn longer_requests_than_the_server_takes_are_split() {
    let (server, mut kernel) = pair();
    for (seed, length) in [(1, 131_072), (2, 131_584), (3, 1 << 20), (4, 6 << 20)] {
        let data = pattern(seed, length);
        let cookie = kernel.send_write(512, &data);
        assert_eq!(kernel.one(cookie), Ok(vec![]));
        assert!(server.disk()[512..512 + length] == data);
        let read = kernel.read(512, length.try_into().unwrap()).unwrap();
        assert!(read == data, "{length}");
    }
}

#[test]
fn long_reads_beside_each_other_wait_for_memory() {
    let (_server, mut kernel) = pair();
    let data = pattern(7, 8 << 20);
    kernel.write(0, &data).unwrap();
    let reads: Vec<_> = (0..16)
        .map(|number| (number, kernel.send_read(number << 19, 1 << 20 >> 1)))
        .collect();
    let answers = kernel.receive_all();
    for (number, cookie) in reads {
        let start = usize::try_from(number << 19).unwrap();
        assert!(answers[&cookie].as_ref().unwrap()[..] == data[start..start + (1 << 19)]);
    }
}

#[test]
fn a_kernel_that_reads_late_gets_everything() {
    let (server, mut kernel) = pair();
    let data = pattern(3, 8 << 20);
    kernel.write(0, &data).unwrap();
    let reads: Vec<_> = (0..64)
        .map(|number| (number, kernel.send_read(number << 17, 1 << 17)))
        .collect();
    // Its socket and all buffers are full now.
    until("requests pending", || kernel.remote.status().pending > 40);
    let answers = kernel.receive_all();
    for (number, cookie) in reads {
        let start = usize::try_from(number << 17).unwrap();
        assert!(answers[&cookie].as_ref().unwrap()[..] == data[start..start + (1 << 17)]);
    }
    assert_eq!(server.logins(), 1);
}

#[test]
fn answers_may_come_in_any_order() {
    let server = Server::start(SECTORS);
    server.quirks(&[Quirk::Backwards(8)]);
    let mut kernel = attach(&server);
    let writes: Vec<_> = (0..8)
        .map(|number| kernel.send_write(number * 4096, &pattern(number, 4096)))
        .collect();
    for cookie in writes.iter().rev() {
        assert_eq!(kernel.one(*cookie), Ok(vec![]));
    }
    let whole = kernel.read(0, 1 << 20).unwrap();
    for number in 0..8 {
        let start = number * 4096;
        assert_eq!(whole[start..start + 4096], pattern(number as u64, 4096));
    }
}

#[test]
fn keep_alives_are_nothing() {
    let server = Server::start(SECTORS);
    server.quirks(&[Quirk::KeepAlives]);
    let mut kernel = attach(&server);
    for number in 0..10 {
        kernel.write(number * 512, &pattern(number, 512)).unwrap();
        assert_eq!(kernel.read(number * 512, 512), Ok(pattern(number, 512)));
    }
    assert_eq!(server.logins(), 1);
}

#[test]
fn what_no_server_should_be_asked_is_answered_here() {
    let (server, mut kernel) = pair();
    let end = SECTORS * 512;
    let mut ask = |command, offset, length, payload: &[u8]| {
        let cookie = kernel.send(command, offset, length, payload);
        kernel.one(cookie)
    };
    assert_eq!(ask(NbdCommand::Read, end, 512, &[]), Err(errno::EINVAL));
    assert_eq!(
        ask(NbdCommand::Read, u64::MAX, 512, &[]),
        Err(errno::EINVAL)
    );
    assert_eq!(
        ask(NbdCommand::Write, end - 512, 1024, &[1; 1024]),
        Err(errno::EINVAL)
    );
    assert_eq!(ask(NbdCommand::Flush, 0, 0, &[]), Ok(vec![]));
    assert_eq!(ask(NbdCommand::Other(4), 0, 4096, &[]), Err(errno::EINVAL));
    assert_eq!(ask(NbdCommand::Other(6), 0, 4096, &[]), Err(errno::EINVAL));
    assert_eq!(ask(NbdCommand::Read, 0, 0, &[]), Ok(vec![]));
    assert_eq!(ask(NbdCommand::Write, 0, 0, &[]), Ok(vec![]));
    // And the stream is still in step.
    assert_eq!(
        ask(NbdCommand::Write, end - 512, 512, &[1; 512]),
        Ok(vec![])
    );
    assert_eq!(server.applied(), [end - 512]);
}

#[test]
fn a_flood_of_refusals_is_answered() {
    let (_server, mut kernel) = pair();
    let mut writer = kernel.stream.try_clone().unwrap();
    let request = NbdRequest {
        command: NbdCommand::Other(4),
        flags: 0,
        cookie: [3; 8],
        offset: 0,
        length: 512,
    };
    let flood = std::thread::spawn(move || {
        for _ in 0..20_000 {
            writer.write_all(&request.encode()).unwrap();
        }
    });
    for _ in 0..20_000 {
        let mut reply = [0; 16];
        kernel.stream.read_exact(&mut reply).unwrap();
    }
    flood.join().unwrap();
    assert_eq!(kernel.read(0, 512), Ok(vec![0; 512]));
}

#[test]
fn a_read_only_device_is_not_written() {
    let server = Server::start(SECTORS);
    let mut settings = settings(&server, SECTORS, Policy::Wait);
    settings.read_only = true;
    let mut kernel = Kernel::attach(settings);
    assert_eq!(kernel.write(0, &vec![1; 262_144]), Err(errno::EPERM));
    assert_eq!(kernel.read(0, 512), Ok(vec![0; 512]));
    assert_eq!(server.applied(), [0; 0]);
}

#[test]
fn the_end_comes_after_the_last_write() {
    let (server, mut kernel) = pair();
    for number in 0..32 {
        kernel.send_write(number * 131_072, &pattern(number, 131_072));
    }
    assert_eq!(kernel.disconnect(), End::Disconnected);
    assert_eq!((server.applied().len(), server.goodbyes()), (32, 1));
}

#[test]
fn a_kernel_that_goes_without_a_word_is_noticed() {
    let (server, mut kernel) = pair();
    kernel.write(0, &[1; 512]).unwrap();
    kernel.stream.shutdown(std::net::Shutdown::Both).unwrap();
    assert_eq!(kernel.end(), End::KernelGone);
    assert_eq!(server.goodbyes(), 1);
}

#[test]
fn what_is_no_nbd_ends_the_relay() {
    let (_server, mut kernel) = pair();
    kernel.stream.write_all(&[0x37; 28]).unwrap();
    assert_eq!(kernel.end(), End::NotNbd);
}
