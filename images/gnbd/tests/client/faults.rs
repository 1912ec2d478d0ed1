//! Servers that die, stammer and lie: in wait mode the kernel sees nothing of it.

use gnbd::client::{End, Policy, State, errno};

use crate::kernel::{Kernel, settings, until};
use crate::server::{Door, Quirk, Server};

const SECTORS: u64 = 16384;

fn pair(quirks: &[Quirk]) -> (Server, Kernel) {
    let server = Server::start(SECTORS);
    server.quirks(quirks);
    let kernel = Kernel::attach(settings(&server, SECTORS, Policy::Wait));
    (server, kernel)
}

fn byte(number: u64) -> u8 {
    u8::try_from(number % 255 + 1).unwrap()
}

/// Writes and reads back at 40 places with up to 8 requests outstanding.
fn exercise(server: &Server, kernel: &mut Kernel) {
    for round in 0..5 {
        for place in 0..8 {
            let number = round * 8 + place;
            let length = if place == 3 { 200_704 } else { 4096 };
            kernel.send_write(number * 204_800, &vec![byte(number); length]);
        }
        assert!(kernel.receive_all().values().all(Result::is_ok));
    }
    for number in 0..40 {
        let read = kernel.read(number * 204_800, 4096).unwrap();
        assert_eq!(read, [byte(number); 4096], "{number}");
        let start = usize::try_from(number * 204_800).unwrap();
        assert_eq!(server.disk()[start..start + 4096], read);
    }
}

#[test]
fn no_fault_of_a_link_reaches_the_kernel() {
    let faults: [fn(u32) -> Quirk; 5] = [
        Quirk::CloseBefore,
        Quirk::CloseAfter,
        Quirk::HalfReply,
        Quirk::WrongMagic,
        Quirk::Unasked,
    ];
    for fault in faults {
        let quirks = [3, 0, 1, 5, 0, 2].map(fault);
        let (server, mut kernel) = pair(&quirks);
        exercise(&server, &mut kernel);
        // A fault, and one more kill, for each login after the first.
        assert_eq!(server.logins() as usize, quirks.len() + 1, "{quirks:?}");
        assert_eq!(server.kills(), server.logins());
        assert_eq!(kernel.disconnect(), End::Disconnected);
    }
}

#[test]
fn requests_are_held_while_the_server_is_dead_and_sent_again_in_order() {
    let (mut server, mut kernel) = pair(&[Quirk::Silent]);
    for number in 0..32 {
        kernel.send_write(number * 4096, &[byte(number); 4096]);
    }
    kernel.await_pending(32);
    server.stop();
    kernel.await_link(false);
    // Some more for nobody, more than there are buffers for.
    for number in 32..64 {
        kernel.send_write(number * 4096, &[byte(number); 4096]);
    }
    until("buffers are full", || kernel.remote.status().pending >= 48);
    assert_eq!(kernel.remote.status().state, State::Normal);
    assert_eq!(server.applied(), [0; 0]);
    server.restart();
    assert!(kernel.receive_all().values().all(Result::is_ok));
    let order: Vec<u64> = (0..64).map(|number| number * 4096).collect();
    assert_eq!(server.applied(), order);
}

#[test]
fn a_link_that_falls_silent_is_made_anew() {
    let (server, mut kernel) = pair(&[Quirk::Silent]);
    let write = kernel.send_write(0, &[1; 512]);
    assert_eq!(kernel.one(write), Ok(vec![]));
    assert_eq!(server.logins(), 2);
}

#[test]
fn an_idle_link_stays() {
    let (server, mut kernel) = pair(&[]);
    kernel.write(0, &[1; 512]).unwrap();
    std::thread::park_timeout(std::time::Duration::from_millis(700));
    assert_eq!(kernel.read(0, 512), Ok(vec![1; 512]));
    assert_eq!(server.logins(), 1);
}

#[test]
fn the_servers_errors_are_the_kernels() {
    let (server, mut kernel) = pair(&[Quirk::Refuse]);
    assert_eq!(kernel.write(0, &[1; 512]), Err(errno::EIO));
    assert_eq!(kernel.write(0, &vec![1; 1 << 20]), Err(errno::EIO));
    assert_eq!(kernel.read(0, 512), Err(errno::EIO));
    assert_eq!(kernel.read(0, 1 << 20), Err(errno::EIO));
    server.cut();
    assert_eq!(kernel.read(0, 512), Ok(vec![0; 512]));
}

#[test]
fn an_export_that_is_gone_is_waited_for() {
    let (server, mut kernel) = pair(&[]);
    server.door(Door::Refuse(19));
    server.cut();
    let write = kernel.send_write(0, &[1; 512]);
    until("several attempts", || server.logins() > 3);
    assert_eq!(kernel.remote.status().pending, 1);
    server.door(Door::Open);
    server.cut();
    assert_eq!(kernel.one(write), Ok(vec![]));
}

#[test]
fn a_banned_node_gives_up_until_it_is_told_to_try() {
    for door in [Door::Refuse(1), Door::WrongVersion] {
        let (server, mut kernel) = pair(&[Quirk::Silent]);
        let write = kernel.send_write(0, &vec![1; 300_000 / 512 * 512]);
        kernel.await_pending(1);
        server.door(door);
        server.cut();
        assert_eq!(kernel.one(write), Err(errno::EIO));
        assert_eq!(kernel.read(0, 512), Err(errno::EIO));
        until("it has failed", || {
            kernel.remote.status().state == State::Failed
        });
        let logins = server.logins();
        server.door(Door::Open);
        assert_eq!(kernel.write(0, &[1; 4096]), Err(errno::EIO));
        assert_eq!(server.logins(), logins);
        kernel.remote.retry();
        kernel.await_link(true);
        assert_eq!(kernel.read(0, 512), Ok(vec![0; 512]));
        until("it is normal", || {
            kernel.remote.status().state == State::Normal
        });
    }
}

#[test]
fn another_disk_in_the_place_of_the_old_one_is_not_written() {
    let (server, mut kernel) = pair(&[Quirk::Silent]);
    let write = kernel.send_write(0, &[1; 512]);
    kernel.await_pending(1);
    server.door(Door::OtherSize);
    server.cut();
    assert_eq!(kernel.one(write), Err(errno::EIO));
    server.door(Door::Open);
    kernel.await_link(true);
    assert_eq!(kernel.write(0, &[2; 512]), Ok(vec![]));
    assert_eq!(server.disk()[..512], [2; 512]);
}
