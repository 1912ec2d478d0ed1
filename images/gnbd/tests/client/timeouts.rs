//! Timeout mode: who fails what, and when.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use gnbd::client::{Policy, State, Timing, errno};

use crate::kernel::{Kernel, settings, until};
use crate::server::{Door, Quirk, Server};

const SECTORS: u64 = 16384;

#[test]
fn fail_fast_fails_within_its_time_and_comes_back() {
    let mut server = Server::start(SECTORS);
    let policy = Policy::FailFast(Duration::from_millis(300));
    let mut kernel = Kernel::attach(settings(&server, SECTORS, policy));
    kernel.write(0, &[1; 512]).unwrap();
    server.stop();
    let start = Instant::now();
    let write = kernel.send_write(0, &vec![2; 262_144]);
    let read = kernel.send_read(0, 512);
    let answers = kernel.receive_all();
    assert_eq!(answers[&write], Err(errno::EIO));
    assert_eq!(answers[&read], Err(errno::EIO));
    let took = start.elapsed();
    assert!(
        took >= Duration::from_millis(300) && took < Duration::from_secs(5),
        "{took:?}"
    );
    // From now on at once.
    for _ in 0..20 {
        assert_eq!(kernel.write(0, &[3; 4096]), Err(errno::EIO));
    }
    until("it has failed", || {
        kernel.remote.status().state == State::Failed
    });
    server.restart();
    kernel.await_link(true);
    until("it is normal", || {
        kernel.remote.status().state == State::Normal
    });
    assert_eq!(kernel.write(0, &[4; 512]), Ok(vec![]));
    // What was failed is never sent any more.
    assert_eq!(server.disk()[..512], [4; 512]);
    assert_eq!(server.disk()[512..4096], [0; 3584]);
    assert_eq!(server.applied(), [0, 0]);
}

#[test]
fn fail_fast_gives_a_server_that_can_be_reached_one_chance() {
    let server = Server::start(SECTORS);
    server.quirks(&[Quirk::Silent]);
    let policy = Policy::FailFast(Duration::from_secs(2));
    let mut settings = settings(&server, SECTORS, policy);
    settings.timing.ping = Duration::from_secs(30);
    settings.timing.pause = Duration::from_secs(1);
    let mut kernel = Kernel::attach(settings);
    assert_eq!(kernel.write(0, &[1; 512]), Ok(vec![]));
    assert_eq!(server.logins(), 2);
}

#[test]
fn with_no_patience_the_first_failed_attempt_fails_everything() {
    let mut server = Server::start(SECTORS);
    let mut kernel = Kernel::attach(settings(&server, SECTORS, Policy::FailFast(Duration::ZERO)));
    // A link that can be made anew at once is no failure.
    server.cut();
    assert_eq!(kernel.write(0, &[1; 512]), Ok(vec![]));
    server.stop();
    assert_eq!(kernel.write(0, &[2; 512]), Err(errno::EIO));
    assert_eq!(kernel.read(0, 512), Err(errno::EIO));
}

#[test]
fn nothing_fails_unless_the_server_is_fenced() {
    let mut server = Server::start(SECTORS);
    let asked = Arc::new(AtomicU32::new(0));
    let fenced = Arc::new(AtomicBool::new(false));
    let mut settings = settings(&server, SECTORS, Policy::Fence(Duration::from_millis(100)));
    let (counter, word) = (Arc::clone(&asked), Arc::clone(&fenced));
    settings.fencer = Box::new(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
        word.load(Ordering::SeqCst)
    });
    let mut kernel = Kernel::attach(settings);
    server.stop();
    let write = kernel.send_write(0, &[1; 512]);
    until("the cluster is asked again", || {
        asked.load(Ordering::SeqCst) >= 3
    });
    assert_eq!(kernel.remote.status().pending, 1);
    assert_eq!(kernel.remote.status().state, State::TimedOut);
    fenced.store(true, Ordering::SeqCst);
    assert_eq!(kernel.one(write), Err(errno::EIO));
    assert_eq!(kernel.read(0, 512), Err(errno::EIO));
    server.restart();
    kernel.await_link(true);
    until("it is normal", || {
        kernel.remote.status().state == State::Normal
    });
    assert_eq!(kernel.read(0, 512), Ok(vec![0; 512]));
}

#[test]
fn a_server_that_comes_back_in_time_is_not_given_up() {
    let mut server = Server::start(SECTORS);
    let mut kernel = Kernel::attach(settings(
        &server,
        SECTORS,
        Policy::Fence(Duration::from_millis(50)),
    ));
    server.stop();
    let write = kernel.send_write(0, &[1; 512]);
    until("it has timed out", || {
        kernel.remote.status().state == State::TimedOut
    });
    server.restart();
    assert_eq!(kernel.one(write), Ok(vec![]));
    until("it is normal", || {
        kernel.remote.status().state == State::Normal
    });
}

