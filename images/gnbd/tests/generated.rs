//! The fuzz targets' functions over generated inputs: good messages, and what becomes of them when bytes are changed,
//! lost, doubled and put together. `GNBD_INPUTS` says how many, or `GNBD_SECONDS` for how long, for each function, and
//! `GNBD_SEED` which: without it they are the same every time. `ci/test` has a new seed, and `ci/nightly` runs them for
//! longer; no fuzzer and no other compiler is needed.

use std::panic::{UnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use gnbd::client::fuzz;
use gnbd::fuzzing;
use gnbd::protocol::local::{ExportDescription, LocalRequest};
use gnbd::protocol::{
    Command, DataReply, DataRequest, DeviceName, ExportRecord, LoginReply, LoginRequest, NodeName,
    Request, Uid,
};

const INPUTS: u64 = 20_000;

/// xorshift: the same inputs every time.
struct Dice(u64);

impl Dice {
    fn throw(&mut self) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 1).unwrap_or(usize::MAX)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.throw() % limit.max(1)
    }

    fn byte(&mut self) -> u8 {
        self.throw().to_le_bytes()[0]
    }

    fn pick<'a>(&mut self, from: &'a [Vec<u8>]) -> &'a [u8] {
        &from[self.below(from.len())]
    }

    fn input(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut input = Vec::new();
        for _ in 0..=self.below(3) {
            input.extend(self.pick(seeds));
        }
        for _ in 0..self.below(6) {
            let at = self.below(input.len());
            match self.below(7) {
                0 if at < input.len() => input[at] = self.byte(),
                1 if at < input.len() => input[at] ^= 1 << self.below(8),
                2 if at < input.len() => drop(input.remove(at)),
                3 => input.insert(at, self.byte()),
                4 => input.truncate(at),
                5 if at < input.len() => input[at] = [0, 0x80, 0xff][self.below(3)],
                _ => {
                    let tail = input[at..].to_vec();
                    input.extend(tail.iter().take(200));
                }
            }
        }
        input
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().expect("a number"))
}

fn run(target: fn(&[u8]), seeds: &[Vec<u8>]) {
    play(target, |dice| dice.input(seeds));
}

fn play(target: fn(&[u8]), make: impl Fn(&mut Dice) -> Vec<u8> + UnwindSafe) {
    let seed = number("GNBD_SEED").unwrap_or_default();
    let until = number("GNBD_SECONDS").map(|time| Instant::now() + Duration::from_secs(time));
    let inputs = number("GNBD_INPUTS").unwrap_or(match until {
        Some(_) => u64::MAX,
        None => INPUTS,
    });
    // Never nought, and seeds beside each other lie far apart.
    let mut dice = Dice(seed.wrapping_mul(0xd129_0d3b_3a55_a6b5) ^ 0x9e37_79b9_7f4a_7c15 | 1);
    target(&[]);
    for at in 0..inputs {
        if until.is_some_and(|until| Instant::now() >= until) {
            break;
        }
        let input = make(&mut dice);
        let survived = catch_unwind(|| target(&input)).is_ok();
        assert!(survived, "input {at} of GNBD_SEED={seed}: {input:02x?}");
    }
}

fn device() -> DeviceName {
    DeviceName::new("gnbd0a").expect("a good name")
}

fn node() -> NodeName {
    NodeName::new("client0").expect("a good name")
}

#[test]
fn control_requests() {
    let requests = [
        Request::Names,
        Request::Fence(node()),
        Request::KillServer {
            device: device(),
            node: node(),
        },
        Request::Login(LoginRequest::new(device(), node(), 1)),
        Request::Uid(device()),
    ];
    // The first byte says how long the pieces are.
    let seeds = requests
        .iter()
        .map(|request| [&[30][..], &request.encode()].concat());
    run(fuzzing::control_request, &seeds.collect::<Vec<_>>());
}

#[test]
fn data_requests() {
    let request = |command, length| DataRequest {
        command,
        handle: [1; 8],
        offset: 4096,
        length,
    };
    let header = |command, length| request(command, length).encode().to_vec();
    let seeds = [
        vec![255],
        header(Command::Read, 131_072),
        [header(Command::Write, 64), vec![7; 64]].concat(),
        header(Command::Ping, 0),
        header(Command::Disconnect, 0),
    ];
    run(fuzzing::data_requests, &seeds);
}

#[test]
fn local_requests() {
    let export = ExportDescription {
        name: device(),
        path: "/dev/drbd0".into(),
        sectors: 1,
        timeout: 60,
        read_only: false,
        uncached: true,
        invalid: false,
        uid: Uid::none(),
    };
    let requests = [
        LocalRequest::Create(Box::new(export)),
        LocalRequest::Remove(device()),
        LocalRequest::Exports,
    ];
    let seeds = requests
        .iter()
        .map(|request| request.encode().expect("a short path"));
    run(fuzzing::local_request, &seeds.collect::<Vec<_>>());
}

#[test]
fn servers_words() {
    let record = ExportRecord {
        timeout: 60,
        read_only: true,
        name: device(),
    };
    let reply = DataReply::Reply {
        error: 0,
        handle: [1; 8],
    };
    let seeds = [
        record.encode().to_vec(),
        reply.encode().to_vec(),
        DataReply::KeepAlive.encode().to_vec(),
        LoginReply::Welcome { sectors: 100 }.encode().to_vec(),
        LoginReply::WrongVersion { version: 2 }.encode().to_vec(),
    ];
    run(fuzzing::server_words, &seeds);
}

#[test]
fn command_lines() {
    let words = [
        "-e\0name\0",
        "-d/dev/sdb\0",
        "-coqv\0",
        "-U/x 'a b' %n\0",
        "--\0",
        "-t\x005\0",
        "a\0",
        "\u{e9}\0",
    ];
    let seeds: Vec<Vec<u8>> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
    run(fuzzing::command_line, &seeds);
}

/// Bytes of which most mean something to the client's targets.
fn words(dice: &mut Dice) -> Vec<u8> {
    (0..dice.below(48))
        .map(|_| {
            let byte = dice.byte();
            if dice.below(8) < 5 { byte % 12 } else { byte }
        })
        .collect()
}

#[test]
fn replies_to_a_client() {
    play(fuzz::replies, words);
}

#[test]
fn questions_of_a_kernel() {
    play(fuzz::questions, words);
}