#[test]
fn a_payload_that_is_on_its_way_fails_in_step() {
    let server = Server::start(SECTORS);
    server.quirks(&[Quirk::Silent]);
    let policy = Policy::FailFast(Duration::from_millis(200));
    let mut settings = settings(&server, SECTORS, policy);
    settings.timing.dial = Duration::from_millis(200);
    let mut kernel = Kernel::attach(settings);
    server.door(Door::Shut);
    // More than there are buffers for: the last one is stuck half-way when all are failed.
    let mut stream = kernel.stream.try_clone().unwrap();
    let long = vec![7_u8; 7 << 20];
    let request = gnbd::client::NbdRequest {
        command: gnbd::client::NbdCommand::Write,
        flags: 0,
        cookie: [5; 8],
        offset: 0,
        length: 7 << 20,
    };
    let writer = std::thread::spawn(move || {
        std::io::Write::write_all(&mut stream, &request.encode()).unwrap();
        std::io::Write::write_all(&mut stream, &long).unwrap();
    });
    let mut reply = [0; 16];
    std::io::Read::read_exact(&mut kernel.stream, &mut reply).unwrap();
    let reply = gnbd::client::NbdReply::decode(&reply).unwrap();
    assert_eq!((reply.cookie, reply.error), ([5; 8], errno::EIO));
    writer.join().unwrap();
    assert_eq!(kernel.read(0, 512), Err(errno::EIO));
}

/// A relay's word in the log.
fn logged(settings: &mut gnbd::client::Settings) -> Arc<std::sync::Mutex<Vec<String>>> {
    let lines = Arc::new(std::sync::Mutex::new(Vec::new()));
    let writer = Arc::clone(&lines);
    settings.log = Box::new(move |line| writer.lock().unwrap().push(line.to_owned()));
    lines
}

#[test]
fn a_process_that_dies_and_comes_back_fails_nothing() {
    let mut server = Server::start(SECTORS);
    let mut settings = settings(&server, SECTORS, Policy::Fence(Duration::from_secs(10)));
    settings.timing = Timing::default();
    let lines = logged(&mut settings);
    let mut kernel = Kernel::attach(settings);
    kernel.write(0, &[1; 512]).unwrap();
    server.stop();
    let write = kernel.send_write(0, &[2; 512]);
    std::thread::park_timeout(Duration::from_secs(3));
    let start = Instant::now();
    server.restart();
    assert_eq!(kernel.one(write), Ok(vec![]));
    let stall = start.elapsed();
    assert!(stall < Duration::from_secs(1), "{stall:?}");
    assert_eq!(server.disk()[..512], [2; 512]);
    // Many attempts, few words.
    let lines = lines.lock().unwrap();
    assert_eq!(lines.len(), 3, "{lines:#?}");
}

#[test]
fn a_dead_process_fails_at_once_where_somebody_vouches_for_the_network() {
    let mut server = Server::start(SECTORS);
    let mut settings = settings(&server, SECTORS, Policy::Fence(Duration::from_secs(60)));
    settings.timing = Timing::default();
    settings.dead_peer_grace = Some(Duration::ZERO);
    let mut kernel = Kernel::attach(settings);
    kernel.write(0, &[1; 512]).unwrap();
    let start = Instant::now();
    server.stop();
    assert_eq!(kernel.write(0, &[2; 512]), Err(errno::EIO));
    assert_eq!(kernel.read(0, 512), Err(errno::EIO));
    assert!(start.elapsed() < Duration::from_secs(1));
    server.restart();
    kernel.await_link(true);
    until("it is normal", || {
        kernel.remote.status().state == State::Normal
    });
    assert_eq!(kernel.read(0, 512), Ok(vec![1; 512]));
}

#[test]
fn a_link_that_we_gave_up_proves_nobodys_death() {
    let mut server = Server::start(SECTORS);
    server.quirks(&[Quirk::Silent]);
    let mut settings = settings(&server, SECTORS, Policy::Fence(Duration::from_secs(1)));
    settings.dead_peer_grace = Some(Duration::ZERO);
    settings.timing.ping = Duration::from_secs(30);
    settings.timing.pause = Duration::from_secs(30);
    let lines = logged(&mut settings);
    let mut kernel = Kernel::attach(settings);
    let write = kernel.send_write(0, &[1; 512]);
    kernel.await_pending(1);
    server.door(Door::Shut);
    until("the link is given up", || {
        let lines = lines.lock().unwrap();
        lines
            .iter()
            .any(|line| line.contains("making the link anew"))
    });
    // Whoever refuses now need not be the process that has our write.
    server.stop();
    std::thread::park_timeout(Duration::from_millis(500));
    assert_eq!(kernel.remote.status().pending, 1);
    assert_ne!(kernel.remote.status().state, State::Failed);
    server.door(Door::Open);
    server.restart();
    assert_eq!(kernel.one(write), Ok(vec![]));
}

#[test]
fn the_fencer_learns_of_every_login() {
    let mut server = Server::start(SECTORS);
    let logins = Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut settings = settings(&server, SECTORS, Policy::Fence(Duration::from_millis(80)));
    let seen = Arc::clone(&logins);
    settings.fencer = Box::new(move |login| {
        seen.lock().unwrap().push(login);
        false
    });
    let mut kernel = Kernel::attach(settings);
    for _ in 0..2 {
        server.stop();
        let asked = logins.lock().unwrap().len();
        let write = kernel.send_write(0, &[1; 512]);
        until("the fencer is asked twice", || {
            logins.lock().unwrap().len() >= asked + 2
        });
        server.restart();
        assert_eq!(kernel.one(write), Ok(vec![]));
    }
    let mut logins = logins.lock().unwrap();
    logins.dedup();
    // Two at least: on a busy host an answer may come too late, and a login more be asked about.
    let rising = logins.windows(2).all(|pair| pair[0] < pair[1]);
    assert!(logins.len() >= 2 && rising, "{logins:?}");
}
